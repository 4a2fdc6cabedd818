//! What an OCI layout's index leads to: manifests, and the blobs that they name.

use bytes::Bytes;
use image_reference::ImageReference;
use serde::{Deserialize, Deserializer};

use super::{Documents, Paths, blob_path};
use crate::digest;
use crate::error::PushError;
use crate::registry::{Descriptor, MediaType};

/// Everything that must be in the registry for one image, or one index of images.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The manifests, children before the index that names them; the last is the one that gets the tag.
    pub manifests: Vec<(Descriptor, Bytes)>,
    /// The configurations and layers.
    pub blobs: Vec<Descriptor>,
}

impl Graph {
    /// Where a layout keeps its blobs.
    pub fn paths(&self) -> Paths {
        self.blobs.iter().map(|blob| blob_path(&blob.digest)).collect()
    }
}

/// An index or a manifest, whichever it is.
#[derive(Deserialize)]
struct Node {
    #[serde(default, deserialize_with = "or_none")]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_none")]
    layers: Vec<Descriptor>,
}

/// Go writes null for an empty list.
fn or_none<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(list)?.unwrap_or_default())
}

/// The entry of an archived layout's `index.json` that a reference means.
pub fn root(
    documents: &Documents,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Descriptor, PushError> {
    root_in(index(documents, name)?, image, tag, name)
}

fn index<'a>(documents: &'a Documents, name: &str) -> Result<&'a Bytes, PushError> {
    documents.get("index.json").ok_or_else(|| PushError::Archive {
        name: name.to_owned(),
        problem: "it has no index.json, so it is no OCI layout".to_owned(),
    })
}

/// The entry of a layout's `index.json` that a reference means: the only image, or the one of its name, or the one of
/// its tag where that is all that is said of it.
///
/// `org.opencontainers.image.ref.name` is a tag for builders and engines, a whole name for others (OCI image
/// specification, "Pre-Defined Annotation Keys"); `io.containerd.image.name` beside it is always whole. Two images that
/// are saved together have the same tag easily.
pub(super) fn root_in(
    index: &[u8],
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Descriptor, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let entries = entries(index, name)?;
    let full = format!("{}:{tag}", image.repository());
    let is_tagged = |entry: &Descriptor| match Name::of(entry) {
        Some(Name::Tag(stated)) => stated == tag,
        _ => false,
    };
    let by_name: Vec<_> = entries.iter().filter(|entry| is_named(entry, image, tag)).collect();
    let by_tag: Vec<_> = entries.iter().filter(|entry| is_tagged(entry)).collect();
    let (meant, called) = if by_name.is_empty() { (by_tag, tag) } else { (by_name, full.as_str()) };
    let only = |entries: &[&Descriptor]| match entries {
        [first, rest @ ..] if rest.iter().all(|entry| entry.digest == first.digest) => Some((*first).clone()),
        _ => None,
    };
    let all: Vec<&Descriptor> = entries.iter().collect();
    if let Some(entry) = only(&meant).or_else(|| only(&all)) {
        return Ok(entry);
    }
    if entries.is_empty() {
        return Err(damaged("index.json names no image".to_owned()));
    }
    let there: Vec<&str> = entries.iter().filter_map(names).collect();
    let there = there.join(", ");
    Err(damaged(if meant.is_empty() {
        format!("it has {} images, and none is {full} or just {tag}: {there}", entries.len())
    } else {
        format!("{} images are named {called}: {there}", meant.len())
    }))
}

/// The entry that leads to the image with this id, and the manifest of that image alone; the one of the reference's name
/// where several do.
pub fn root_of(
    documents: &Documents,
    id: &str,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Option<(Descriptor, Descriptor)>, PushError> {
    let mut entries = entries(index(documents, name)?, name)?;
    entries.sort_by_key(|entry| !is_named(entry, image, tag));
    for entry in entries {
        if let Some(alone) = of_image(&entry, id, name, &by_digest(documents))? {
            return Ok(Some((entry, alone)));
        }
    }
    Ok(None)
}

fn entries(index: &[u8], name: &str) -> Result<Vec<Descriptor>, PushError> {
    let node: Node = serde_json::from_slice(index).map_err(|cause| PushError::Archive {
        name: name.to_owned(),
        problem: format!("index.json: {cause}"),
    })?;
    Ok(node.manifests)
}

/// What an entry of `index.json` is called.
enum Name<'a> {
    /// By its repository and tag.
    Whole(&'a str),
    /// By its tag alone.
    Tag(&'a str),
}

impl<'a> Name<'a> {
    fn of(entry: &'a Descriptor) -> Option<Self> {
        let annotation = |key: &str| entry.annotations.get(key).and_then(|value| value.as_str());
        if let Some(whole) = annotation("io.containerd.image.name") {
            return Some(Self::Whole(whole));
        }
        let stated = annotation("org.opencontainers.image.ref.name")?;
        Some(if image_reference::is_tag(stated) { Self::Tag(stated) } else { Self::Whole(stated) })
    }
}

fn names(entry: &Descriptor) -> Option<&str> {
    Name::of(entry).map(|(Name::Whole(name) | Name::Tag(name))| name)
}

fn is_named(entry: &Descriptor, image: &ImageReference, tag: &str) -> bool {
    matches!(Name::of(entry), Some(Name::Whole(name)) if is_name_of(name, image, tag))
}

/// Whether a name in an archive is that of a reference. Programs differ in how much of it they write: `app:v1`,
/// `docker.io/library/app:v1`.
pub(super) fn is_name_of(name: &str, image: &ImageReference, tag: &str) -> bool {
    name.parse::<ImageReference>()
        .is_ok_and(|named| named.same_repository(image) && named.tag().unwrap_or("latest") == tag)
}

/// Finds a manifest's bytes by its digest.
pub type Document<'a> = &'a dyn Fn(&str) -> Result<Option<Bytes>, PushError>;

/// Finds them in an archive.
pub fn by_digest(documents: &Documents) -> impl Fn(&str) -> Result<Option<Bytes>, PushError> {
    move |digest| Ok(documents.get(&blob_path(digest)).cloned())
}

/// The manifest of the image with this id, among those that an entry leads to and that are there.
fn of_image(
    entry: &Descriptor,
    id: &str,
    name: &str,
    document: Document<'_>,
) -> Result<Option<Descriptor>, PushError> {
    let Some(body) = document(&entry.digest)? else { return Ok(None) };
    let node = node(&body, entry, name)?;
    if node.config.is_some_and(|config| config.digest == id) {
        return Ok(Some(entry.clone()));
    }
    for child in &node.manifests {
        if let Some(found) = of_image(child, id, name, document)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// An entry's content, which must be what its digest says.
fn node(body: &Bytes, entry: &Descriptor, name: &str) -> Result<Node, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    if digest::of(body) != entry.digest {
        return Err(damaged(format!("the content of {} is not what its digest says", entry.digest)));
    }
    serde_json::from_slice(body).map_err(|cause| damaged(format!("{}: {cause}", entry.digest)))
}

/// Follows an entry to everything that it needs.
pub fn graph(root: &Descriptor, name: &str, document: Document<'_>) -> Result<Graph, PushError> {
    let mut found = Graph::default();
    follow(root, name, document, &mut found, 0)?;
    Ok(found)
}

fn follow(
    entry: &Descriptor,
    name: &str,
    document: Document<'_>,
    found: &mut Graph,
    depth: usize,
) -> Result<(), PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    if depth > 4 {
        return Err(damaged("indexes are nested too deeply".to_owned()));
    }
    if found.manifests.iter().any(|(known, _)| known.digest == entry.digest) {
        return Ok(());
    }
    let body = document(&entry.digest)?.ok_or_else(|| damaged(format!("there is no {}", entry.digest)))?;
    let node = node(&body, entry, name)?;
    if MediaType::is_index(&entry.media_type) || node.config.is_none() {
        for child in &node.manifests {
            follow(child, name, document, found, depth + 1)?;
        }
    } else {
        // A layer with addresses of its own is had from there ("non-distributable").
        let blobs = node.config.into_iter().chain(node.layers).filter(|blob| blob.urls.is_empty());
        for blob in blobs {
            if !found.blobs.iter().any(|known| known.digest == blob.digest) {
                found.blobs.push(blob);
            }
        }
    }
    found.manifests.push((entry.clone(), body));
    Ok(())
}
