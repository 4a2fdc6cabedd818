//! What Flux image policies mark, by a comment behind a value.

use crate::finder::owner_of;
use crate::images::{Image, Part, Parts, Place, Role};
use crate::yaml::{Content, Document};

/// What Flux image policies mark: `# {"$imagepolicy": "namespace:name"}` behind a value means the
/// whole reference, with `:tag`, `:name` or `:digest` after the name a part of it
/// (`internal/update/setters.go` of the image-automation-controller).
pub fn marked<'d>(document: &'d Document<'_>) -> Vec<Image<'d>> {
    const MARK: &str = "\"$imagepolicy\"";
    if !document.source_and_comment().contains(MARK) {
        return Vec::new();
    }
    let mut images: Vec<Image<'d>> = Vec::new();
    let scalars = document.nodes().iter().enumerate();
    for (node, _) in scalars.filter(|(_, node)| matches!(node.content, Content::Scalar { .. })) {
        let Some(setter) = document.comment_behind(node).and_then(|comment| comment.split_once(MARK)) else {
            continue;
        };
        let Some(setter) = setter.1.split('"').nth(1) else { continue };
        let mut words = setter.splitn(3, ':');
        let (Some(namespace), Some(name)) = (words.next(), words.next()) else { continue };
        let policy = &setter[..namespace.len() + 1 + name.len()];
        let part = match words.next() {
            Some("name") => Some(Part::Repository),
            Some("tag") => Some(Part::Tag),
            Some("digest") => Some(Part::Digest),
            Some(_) => continue,
            None => None,
        };
        // The parts of one image stand in one mapping.
        let same = |image: &&mut Image<'d>| {
            let beside = document.parent(image.node()) == document.parent(node);
            image.name == Some(policy) && beside && !matches!(image.place, Place::Whole(_))
        };
        let place = match (part, images.iter_mut().find(same)) {
            (None, _) => Place::Whole(node),
            (Some(part), None) => Place::Part(node, part),
            (Some(part), Some(image)) => {
                let mut parts = Parts::default();
                match image.place {
                    Place::Part(first, named) => parts.set(named, first),
                    Place::Parts(others) => parts = others,
                    Place::Whole(_) | Place::Absent(_) => continue,
                }
                parts.set(part, node);
                image.place = Place::Parts(parts);
                continue;
            }
        };
        let owner = owner_of(document, Document::ROOT);
        images.push(Image { owner, role: Role::Policy, name: Some(policy), place });
    }
    images
}
