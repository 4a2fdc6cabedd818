//! What Flux image policies mark, by a comment behind a value.

use crate::finder::owner_of;
use crate::images::{Image, Part, Parts, Place, Role};
use crate::yaml::{Content, Document, NodeId};

const MARK: &str = "\"$imagepolicy\"";

/// A marked value.
struct Marked<'d> {
    node: NodeId,
    policy: &'d str,
    /// The part of the reference that the value is; the whole where it is none.
    part: Option<Part>,
}

/// What Flux image policies mark: `# {"$imagepolicy": "namespace:name"}` behind a value means the
/// whole reference, with `:tag`, `:name` or `:digest` after the name a part of it
/// (`internal/update/setters.go` of the image-automation-controller).
///
/// As for Flux, each mark is one of its own. Only a repository is joined by the parts that are marked beside it: it says
/// what image they are of.
pub fn marked<'d>(document: &'d Document<'_>) -> Vec<Image<'d>> {
    if !document.source_and_comment().contains(MARK) {
        return Vec::new();
    }
    let mut alone: Vec<Marked<'d>> = document
        .nodes()
        .iter()
        .enumerate()
        .filter_map(|(node, content)| {
            let scalar = matches!(content.content, Content::Scalar { .. });
            scalar.then(|| mark_behind(document, node)).flatten()
        })
        .collect();
    let owner = owner_of(document, Document::ROOT);
    let image = |policy, place| Image { owner, role: Role::Policy, name: Some(policy), place };
    let mut images = Vec::new();
    while let Some(first) = alone.iter().position(|mark| mark.part == Some(Part::Repository)) {
        let repository = alone.remove(first);
        let mut parts = Parts { repository: Some(repository.node), ..Parts::default() };
        for part in [Part::Tag, Part::Digest] {
            let beside = alone.iter().position(|mark| {
                mark.part == Some(part)
                    && mark.policy == repository.policy
                    && document.parent(mark.node) == document.parent(repository.node)
            });
            if let Some(beside) = beside {
                parts.set(part, alone.remove(beside).node);
            }
        }
        let is_alone = parts.tag.or(parts.digest).is_none();
        let place =
            if is_alone { Place::Part(repository.node, Part::Repository) } else { Place::Parts(parts) };
        images.push(image(repository.policy, place));
    }
    images.extend(alone.into_iter().map(|Marked { node, policy, part }| {
        image(policy, part.map_or(Place::Whole(node), |part| Place::Part(node, part)))
    }));
    images
}

fn mark_behind<'d>(document: &'d Document<'_>, node: NodeId) -> Option<Marked<'d>> {
    let (_, setter) = document.comment_behind(node)?.split_once(MARK)?;
    let setter = setter.split('"').nth(1)?;
    let mut words = setter.splitn(3, ':');
    let (namespace, name) = (words.next()?, words.next()?);
    let part = match words.next() {
        Some("name") => Some(Part::Repository),
        Some("tag") => Some(Part::Tag),
        Some("digest") => Some(Part::Digest),
        Some(_) => return None,
        None => None,
    };
    Some(Marked { node, policy: &setter[..namespace.len() + 1 + name.len()], part })
}
