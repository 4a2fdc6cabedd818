//! Blobs: whether they are there, and how they get there.

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::{Ask, Repository};
use crate::digest;
use crate::error::PushError;

/// What a manifest says of a blob or of another manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Their digest.
    pub digest: String,
    /// Where else it can be had; then it is not pushed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Facts about it, by name.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub annotations: serde_json::Map<String, serde_json::Value>,
    /// For what machine it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<serde_json::Value>,
}

impl Descriptor {
    /// Of something without facts or platform.
    pub fn new(media_type: &str, size: u64, digest: String) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size,
            digest,
            urls: Vec::new(),
            annotations: serde_json::Map::new(),
            platform: None,
        }
    }
}

/// Where an upload stands.
pub(super) enum Begun {
    /// The blob is there without sending a byte.
    Mounted,
    /// Bytes are to be sent here.
    At(Url),
}

impl Repository {
    /// Whether the registry has a blob.
    pub async fn has_blob(&self, digest: &str) -> Result<bool, PushError> {
        let url = self.url(&self.path, &format!("blobs/{digest}"))?;
        let answer = self.request(Ask::new(Method::HEAD, url)).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused("asking for a layer", answer).await),
        }
    }

    /// A small blob's content, verified; `None` where it is not there.
    pub async fn blob(&self, of: &str, digest: &str) -> Result<Option<bytes::Bytes>, PushError> {
        const LARGEST: u64 = 8 << 20;
        let url = self.url(of, &format!("blobs/{digest}"))?;
        let answer = self.request(Ask::new(Method::GET, url)).await?;
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if !answer.status().is_success() || length.is_some_and(|length: u64| length > LARGEST) {
            return Ok(None);
        }
        let body = self.body(answer).await;
        Ok(body.filter(|body| digest::of(body) == digest))
    }

    /// Makes a blob of another repository of the same registry ours; `false` where the registry would
    /// rather be sent it.
    pub async fn mount(&self, digest: &str, from: &str) -> Result<bool, PushError> {
        if self.reach.dry_run {
            return Ok(false);
        }
        match self.begin(Some((digest, from))).await {
            Ok(Begun::Mounted) => Ok(true),
            Ok(Begun::At(unwanted)) => {
                // The upload that the registry began instead is not used; not every registry lets it be ended.
                let _ = self.request(Ask::new(Method::DELETE, unwanted)).await;
                Ok(false)
            }
            // Who may not read there may still write here; if not, the upload will be refused too.
            Err(PushError::Unauthorized { .. } | PushError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins an upload, or mounts the blob from another repository.
    pub(super) async fn begin(&self, mount: Option<(&str, &str)>) -> Result<Begun, PushError> {
        let mut url = self.url(&self.path, "blobs/uploads/")?;
        if let Some((digest, from)) = mount {
            url.query_pairs_mut().append_pair("mount", digest).append_pair("from", from);
        }
        let answer = self.request(Ask::new(Method::POST, url.clone())).await?;
        self.learn_least_chunk(answer.headers());
        match answer.status() {
            StatusCode::CREATED if mount.is_some() => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => Ok(Begun::At(self.location(&url, answer.headers())?)),
            _ => Err(self.refused("beginning an upload", answer).await),
        }
    }

    /// Sends a blob whose bytes are all here; whether anything had to be sent.
    pub async fn put_blob(&self, content: bytes::Bytes) -> Result<bool, PushError> {
        let digest = digest::of(&content);
        if self.reach.dry_run || self.has_blob(&digest).await? {
            return Ok(false);
        }
        let mut tries = 0;
        loop {
            let Begun::At(mut url) = self.begin(None).await? else { return Ok(true) };
            url.query_pairs_mut().append_pair("digest", &digest);
            let ask = Ask::new(Method::PUT, url).content("application/octet-stream", content.clone());
            let answer = self.request(ask).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(true);
            }
            // A try whose answer got lost may have ended the upload; a broken one may have spoilt it.
            tries += 1;
            if self.has_blob(&digest).await? {
                return Ok(true);
            }
            if tries == 3 || !is_spoilt(status) {
                return Err(self.refused("sending a layer", answer).await);
            }
        }
    }
}

/// Whether an upload is gone or out of step, so that a new one may do.
pub(super) fn is_spoilt(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::BAD_REQUEST)
}
