//! What `docker save` says of the images in its archive: `manifest.json`.

use std::collections::HashMap;

use image_reference::ImageReference;
use serde::Deserialize;

use super::graph::is_name_of;
use super::{Documents, Paths, by_digest, graph, root_of};
use crate::digest;
use crate::error::PushError;

/// One image of a `docker save` archive.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The configuration's bytes.
    pub config: bytes::Bytes,
    /// Their digest, which is the image's id.
    pub id: String,
    /// The layers' diff ids, lowest first.
    pub diff_ids: Vec<String>,
    /// The layers' paths in the archive, in the same order.
    pub layers: Vec<String>,
}

impl Saved {
    /// What the paths of its layers tell of their diff ids.
    pub fn by_path(&self) -> HashMap<String, String> {
        self.layers.iter().cloned().zip(self.diff_ids.iter().cloned()).collect()
    }
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    // Go writes null for an empty list.
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

/// The image that a reference means: the only one, or the one of its name.
pub fn saved(
    documents: &Documents,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Saved, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let item = item(documents, image, tag, name)?;
    let config = documents
        .get(&item.config)
        .ok_or_else(|| damaged(format!("there is no configuration {}", item.config)))?
        .clone();
    let parsed: Config =
        serde_json::from_slice(&config).map_err(|cause| damaged(format!("{}: {cause}", item.config)))?;
    let diff_ids = parsed.rootfs.diff_ids.unwrap_or_default();
    let layers = item.layers.unwrap_or_default();
    if diff_ids.len() != layers.len() {
        return Err(damaged(format!("{} layers, but {} diff ids", layers.len(), diff_ids.len())));
    }
    Ok(Saved { id: digest::of(&config), config, diff_ids, layers })
}

/// The paths of all that it needs. The containerd store writes the image's layout besides, which may have more platforms.
pub fn paths_of_saved(
    documents: &Documents,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Paths, PushError> {
    let item = item(documents, image, tag, name)?;
    let mut paths: Paths = item.layers.into_iter().flatten().collect();
    if documents.contains_key("index.json")
        && let Some(config) = documents.get(&item.config)
        && let Some((root, _)) = root_of(documents, &digest::of(config), image, tag, name)?
        && let Ok(graph) = graph(&root, name, &by_digest(documents))
    {
        paths.extend(graph.paths());
    }
    Ok(paths)
}

fn item(documents: &Documents, image: &ImageReference, tag: &str, name: &str) -> Result<Item, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let list = documents
        .get("manifest.json")
        .ok_or_else(|| damaged("it has no manifest.json, so `docker save` did not write it".to_owned()))?;
    let items: Vec<Item> =
        serde_json::from_slice(list).map_err(|cause| damaged(format!("manifest.json: {cause}")))?;
    let tags = |item: &Item| item.repo_tags.clone().unwrap_or_default();
    let item = match items.as_slice() {
        [only] => only,
        several => {
            let is_meant = |item: &&Item| tags(item).iter().any(|name| is_name_of(name, image, tag));
            several.iter().find(is_meant).ok_or_else(|| {
                let wanted = format!("{}:{tag}", image.repository());
                let there: Vec<String> = several.iter().flat_map(tags).collect();
                damaged(format!(
                    "it has {} images, and none is {wanted}: {}",
                    several.len(),
                    there.join(", ")
                ))
            })?
        }
    };
    Ok(item.clone())
}
