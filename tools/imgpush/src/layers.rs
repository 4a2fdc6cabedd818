//! What the registry is known to have, learnt from manifests that it holds.
//!
//! An image's configuration names its layers as they unpack, its manifest names them as they are stored, in the
//! same order: two documents of an earlier image tell which layers need not be sent again.

use std::collections::HashMap;

use serde::Deserialize;

use crate::engine::expected_paths;
use crate::error::PushError;
use crate::registry::{Descriptor, Manifest, MediaType, Repository};

/// Tags that are looked at besides the image's own and `latest`: a tag for each commit is the custom, and images
/// of two commits share most layers.
const FURTHER_TAGS: usize = 4;

/// Earlier images and their layers.
#[derive(Debug, Default)]
pub struct Known {
    by_diff_id: HashMap<String, (Descriptor, String)>,
    by_path: HashMap<String, String>,
    images: Vec<(Manifest, String)>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Known {
    /// Learns from images of the same registry, each a repository's path and a tag. What can't be read there
    /// teaches nothing.
    pub async fn learn(&mut self, repository: &Repository, images: &[(String, String)]) {
        for (path, tag) in images {
            repository.mount_from(path);
            if let Ok(Some(manifest)) = repository.manifest_of(path, tag).await {
                self.add(repository, path, manifest).await;
            }
        }
    }

    /// Learns from a few images of the repository itself: what stands under the tag, `latest`, and other tags.
    pub async fn learn_here(&mut self, repository: &Repository, tag: &str, there: Option<&Manifest>) {
        let mut tags = vec!["latest".to_owned()];
        let mut others = repository.tags().await;
        others.retain(|other| other != tag && other != "latest");
        tags.extend(others.into_iter().rev().take(FURTHER_TAGS));
        for other in tags.iter().filter(|other| *other != tag) {
            if let Ok(Some(manifest)) = repository.manifest(other).await {
                self.add(repository, repository.path(), manifest).await;
            }
        }
        if let Some(there) = there {
            self.add(repository, repository.path(), there.clone()).await;
        }
    }

    async fn add(&mut self, repository: &Repository, path: &str, manifest: Manifest) {
        let Some(config) = &manifest.config else { return };
        if self.images.iter().any(|(known, from)| known.digest == manifest.digest && from == path) {
            return;
        }
        if let Ok(Some(config)) = repository.blob(path, &config.digest).await
            && let Ok(config) = serde_json::from_slice::<Config>(&config)
            && config.rootfs.diff_ids.len() == manifest.layers.len()
        {
            self.by_path.extend(expected_paths(&config.rootfs.diff_ids));
            let layers = manifest.layers.iter().map(|layer| (layer.clone(), path.to_owned()));
            self.by_diff_id.extend(config.rootfs.diff_ids.into_iter().zip(layers));
        }
        self.images.push((manifest, path.to_owned()));
    }

    /// The images, each with its repository's path.
    pub fn images(&self) -> impl Iterator<Item = (&Manifest, &str)> {
        self.images.iter().map(|(manifest, path)| (manifest, path.as_str()))
    }

    /// The diff id of the layer that `docker save` writes under this path.
    pub fn diff_id(&self, path: &str) -> Option<&String> {
        self.by_path.get(path)
    }

    /// Whether everything that an image of the repository `path` needs is in ours now.
    pub async fn bring(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        path: &str,
    ) -> Result<bool, PushError> {
        if path == repository.path() {
            return Ok(true);
        }
        for blob in manifest.config.iter().chain(&manifest.layers).filter(|blob| blob.urls.is_empty()) {
            if !repository.has_blob(&blob.digest).await? && !repository.mount(&blob.digest, path).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The layer as the registry stores it, if it still does; mounted from where it is.
    pub async fn find(
        &self,
        diff_id: &str,
        repository: &Repository,
    ) -> Result<Option<Descriptor>, PushError> {
        let Some((layer, path)) = self.by_diff_id.get(diff_id) else { return Ok(None) };
        let is_gzip = layer.media_type.ends_with("gzip") && layer.urls.is_empty();
        if !is_gzip {
            return Ok(None);
        }
        let there = repository.has_blob(&layer.digest).await?
            || (path != repository.path() && repository.mount(&layer.digest, path).await?);
        Ok(there.then(|| Descriptor::new(MediaType::DOCKER_LAYER, layer.size, layer.digest.clone())))
    }
}
