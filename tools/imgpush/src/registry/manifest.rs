//! Manifests: read, written, and confirmed.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{Ask, Descriptor, Repository, TRIES};
use crate::digest;
use crate::error::PushError;

/// The media types of manifests and of what they name.
#[derive(Debug)]
pub struct MediaType;

impl MediaType {
    /// An OCI manifest of one image.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index of several.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's manifest of one image.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's list of several.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's compressed layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// OCI's image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI's layer in gzip.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI's layer in zstd; docker's own manifests have no such type.
    pub const OCI_ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    /// Whether a type is that of several images.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, Self::OCI_INDEX | Self::DOCKER_LIST)
    }
}

/// What may stand under a tag.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// No manifest is larger (OCI distribution specification, "Pushing Manifests").
const LARGEST: usize = 4 << 20;

/// A manifest that the registry holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The digest of its bytes, computed here.
    pub digest: String,
    /// The image's configuration, whose digest is the image's id in docker's classic store.
    pub config: Option<Descriptor>,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifests that an index names.
    pub children: Vec<Descriptor>,
    /// The bytes themselves, to be put under another tag.
    pub body: bytes::Bytes,
    /// What kind of manifest it is.
    pub media_type: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    media_type: Option<String>,
    config: Option<Descriptor>,
    // docker writes null for an image without layers.
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Repository {
    /// What stands under a tag or a digest, if anything does.
    pub async fn manifest(&self, name: &str) -> Result<Option<Manifest>, PushError> {
        self.manifest_of(&self.path, name).await
    }

    /// The same, of a repository of the same registry.
    pub async fn manifest_of(&self, path: &str, name: &str) -> Result<Option<Manifest>, PushError> {
        let url = self.url(path, &format!("manifests/{name}"))?;
        let mut tries = 0;
        loop {
            let answer = self.request(Ask::new(Method::GET, url.clone()).accept(MANIFESTS)).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                status if status.is_success() => {}
                _ => return Err(self.refused("asking for the manifest", answer).await),
            }
            let header = |name: &str| {
                answer.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
            };
            let (content_type, told) = (header("content-type"), header("docker-content-digest"));
            let reason = match self.body(answer).await.filter(|body| body.len() <= LARGEST) {
                None => "the manifest breaks off",
                Some(body) => {
                    let digest = digest::of(&body);
                    let is_asked_for = !digest::is_digest(name) || name == digest;
                    if is_asked_for && told.as_deref().is_none_or(|told| told == digest) {
                        let parsed: Body = serde_json::from_slice(&body).unwrap_or_default();
                        let media_type = parsed.media_type.or(content_type).unwrap_or_default();
                        return Ok(Some(Manifest {
                            digest,
                            config: parsed.config,
                            layers: parsed.layers.unwrap_or_default(),
                            children: parsed.manifests.unwrap_or_default(),
                            body,
                            media_type,
                        }));
                    }
                    "the manifest is not what its digest says"
                }
            };
            tries += 1;
            if tries == TRIES {
                return Err(PushError::unreachable(&self.registry, reason));
            }
            self.wait(tries, None, reason).await;
        }
    }

    /// Puts a manifest under a tag or its digest.
    pub async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        body: bytes::Bytes,
    ) -> Result<(), PushError> {
        if self.reach.dry_run {
            return Ok(());
        }
        let url = self.url(&self.path, &format!("manifests/{name}"))?;
        let answer = self.request(Ask::new(Method::PUT, url).content(media_type, body)).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(self.refused(&format!("putting the manifest `{name}`"), answer).await)
    }

    /// What the registry holds under a tag, after it was asked for that digest too. It must be what was pushed; a
    /// registry of several machines is given a moment to agree with itself.
    pub async fn confirmed(
        &self,
        tag: &str,
        pushed: &str,
        is_it: &dyn Fn(&Manifest) -> bool,
    ) -> Result<Manifest, PushError> {
        const MOMENTS: u32 = 4;
        let mut tries = 0;
        loop {
            let by_tag = self.manifest(tag).await?;
            let found = by_tag.as_ref().map_or("nothing", |manifest| &manifest.digest).to_owned();
            if let Some(manifest) = by_tag.filter(|found| is_it(found))
                && self.manifest(&manifest.digest).await?.is_some()
            {
                return Ok(manifest);
            }
            tries += 1;
            if tries == MOMENTS {
                return Err(PushError::Unconfirmed {
                    reference: format!("{}/{}:{tag}", self.registry, self.path),
                    pushed: pushed.to_owned(),
                    found,
                });
            }
            self.wait(tries, None, "does not confirm the digest").await;
        }
    }

    /// The repository's tags, as far as one answer has them; none where they can't be had.
    pub async fn tags(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let Ok(url) = self.url(&self.path, "tags/list?n=1000") else { return Vec::new() };
        let Ok(answer) = self.request(Ask::new(Method::GET, url)).await else { return Vec::new() };
        let body = if answer.status().is_success() { self.body(answer).await } else { None };
        let tags = body.and_then(|body| serde_json::from_slice::<Tags>(&body).ok()?.tags).unwrap_or_default();
        tags.into_iter().filter(|tag| image_reference::is_tag(tag)).collect()
    }
}
