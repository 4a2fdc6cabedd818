//! Images as documents have them: in one scalar, or in several with a part each.

use std::fmt;

use image_reference::ImageReference;

use crate::yaml::{Document, NodeId};

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner<'d> {
    /// `kind`
    pub kind: &'d str,
    /// `metadata.name`
    pub name: &'d str,
}

/// The scalars that make up an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One scalar holds the whole reference.
    Whole(NodeId),
    /// One scalar holds a part of the reference, and where the rest is, if anywhere, isn't known.
    Part(NodeId, Part),
    /// Several scalars hold a part each.
    Parts(Parts),
    /// A container without an `image` of its own; the mapping that lacks it.
    Absent(NodeId),
}

/// A part of an image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The repository with its registry.
    Repository,
    /// The tag.
    Tag,
    /// The digest.
    Digest,
    /// The digest's hexadecimal digits alone.
    Sha,
}

impl Part {
    /// This part of a reference.
    pub fn of(self, reference: &ImageReference) -> Option<String> {
        let sha = || reference.digest()?.strip_prefix("sha256:");
        match self {
            Self::Repository => Some(reference.repository()),
            Self::Tag => reference.tag().map(ToOwned::to_owned),
            Self::Digest => reference.digest().map(ToOwned::to_owned),
            Self::Sha => sha().map(ToOwned::to_owned),
        }
    }

    /// What messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Tag => "tag",
            Self::Digest | Self::Sha => "digest",
        }
    }
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
    /// The digest's hexadecimal digits alone.
    pub sha: Option<NodeId>,
    /// What a kustomization calls the image in the manifests; it stays.
    pub called: Option<NodeId>,
}

impl Parts {
    /// The scalars that a new image may change, the ones that change most often first.
    pub fn scalars(&self) -> impl Iterator<Item = NodeId> {
        [self.tag, self.digest, self.sha, self.repository, self.registry].into_iter().flatten()
    }

    /// Says which scalar holds a part.
    pub fn set(&mut self, part: Part, node: NodeId) {
        match part {
            Part::Repository => self.repository = Some(node),
            Part::Tag => self.tag = Some(node),
            Part::Digest => self.digest = Some(node),
            Part::Sha => self.sha = Some(node),
        }
    }
}

/// An image of a document.
#[derive(Debug, Clone, Copy)]
pub struct Image<'d> {
    /// The object it stands in.
    pub owner: Owner<'d>,
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
            Place::Whole(node) | Place::Part(node, Part::Repository) => {
                repository_of(document.text_of(*node)?)
            }
            Place::Parts(parts) => {
                let repository = document.text_of(parts.repository.or(parts.called)?)?;
                match parts.registry.map(|node| document.text_or_empty(node)).filter(|host| !host.is_empty())
                {
                    Some(registry) => format!("{registry}/{repository}").parse().ok(),
                    None => repository_of(repository),
                }
            }
            Place::Part(..) | Place::Absent(_) => None,
        }
    }

    /// The image as the document has it now, for people.
    pub fn text(&self, document: &Document<'_>) -> String {
        let text = |node: Option<NodeId>| {
            node.map(|node| document.text_or_empty(node)).filter(|text| !text.is_empty())
        };
        match &self.place {
            Place::Whole(node) | Place::Part(node, _) => {
                document.text_of(*node).map_or_else(|| document.source(*node).to_owned(), ToOwned::to_owned)
            }
            Place::Parts(parts) => {
                let mut reference = String::new();
                let repository = parts.repository.or(parts.called);
                for (mark, part) in [
                    ("", parts.registry),
                    ("/", repository),
                    (":", parts.tag),
                    ("@", parts.digest),
                    ("@sha256:", parts.sha),
                ] {
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
            Place::Whole(_) | Place::Part(..) | Place::Absent(_) => None,
        };
        [self.repository(document), called].iter().flatten().any(|own| own.same_repository(reference))
    }

    /// The scalar that stands for the image in messages.
    pub fn node(&self) -> NodeId {
        match &self.place {
            Place::Whole(node) | Place::Part(node, _) | Place::Absent(node) => *node,
            Place::Parts(parts) => parts.scalars().next().or(parts.called).unwrap_or(Document::ROOT),
        }
    }
}

impl fmt::Display for Owner<'_> {
    /// `Deployment/web`, `Deployment`; nothing of what has neither kind nor name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.name) {
            ("", "") => Ok(()),
            (kind, "") => f.write_str(kind),
            (kind, name) => write!(f, "{kind}/{name}"),
        }
    }
}

impl fmt::Display for Image<'_> {
    /// The object and the image's name in it: `Deployment/web container app`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner != Owner::default() {
            write!(f, "{} ", self.owner)?;
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
