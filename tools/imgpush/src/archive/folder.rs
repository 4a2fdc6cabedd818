//! An OCI image layout in a folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use image_reference::ImageReference;
use tokio::io::AsyncReadExt as _;

use super::graph::root_in;
use super::{Graph, blob_path, graph};
use crate::compress::BLOCK;
use crate::digest::{self, Hasher};
use crate::error::PushError;
use crate::registry::Pieces;

/// An OCI image layout.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Everything that a reference needs.
    pub fn graph(&self, image: &ImageReference, tag: &str) -> Result<Graph, PushError> {
        let name = self.0.display().to_string();
        let index = self.0.join("index.json");
        let index = std::fs::read(&index).map_err(|cause| PushError::file(&index, cause))?;
        let root = root_in(&index, image, tag, &name)?;
        graph(&root, &name, &|digest| self.document(digest))
    }

    fn document(&self, digest: &str) -> Result<Option<Bytes>, PushError> {
        let Some(path) = self.path(digest) else { return Ok(None) };
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(PushError::file(&path, cause)),
        }
    }

    /// Whether a blob that a link leads to elsewhere is what its digest says; other blobs are seen to on their way. Bazel's
    /// `rules_oci` keeps layers outside its layouts, so that links are followed, but nothing else of this machine is to be
    /// sent anywhere on the word of a layout.
    pub async fn may_be_sent(&self, digest: &str) -> Result<bool, PushError> {
        let Some(path) = self.path(digest) else { return Ok(true) };
        let real = |path: &Path| path.canonicalize().map_err(|cause| PushError::file(path, cause));
        if real(&path)?.starts_with(real(&self.0)?) {
            return Ok(true);
        }
        if !path.is_file() {
            return Ok(false);
        }
        let mut pieces = self.blob(digest).await?;
        let mut hasher = Hasher::new();
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece?);
        }
        Ok(hasher.finish() == digest)
    }

    /// The bytes of a blob.
    pub async fn blob(&self, digest: &str) -> Result<Pieces<'static>, PushError> {
        let path = self.path(digest).ok_or_else(|| PushError::Archive {
            name: self.0.display().to_string(),
            problem: format!("`{digest}` is no sha256 digest"),
        })?;
        let file = tokio::fs::File::open(&path).await.map_err(|cause| PushError::file(&path, cause))?;
        Ok(Box::pin(stream::try_unfold((file, path), |(mut file, path)| async move {
            let mut block = Vec::with_capacity(BLOCK);
            (&mut file)
                .take(BLOCK as u64)
                .read_to_end(&mut block)
                .await
                .map_err(|cause| PushError::file(&path, cause))?;
            Ok((!block.is_empty()).then(|| (Bytes::from(block), (file, path))))
        })))
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        digest::is_digest(digest).then(|| self.0.join(blob_path(digest)))
    }
}
