//! What an OCI layout's index leads to: manifests, and the blobs that they name.

use bytes::Bytes;
use image_reference::ImageReference;
use serde::Deserialize;

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
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// The entry of a layout's `index.json` that a reference means: the only one, or the one of its name or tag.
pub fn root(index: &[u8], image: &ImageReference, tag: &str, name: &str) -> Result<Descriptor, PushError> {
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

/// Follows an entry to everything that it needs. `document` finds a manifest's bytes by digest.
pub fn graph(
    root: &Descriptor,
    name: &str,
    document: &dyn Fn(&str) -> Result<Option<Bytes>, PushError>,
) -> Result<Graph, PushError> {
    let mut found = Graph::default();
    follow(root, name, document, &mut found, 0)?;
    Ok(found)
}

fn follow(
    entry: &Descriptor,
    name: &str,
    document: &dyn Fn(&str) -> Result<Option<Bytes>, PushError>,
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
    if digest::of(&body) != entry.digest {
        return Err(damaged(format!("the content of {} is not what its digest says", entry.digest)));
    }
    let node: Node =
        serde_json::from_slice(&body).map_err(|cause| damaged(format!("{}: {cause}", entry.digest)))?;
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
