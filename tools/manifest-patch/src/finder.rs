//! Where images stand in a document.
//!
//! - In every kind: the lists `containers`, `initContainers` and `ephemeralContainers`, wherever they
//!   are, and image volumes (`volumes[].image.reference`). That covers pods, pod templates, cron
//!   jobs, `List`s and custom resources that embed a pod.
//! - In custom resources and in files without a kind (Helm values, Compose): also any `image`, any
//!   mapping of `repository` and `tag`, `version`, `digest` or `sha`, and under `image` one of `name`
//!   and such a key; in files without a kind also `image` beside `tag` or `imageTag`.
//! - In kustomizations: the entries of `images`.
//! - Anywhere: what a Flux `$imagepolicy` comment marks.
//!
//! Aliases are not followed here: what looks in a written document finds less than in an expanded one.
//!
//! Custom resource definitions hold schemas, not images: nothing is found in them.

use image_reference::ImageReference;

use crate::images::{Image, Owner, Part, Parts, Place, Role};
use crate::markers::marked;
use crate::yaml::{Content, Document, NodeId};

/// All images of a document.
pub fn images_of<'d>(document: &'d Document<'_>) -> Vec<Image<'d>> {
    let mut finder = Finder { document, images: Vec::new(), owner: Owner::default(), fields: false };
    finder.object(Document::ROOT);
    finder.images.extend(marked(document));
    finder.images
}

/// The image that a node is, or is a part of, as the key it stands under says.
pub fn image_at<'d>(document: &'d Document<'_>, node: NodeId) -> Image<'d> {
    let key = document.key_of(node).unwrap_or_default();
    let place = match (&document.node(node).content, key) {
        (Content::Mapping, _) => {
            helm_parts(document, node, is_image_key(key)).map_or(Place::Whole(node), Place::Parts)
        }
        (Content::Scalar { .. }, "tag" | "newTag" | "imageTag" | "version") => Place::Part(node, Part::Tag),
        (Content::Scalar { .. }, "digest") => Place::Part(node, Part::Digest),
        (Content::Scalar { .. }, "sha") => Place::Part(node, Part::Sha),
        (Content::Scalar { .. }, "repository" | "newName") => Place::Part(node, Part::Repository),
        _ => Place::Whole(node),
    };
    Image { owner: owner_of(document, Document::ROOT), role: Role::Field, name: None, place }
}

/// Whose an image is.
pub fn owner_of<'d>(document: &'d Document<'_>, object: NodeId) -> Owner<'d> {
    let kind = document.text_at(object, "kind").unwrap_or_default();
    let name = document.get_in(object, &["metadata", "name"]).and_then(|name| document.text_of(name));
    Owner { kind, name: name.unwrap_or_default() }
}

/// The scalars of an image as Helm charts' values have it: what its version is told by may be missing
/// only where the mapping's key says that it is an image, and only there `name` is its repository.
fn helm_parts(document: &Document<'_>, mapping: NodeId, under_image: bool) -> Option<Parts> {
    let get = |key| document.get_merged(mapping, key);
    let parts = Parts {
        registry: get("registry"),
        repository: get("repository"),
        tag: get("tag").or_else(|| get("version")),
        digest: get("digest"),
        sha: get("sha"),
        called: None,
    };
    let versioned = parts.tag.or(parts.digest).or(parts.sha).is_some();
    match parts.repository {
        Some(_) => (versioned || under_image).then_some(parts),
        None if versioned && under_image => get("name").map(|name| Parts { repository: Some(name), ..parts }),
        None => None,
    }
}

struct Finder<'d, 'a> {
    document: &'d Document<'a>,
    images: Vec<Image<'d>>,
    owner: Owner<'d>,
    /// Whether any field called `image` is one: not in the kinds that Kubernetes itself defines.
    fields: bool,
}

/// Keys of an object under which nothing is deployed.
const NOT_DEPLOYED: [&str; 5] = ["metadata", "data", "stringData", "binaryData", "status"];

impl<'d> Finder<'d, '_> {
    /// An object, or each item of a list of objects.
    fn object(&mut self, root: NodeId) {
        let document = self.document;
        let kind = document.text_at(root, "kind").unwrap_or_default();
        if kind == "CustomResourceDefinition" {
            return;
        }
        if kind.ends_with("List")
            && let Some(items) = document.get(root, "items")
        {
            document.items(items).for_each(|item| self.object(item));
            return;
        }
        self.owner = owner_of(document, root);
        let api_version = document.text_at(root, "apiVersion").unwrap_or_default();
        let kustomization = matches!(kind, "Kustomization" | "Component")
            || (kind.is_empty() && looks_like_kustomization(document, root));
        self.fields = kind.is_empty() || kustomization || !is_builtin(api_version);
        for (key, value) in document.entries(root) {
            match document.text_of(key) {
                Some(key) if !kind.is_empty() && NOT_DEPLOYED.contains(&key) => {}
                Some("images") if kustomization => self.kustomization_entries(value),
                Some("spec") if kustomization => {
                    if let Some(images) = document.get(value, "images") {
                        self.kustomization_entries(images);
                    }
                }
                key => self.entry(root, key, value, None),
            }
        }
    }

    /// Whatever stands under a key that is called `key`; `above` is the key that holds the mapping.
    fn entry(&mut self, mapping: NodeId, key: Option<&'d str>, value: NodeId, above: Option<&'d str>) {
        let document = self.document;
        let role = match key {
            Some("containers") => Some(Role::Container),
            Some("initContainers") => Some(Role::Init),
            Some("ephemeralContainers") => Some(Role::Ephemeral),
            _ => None,
        };
        let is_sequence = matches!(document.node(value).content, Content::Sequence);
        match (key, role) {
            (_, Some(role)) if is_sequence => {
                document.items(value).for_each(|container| self.container(container, role));
            }
            (Some("volumes"), _) if is_sequence => {
                document.items(value).for_each(|volume| self.volume(volume));
            }
            // What a merge key brings in is the mapping's own.
            (Some("<<"), _) => self.inside(value, above),
            (Some(key), _) if self.fields && is_image_key(key) && self.field(mapping, key, value, above) => {}
            _ => self.inside(value, key),
        }
    }

    fn inside(&mut self, node: NodeId, above: Option<&'d str>) {
        let document = self.document;
        match document.node(node).content {
            Content::Mapping if self.fields && self.parts(node, above, false) => {}
            Content::Mapping => {
                for (key, value) in document.entries(node) {
                    self.entry(node, document.text_of(key), value, above);
                }
            }
            Content::Sequence => document.items(node).for_each(|item| self.inside(item, None)),
            Content::Scalar { .. } | Content::Alias(_) => {}
        }
    }

    fn container(&mut self, container: NodeId, role: Role) {
        if matches!(self.document.node(container).content, Content::Mapping) {
            let get = |key| self.document.get_merged(container, key);
            let name = get("name").and_then(|name| self.document.text_of(name));
            let place = get("image").map_or(Place::Absent(container), Place::Whole);
            self.found(role, name, place);
        }
    }

    fn volume(&mut self, volume: NodeId) {
        if let Some(reference) = self.document.get_in(volume, &["image", "reference"]) {
            self.found(Role::Volume, self.document.text_at(volume, "name"), Place::Whole(reference));
        } else {
            self.inside(volume, None);
        }
    }

    /// A field whose name says that it is an image. Its own name is its neighbour `name`, or the key
    /// that holds both.
    fn field(&mut self, mapping: NodeId, key: &str, value: NodeId, above: Option<&'d str>) -> bool {
        let name = self.document.text_at(mapping, "name").or(above);
        match self.document.node(value).content {
            Content::Scalar { .. } | Content::Alias(_) if key == "image" || self.is_reference(value) => {
                let place =
                    self.beside_its_tag(mapping, key, value).map_or(Place::Whole(value), Place::Parts);
                self.found(Role::Field, name, place);
                true
            }
            Content::Mapping => self.parts(value, name, true),
            _ => false,
        }
    }

    fn is_reference(&self, node: NodeId) -> bool {
        self.reference(node).is_some()
    }

    fn reference(&self, node: NodeId) -> Option<ImageReference> {
        self.document.text_of(node)?.parse().ok()
    }

    /// In Helm values, `image` may hold the repository alone, and its neighbour `tag` or `imageTag` the rest.
    fn beside_its_tag(&self, mapping: NodeId, key: &str, value: NodeId) -> Option<Parts> {
        let get = |key: &str| self.document.get(mapping, key);
        let repository = self.reference(value).filter(|_| self.owner.kind.is_empty())?;
        let tag = get(&format!("{key}Tag")).or_else(|| get("tag").filter(|_| key == "image"))?;
        let digest = get(&format!("{key}Digest")).or_else(|| get("digest").filter(|_| key == "image"));
        let alone = repository.tag().is_none() && repository.digest().is_none();
        alone.then_some(Parts { repository: Some(value), tag: Some(tag), digest, ..Parts::default() })
    }

    /// An image that is written in parts, as Helm charts' values have it.
    fn parts(&mut self, mapping: NodeId, name: Option<&'d str>, under_image: bool) -> bool {
        let parts = helm_parts(self.document, mapping, under_image);
        if let Some(parts) = parts {
            self.found(Role::Field, name, Place::Parts(parts));
        }
        parts.is_some()
    }

    fn kustomization_entries(&mut self, images: NodeId) {
        let document = self.document;
        for entry in document.items(images) {
            let get = |key| document.get_merged(entry, key);
            let Some(name) = get("name") else { continue };
            let parts = Parts {
                repository: get("newName"),
                tag: get("newTag"),
                digest: get("digest"),
                called: Some(name),
                ..Parts::default()
            };
            self.found(Role::Kustomization, document.text_of(name), Place::Parts(parts));
        }
    }

    fn found(&mut self, role: Role, name: Option<&'d str>, place: Place) {
        self.images.push(Image { owner: self.owner, role, name, place });
    }
}

fn is_image_key(key: &str) -> bool {
    key == "image" || key.ends_with("Image")
}

/// Whether Kubernetes itself defines the group: `v1`, `apps/v1`, `batch/v1`, `*.k8s.io/…`.
fn is_builtin(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// A kustomization may leave out its kind: `images` then has entries with a name and what is new.
fn looks_like_kustomization(document: &Document<'_>, root: NodeId) -> bool {
    document.get(root, "images").is_some_and(|images| {
        document.items(images).any(|entry| {
            document.get(entry, "name").is_some()
                && ["newName", "newTag", "digest"].iter().any(|key| document.get(entry, key).is_some())
        })
    })
}
