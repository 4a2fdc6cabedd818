//! What the registry is known to have, learnt from manifests that it holds.
//!
//! An image's configuration names its layers as they unpack, its manifest names them as they are stored, in the
//! same order: two documents of an earlier image tell which layers need not be sent again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;

use crate::engine::expected_paths;
use crate::error::PushError;
use crate::registry::{Descriptor, Manifest, MediaType, Repository};

/// Manifests of one index that are looked at.
const CHILDREN: usize = 16;

/// Tags that are looked at besides the image's own and `latest`: a tag for each commit is the custom, and images
/// of two commits share most layers.
const FURTHER_TAGS: usize = 4;

/// Earlier images and their layers.
#[derive(Debug, Default)]
pub struct Known {
    by_diff_id: HashMap<String, Descriptor>,
    by_path: HashMap<String, String>,
    /// Blobs of other repositories, each with the path of one that has it.
    elsewhere: HashMap<String, String>,
    images: Vec<Image>,
    /// What this run has sent, should it have to begin again.
    sent: Mutex<HashMap<String, Descriptor>>,
}

/// An image that the registry has.
#[derive(Debug)]
pub struct Image {
    /// What stands for it there.
    pub manifest: Manifest,
    /// The path of its repository.
    pub path: String,
    /// Its configuration, if it could be had.
    pub configuration: Option<Bytes>,
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
            match repository.manifest_of(path, tag).await {
                Ok(Some(manifest)) => self.add(repository, path, manifest).await,
                Ok(None) => {}
                Err(_) => repository.mount_no_more_from(path),
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
        if self.images.iter().any(|known| known.manifest.digest == manifest.digest && known.path == path) {
            return;
        }
        if path != repository.path() {
            self.has_elsewhere(path, &manifest);
            for child in manifest.children.iter().take(CHILDREN) {
                if let Ok(Some(child)) = repository.manifest_of(path, &child.digest).await {
                    self.has_elsewhere(path, &child);
                }
            }
        }
        let configuration = match &manifest.config {
            Some(config) => repository.blob(path, &config.digest).await.ok().flatten(),
            None => None,
        };
        if let Some(config) = &configuration
            && let Ok(config) = serde_json::from_slice::<Config>(config)
            && config.rootfs.diff_ids.len() == manifest.layers.len()
        {
            self.by_path.extend(expected_paths(&config.rootfs.diff_ids));
            self.by_diff_id.extend(config.rootfs.diff_ids.into_iter().zip(manifest.layers.iter().cloned()));
        }
        // An index of another repository names manifests that ours does not have.
        if manifest.config.is_some() || path == repository.path() {
            self.images.push(Image { manifest, path: path.to_owned(), configuration });
        }
    }

    fn has_elsewhere(&mut self, path: &str, manifest: &Manifest) {
        let blobs = manifest.config.iter().chain(&manifest.layers).filter(|blob| blob.urls.is_empty());
        self.elsewhere.extend(blobs.map(|blob| (blob.digest.clone(), path.to_owned())));
    }

    /// Whether the registry has a blob in this repository, mounted from another one if need be.
    pub async fn has(&self, digest: &str, repository: &Repository) -> Result<bool, PushError> {
        if repository.has_blob(digest).await? {
            return Ok(true);
        }
        match self.elsewhere.get(digest) {
            Some(path) => repository.mount(digest, path).await,
            None => Ok(false),
        }
    }

    /// The images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The diff id of the layer that `docker save` writes under this path.
    pub fn diff_id(&self, path: &str) -> Option<&String> {
        self.by_path.get(path)
    }

    /// Whether everything that an image of another repository needs is in ours now.
    pub async fn bring(&self, repository: &Repository, image: &Image) -> Result<bool, PushError> {
        if image.path == repository.path() {
            return Ok(true);
        }
        let manifest = &image.manifest;
        for blob in manifest.config.iter().chain(&manifest.layers).filter(|blob| blob.urls.is_empty()) {
            if !self.has(&blob.digest, repository).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Remembers a layer that the registry has now.
    pub fn remember(&self, diff_id: &str, layer: &Descriptor) {
        self.sent().insert(diff_id.to_owned(), layer.clone());
    }

    fn sent(&self) -> MutexGuard<'_, HashMap<String, Descriptor>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer as the registry stores it, if it still does; mounted from where it is.
    pub async fn find(
        &self,
        diff_id: &str,
        repository: &Repository,
    ) -> Result<Option<Descriptor>, PushError> {
        let sent = self.sent().get(diff_id).cloned();
        let Some(layer) = sent.as_ref().or_else(|| self.by_diff_id.get(diff_id)) else { return Ok(None) };
        let is_gzip = layer.media_type.ends_with("gzip") && layer.urls.is_empty();
        if !is_gzip {
            return Ok(None);
        }
        let there = self.has(&layer.digest, repository).await?;
        Ok(there.then(|| Descriptor::new(MediaType::DOCKER_LAYER, layer.size, layer.digest.clone())))
    }
}
