//! What is to be changed: which images of a document are meant, and what becomes of their scalars.

use std::fmt;

use image_reference::ImageReference;

use crate::images::{Image, Owner, Part, Parts, Place, Role};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::yaml::{Document, NodeId};

/// Which images are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// All of the new image's repository.
    Repository,
    /// The container, kustomization entry or field of this name.
    Container(String),
    /// Those marked with this Flux image policy (`NAMESPACE:NAME`).
    Policy(String),
    /// The node at this path.
    At(Path),
}

/// The new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An image, of which each scalar gets its part.
    Image(ImageReference),
    /// A text that the scalar gets whole.
    Text(String),
}

/// One change that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which images are meant.
    pub place: Where,
    /// What they become.
    pub value: Value,
}

/// The documents that are meant; an empty list means all.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// `kind`, in any case.
    pub kinds: Vec<String>,
    /// `metadata.name`
    pub names: Vec<String>,
    /// The document's number in its file, from 0.
    pub documents: Vec<usize>,
}

impl Scope {
    /// Whether it leaves anything out.
    pub fn is_narrow(&self) -> bool {
        !(self.kinds.is_empty() && self.names.is_empty() && self.documents.is_empty())
    }

    /// Whether the document of this number may hold what is meant.
    pub fn has_document(&self, number: usize) -> bool {
        self.documents.is_empty() || self.documents.contains(&number)
    }

    /// Whether an object is meant.
    pub fn has(&self, owner: &Owner<'_>) -> bool {
        let kind =
            self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.eq_ignore_ascii_case(owner.kind));
        kind && (self.names.is_empty() || self.names.iter().any(|name| name == owner.name))
    }
}

impl Target {
    /// Whether an image is meant. Paths are not looked up here.
    pub fn means(&self, document: &Document<'_>, image: &Image<'_>) -> bool {
        match (&self.place, &self.value) {
            (Where::Repository, Value::Image(reference)) => image.is_of(document, reference),
            (Where::Container(name), _) => {
                image.name == Some(name) && !matches!(image.role, Role::Volume | Role::Policy)
            }
            (Where::Policy(policy), _) => image.role == Role::Policy && image.name == Some(policy),
            (Where::At(_) | Where::Repository, _) => false,
        }
    }

    /// Which of two targets decides where both mean the same scalar: the higher one.
    pub const fn rank(&self) -> u8 {
        match self.place {
            Where::At(_) => 3,
            Where::Container(_) => 2,
            Where::Policy(_) => 1,
            Where::Repository => 0,
        }
    }

    /// A text that every document that is meant contains, unless it hides it by escapes.
    pub fn needle(&self) -> Option<&str> {
        let needle = match (&self.place, &self.value) {
            (Where::Repository, Value::Image(reference)) => reference.path().rsplit('/').next(),
            (Where::Container(name) | Where::Policy(name), _) => Some(name.as_str()),
            (Where::At(path), _) => path.last_key(),
            (Where::Repository, Value::Text(_)) => None,
        };
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        needle.filter(|needle| !needle.is_empty() && needle.chars().all(harmless))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference) => reference.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Value {
    /// What becomes of the image's scalars. A scalar that already says so is in the list too.
    pub fn changes(
        &self,
        document: &Document<'_>,
        place: &Place,
    ) -> Result<Vec<(NodeId, String)>, (NodeId, Refusal)> {
        match (self, place) {
            (Self::Text(text), Place::Whole(node) | Place::Part(node, _)) => Ok(vec![(*node, text.clone())]),
            (Self::Image(reference), Place::Part(node, part)) => {
                let value = part.of(reference).ok_or((*node, Refusal::Stale(part.name())))?;
                Ok(vec![(*node, value)])
            }
            (Self::Image(reference), Place::Whole(node)) => Ok(vec![(*node, reference.to_string())]),
            (Self::Image(reference), Place::Parts(parts)) => in_parts(document, reference, parts),
            (Self::Text(_), Place::Parts(parts)) => {
                let node = parts.repository.or(parts.tag).unwrap_or(Document::ROOT);
                Err((node, crate::yaml::scalar::Unwritable::Collection("mapping").into()))
            }
            (_, Place::Absent(_)) => Ok(Vec::new()),
        }
    }

    /// Whether the reference has a digest that no scalar of the image takes.
    pub fn loses_digest(&self, place: &Place, changes: &[(NodeId, String)]) -> bool {
        let Self::Image(reference) = self else { return false };
        let Some((_, hex)) = reference.digest().and_then(|digest| digest.split_once(':')) else {
            return false;
        };
        matches!(place, Place::Parts(_)) && !changes.iter().any(|(_, text)| text.ends_with(hex))
    }
}

/// Each part of the reference to the scalar that holds it.
fn in_parts(
    document: &Document<'_>,
    reference: &ImageReference,
    parts: &Parts,
) -> Result<Vec<(NodeId, String)>, (NodeId, Refusal)> {
    let mut changes = Vec::new();
    let text = |node: NodeId| document.text_or_empty(node);
    let image = Image { owner: Owner::default(), role: Role::Field, name: None, place: Place::Parts(*parts) };
    let anchor = image.node();
    let same = image.repository(document).is_some_and(|own| own.same_repository(reference));
    if !same {
        let registry =
            parts.registry.filter(|&node| !text(node).is_empty() || reference.registry().is_some());
        let repository = parts.repository.ok_or((anchor, Refusal::NoKeyFor("repository")))?;
        if let Some(registry) = registry {
            let host = reference.registry().unwrap_or(image_reference::DEFAULT_REGISTRY);
            changes.push((registry, host.to_owned()));
            changes.push((repository, reference.path().to_owned()));
        } else {
            changes.push((repository, reference.repository()));
        }
    }
    for (node, part) in [(parts.digest, Part::Digest), (parts.sha, Part::Sha)] {
        match (part.of(reference), node) {
            (Some(digest), Some(node)) => changes.push((node, digest)),
            (None, Some(node)) if !text(node).is_empty() => return Err((node, Refusal::Stale(part.name()))),
            _ => {}
        }
    }
    let has_digest = parts.digest.or(parts.sha).is_some();
    match (reference.tag(), parts.tag) {
        (Some(tag), Some(node)) => {
            // Without a key for it, the digest follows the tag if it did so before.
            let pinned = !has_digest && text(node).contains('@');
            match reference.digest().filter(|_| pinned) {
                Some(digest) => changes.push((node, format!("{tag}@{digest}"))),
                None if pinned => return Err((node, Refusal::Stale("digest"))),
                None => changes.push((node, tag.to_owned())),
            }
        }
        (None, Some(node)) if !text(node).is_empty() => return Err((node, Refusal::Stale("tag"))),
        (Some(_), None) if !has_digest || reference.digest().is_none() => {
            return Err((anchor, Refusal::NoKeyFor("tag")));
        }
        (None, _) if !has_digest && reference.digest().is_some() => {
            return Err((anchor, Refusal::NoKeyFor("digest")));
        }
        _ => {}
    }
    Ok(changes)
}
