//! Where images stand in a document.
//!
//! - In every kind: the lists `containers`, `initContainers` and `ephemeralContainers`, wherever they
//!   are, and image volumes (`volumes[].image.reference`). That covers pods, pod templates, cron
//!   jobs, `List`s and custom resources that embed a pod.
//! - In custom resources and in files without a kind (Helm values, Compose): also any `image`, and
//!   any mapping of `repository` and `tag`, `version` or `digest`.
//! - In kustomizations: the entries of `images`.
//! - Anywhere: what a Flux `$imagepolicy` comment marks.
//!
//! Custom resource definitions hold schemas, not images: nothing is found in them.

use std::fmt;

use image_reference::ImageReference;

use crate::yaml::{Content, Document, NodeId};

/// What an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A container of a pod.
    Container,
    /// An init container.
    Init,
    /// An ephemeral container.
    Ephemeral,
    /// A volume filled from an image.
    Volume,
    /// An entry of a kustomization's `images`.
    Kustomization,
    /// Helm values, or a field of a custom resource.
    Field,
    /// A value marked with a Flux image policy.
    Policy,
}

/// The object that an image stands in; its texts are empty where the document has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
}

/// The scalars that make up an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One scalar holds the whole reference.
    Whole(NodeId),
    /// Several scalars hold a part each.
    Parts(Parts),
    /// A container without an `image` of its own; the mapping that lacks it.
    Absent(NodeId),
}

/// The scalars of an image that is written in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// The registry's host.
    pub registry: Option<NodeId>,
    /// The repository, with the registry where that has no scalar of its own.
    pub repository: Option<NodeId>,
    /// The tag.
    pub tag: Option<NodeId>,
    /// The digest.
    pub digest: Option<NodeId>,
    /// What a kustomization calls the image in the manifests; it stays.
    pub called: Option<NodeId>,
}

impl Parts {
    fn set(&mut self, part: &str, node: NodeId) {
        match part {
            "name" => self.repository = Some(node),
            "tag" => self.tag = Some(node),
            "digest" => self.digest = Some(node),
            _ => {}
        }
    }
}

/// An image of a document.
#[derive(Debug, Clone)]
pub struct Image<'d> {
    /// The object it stands in.
    pub owner: Owner,
    /// What it belongs to.
    pub role: Role,
    /// The name of the container, volume, kustomization entry, field or policy.
    pub name: Option<&'d str>,
    /// Where it is written.
    pub place: Place,
}

impl Image<'_> {
    /// The repository that the document gives the image now, if it can be told.
    pub fn repository(&self, document: &Document<'_>) -> Option<ImageReference> {
        match &self.place {
            Place::Whole(node) => repository_of(document.text_of(*node)?),
            Place::Parts(parts) => {
                let repository = document.text_of(parts.repository.or(parts.called)?)?;
                match parts.registry.and_then(|node| document.text_of(node)).filter(|host| !host.is_empty()) {
                    Some(registry) => format!("{registry}/{repository}").parse().ok(),
                    None => repository_of(repository),
                }
            }
            Place::Absent(_) => None,
        }
    }

    /// The image as the document has it now, for people.
    pub fn text(&self, document: &Document<'_>) -> String {
        let text = |node: Option<NodeId>| {
            node.and_then(|node| document.text_of(node)).filter(|text| !text.is_empty())
        };
        match &self.place {
            Place::Whole(node) => {
                document.text_of(*node).map_or_else(|| document.source(*node).to_owned(), ToOwned::to_owned)
            }
            Place::Parts(parts) => {
                let mut reference = String::new();
                let repository = parts.repository.or(parts.called);
                for (mark, part) in
                    [("", parts.registry), ("/", repository), (":", parts.tag), ("@", parts.digest)]
                {
                    if let Some(part) = text(part) {
                        reference.push_str(if reference.is_empty() { "" } else { mark });
                        reference.push_str(part);
                    }
                }
                reference
            }
            Place::Absent(_) => String::new(),
        }
    }

    /// Whether the image is of the reference's repository, under its own name or, in a kustomization,
    /// under the name it replaces.
    pub fn is_of(&self, document: &Document<'_>, reference: &ImageReference) -> bool {
        let called = match &self.place {
            Place::Parts(parts) => parts.called.and_then(|node| repository_of(document.text_of(node)?)),
            Place::Whole(_) | Place::Absent(_) => None,
        };
        [self.repository(document), called].iter().flatten().any(|own| own.same_repository(reference))
    }

    /// The scalar that stands for the image in messages.
    pub fn node(&self) -> NodeId {
        match &self.place {
            Place::Whole(node) | Place::Absent(node) => *node,
            Place::Parts(parts) => {
                let scalars = [parts.tag, parts.digest, parts.repository, parts.registry, parts.called];
                scalars.into_iter().flatten().next().unwrap_or(Document::ROOT)
            }
        }
    }
}

impl fmt::Display for Image<'_> {
    /// The object and the image's name in it: `Deployment/web container app`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.owner.kind.as_str(), self.owner.name.as_str()) {
            ("", "") => {}
            (kind, "") => write!(f, "{kind} ")?,
            (kind, name) => write!(f, "{kind}/{name} ")?,
        }
        f.write_str(match self.role {
            Role::Container => "container ",
            Role::Init => "init container ",
            Role::Ephemeral => "ephemeral container ",
            Role::Volume => "volume ",
            Role::Kustomization | Role::Field => "image ",
            Role::Policy => "policy ",
        })?;
        f.write_str(self.name.unwrap_or("without a name"))
    }
}

/// The repository at the front of a text, also where the tag is something to be filled in
/// (`registry/app:${TAG}`).
pub fn repository_of(text: &str) -> Option<ImageReference> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let named = text.split_once('@').map_or(text, |(named, _)| named);
        named.match_indices(':').rev().find_map(|(colon, _)| named[..colon].parse().ok())
    })
}

/// All images of a document.
pub fn images_of<'d>(document: &'d Document<'_>) -> Vec<Image<'d>> {
    let mut finder = Finder { document, images: Vec::new(), owner: Owner::default(), fields: false };
    finder.object(Document::ROOT);
    finder.images.extend(marked(document));
    finder.images
}

/// What Flux image policies mark: `# {"$imagepolicy": "namespace:name"}` behind a value means the
/// whole reference, with `:tag`, `:name` or `:digest` after the name a part of it
/// (`internal/update/setters.go` of the image-automation-controller).
fn marked<'d>(document: &'d Document<'_>) -> Vec<Image<'d>> {
    const MARK: &str = "\"$imagepolicy\"";
    if !document.text.contains(MARK) {
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
        let part = words.next();
        // The parts of one image stand in one mapping.
        let same = |image: &&mut Image<'d>| {
            let beside = document.parent(image.node()) == document.parent(node);
            image.name == Some(policy) && beside && matches!(image.place, Place::Parts(_))
        };
        let place = match (part, images.iter_mut().find(same)) {
            (None, _) => Place::Whole(node),
            (Some(part), Some(image)) => {
                if let Place::Parts(parts) = &mut image.place {
                    parts.set(part, node);
                }
                continue;
            }
            (Some(part), None) => {
                let mut parts = Parts::default();
                parts.set(part, node);
                Place::Parts(parts)
            }
        };
        let owner = owner_of(document, Document::ROOT);
        images.push(Image { owner, role: Role::Policy, name: Some(policy), place });
    }
    images
}

/// The image that a node is, or is a part of, as the key it stands under says.
pub fn image_at<'d>(document: &'d Document<'_>, node: NodeId) -> Image<'d> {
    let get = |key| document.get(node, key);
    let key = document.key_of(node).unwrap_or_default();
    let place = match (&document.node(node).content, key) {
        (Content::Mapping, _) if get("repository").is_some() => Place::Parts(helm_parts(document, node)),
        (Content::Scalar { .. }, "tag" | "newTag" | "version") => {
            Place::Parts(Parts { tag: Some(node), ..Parts::default() })
        }
        (Content::Scalar { .. }, "digest") => Place::Parts(Parts { digest: Some(node), ..Parts::default() }),
        (Content::Scalar { .. }, "repository" | "newName") => {
            Place::Parts(Parts { repository: Some(node), ..Parts::default() })
        }
        _ => Place::Whole(node),
    };
    Image { owner: owner_of(document, Document::ROOT), role: Role::Field, name: None, place }
}

fn owner_of(document: &Document<'_>, object: NodeId) -> Owner {
    let kind = document.text_at(object, "kind").unwrap_or_default();
    let name = document.get_in(object, &["metadata", "name"]).and_then(|name| document.text_of(name));
    Owner { kind: kind.to_owned(), name: name.unwrap_or_default().to_owned() }
}

/// The scalars of an image as Helm charts' values have it.
fn helm_parts(document: &Document<'_>, mapping: NodeId) -> Parts {
    let get = |key| document.get(mapping, key);
    Parts {
        registry: get("registry"),
        repository: get("repository"),
        tag: get("tag").or_else(|| get("version")),
        digest: get("digest"),
        called: None,
    }
}

struct Finder<'d, 'a> {
    document: &'d Document<'a>,
    images: Vec<Image<'d>>,
    owner: Owner,
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
        self.fields = kind.is_empty() || !is_builtin(api_version);
        let kustomization = matches!(kind, "Kustomization" | "Component")
            || (kind.is_empty() && looks_like_kustomization(document, root));
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
            (Some(key), _) if self.fields && is_image_key(key) && self.field(mapping, key, value, above) => {}
            _ => self.inside(value, key),
        }
    }

    fn inside(&mut self, node: NodeId, above: Option<&'d str>) {
        let document = self.document;
        match document.node(node).content {
            Content::Mapping if self.fields && self.parts(node, above) => {}
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
            let name = self.document.text_at(container, "name");
            let place = self.document.get(container, "image").map_or(Place::Absent(container), Place::Whole);
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
                self.found(Role::Field, name, Place::Whole(value));
                true
            }
            Content::Mapping => self.parts(value, name),
            _ => false,
        }
    }

    fn is_reference(&self, node: NodeId) -> bool {
        self.document.text_of(node).is_some_and(|text| text.parse::<ImageReference>().is_ok())
    }

    /// An image that is written in parts, as Helm charts' values have it.
    fn parts(&mut self, mapping: NodeId, name: Option<&'d str>) -> bool {
        let parts = helm_parts(self.document, mapping);
        let complete = parts.repository.is_some() && (parts.tag.is_some() || parts.digest.is_some());
        if complete {
            self.found(Role::Field, name, Place::Parts(parts));
        }
        complete
    }

    fn kustomization_entries(&mut self, images: NodeId) {
        let document = self.document;
        for entry in document.items(images) {
            let get = |key| document.get(entry, key);
            let Some(name) = get("name") else { continue };
            let parts = Parts {
                registry: None,
                repository: get("newName"),
                tag: get("newTag"),
                digest: get("digest"),
                called: Some(name),
            };
            self.found(Role::Kustomization, document.text_of(name), Place::Parts(parts));
        }
    }

    fn found(&mut self, role: Role, name: Option<&'d str>, place: Place) {
        self.images.push(Image { owner: self.owner.clone(), role, name, place });
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
