//! What an OCI layout's index leads to: manifests, and the blobs that they name.

use bytes::Bytes;
use image_reference::ImageReference;
use serde::{Deserialize, Deserializer};

use super::{Documents, blob_path};
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
    let index = documents.get("index.json").ok_or_else(|| PushError::Archive {
        name: name.to_owned(),
        problem: "it has no index.json, so it is no OCI layout".to_owned(),
    })?;
    root_in(index, image, tag, name)
}

/// The entry of a layout's `index.json` that a reference means: the only one, or the one of its name or tag.
pub(super) fn root_in(
    index: &[u8],
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Descriptor, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let node: Node =
        serde_json::from_slice(index).map_err(|cause| damaged(format!("index.json: {cause}")))?;
    let annotation = |entry: &Descriptor, key: &str| {
        entry.annotations.get(key).and_then(|value| value.as_str()).map(ToOwned::to_owned)
    };
    let names = |entry: &Descriptor| {
        ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .into_iter()
            .filter_map(|key| annotation(entry, key))
            .collect::<Vec<_>>()
    };
    let full = format!("{}:{tag}", image.repository());
    let meant =
        node.manifests.iter().find(|entry| names(entry).iter().any(|name| *name == full || name == tag));
    match (meant, node.manifests.as_slice()) {
        (Some(entry), _) | (None, [entry]) => Ok(entry.clone()),
        (None, []) => Err(damaged("index.json names no image".to_owned())),
        (None, several) => {
            let there: Vec<String> = several.iter().flat_map(names).collect();
            Err(damaged(format!(
                "it has {} images, and none is {full} or {tag}: {}",
                several.len(),
                there.join(", ")
            )))
        }
    }
}

/// Finds a manifest's bytes by its digest.
pub type Document<'a> = &'a dyn Fn(&str) -> Result<Option<Bytes>, PushError>;

/// Finds them in an archive.
pub fn by_digest(documents: &Documents) -> impl Fn(&str) -> Result<Option<Bytes>, PushError> {
    move |digest| Ok(documents.get(&blob_path(digest)).cloned())
}

/// The manifest of the image with this id, among those that an entry leads to and that are there.
pub fn of_image(
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
