//! What the registry is known to have, learnt from manifests that it holds.
//!
//! An image's configuration names its layers as they unpack, its manifest names them as they are stored, in the
//! same order: two documents of an earlier image tell which layers need not be sent again.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::PushError;
use crate::registry::{Descriptor, Manifest, Repository};

/// Layers of earlier images.
#[derive(Debug, Default)]
pub struct Known {
    by_diff_id: HashMap<String, (Descriptor, String)>,
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
    /// Learns the layers of an image in the repository `path` of the same registry. What can't be read there
    /// teaches nothing.
    pub async fn learn(
        &mut self,
        repository: &Repository,
        path: &str,
        manifest: &Manifest,
    ) -> Result<(), PushError> {
        let Some(config) = &manifest.config else { return Ok(()) };
        let Some(config) = repository.blob(path, &config.digest).await? else { return Ok(()) };
        let Ok(config) = serde_json::from_slice::<Config>(&config) else { return Ok(()) };
        if config.rootfs.diff_ids.len() == manifest.layers.len() {
            let layers = manifest.layers.iter().map(|layer| (layer.clone(), path.to_owned()));
            self.by_diff_id.extend(config.rootfs.diff_ids.into_iter().zip(layers));
        }
        Ok(())
    }

    /// How many of these layers are known.
    pub fn count(&self, diff_ids: &[String]) -> usize {
        diff_ids.iter().filter(|diff_id| self.by_diff_id.contains_key(*diff_id)).count()
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
        let media_type = crate::registry::MediaType::DOCKER_LAYER;
        Ok(there.then(|| Descriptor::new(media_type, layer.size, layer.digest.clone())))
    }
}
