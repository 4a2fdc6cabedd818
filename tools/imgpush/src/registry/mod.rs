//! A registry, spoken to as the OCI distribution specification says.

mod access;
mod blob;
mod login;
mod manifest;
mod refusal;
mod request;
mod retry;
mod tls;
mod upload;

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reqwest::Url;
use step::Console;

use crate::credentials::Credentials;
use crate::error::PushError;
use access::Access;
use request::Ask;

pub use blob::Descriptor;
pub use manifest::{Manifest, MediaType};
pub use retry::{TRIES, pause};
pub use tls::{Trust, is_loopback};
pub use upload::{Pieces, Uploaded};

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Whom to trust, and who we are to TLS.
    pub trust: Trust,
    /// Speak HTTP without TLS.
    pub plain_http: bool,
    /// How long a silent registry is waited for.
    pub timeout: Duration,
    /// Bytes of a ranged PATCH; without, a large blob is one streamed PATCH, which every registry takes.
    pub chunk_size: Option<usize>,
    /// Write nothing.
    pub dry_run: bool,
}

/// One repository of a registry.
pub struct Repository {
    client: reqwest::Client,
    console: Console,
    registry: String,
    path: String,
    base: Mutex<Url>,
    reach: Reach,
    credentials: Option<Credentials>,
    access: Mutex<Access>,
    /// Bytes that a request of an upload in chunks must have at least, but the last one.
    least_chunk: AtomicUsize,
}

impl Repository {
    /// A repository, not asked yet.
    pub fn new(
        console: Console,
        registry: &str,
        path: &str,
        reach: Reach,
        credentials: Option<Credentials>,
    ) -> Result<Self, PushError> {
        // docker.io is a name for people; the registry itself answers elsewhere.
        let (host, path) = if registry == image_reference::DEFAULT_REGISTRY {
            let path = if path.contains('/') { path.to_owned() } else { format!("library/{path}") };
            ("registry-1.docker.io", path)
        } else {
            (registry, path.to_owned())
        };
        let scheme = if reach.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|cause| PushError::unreachable(registry, cause.to_string()))?;
        Ok(Self {
            client: reach.trust.client(registry)?,
            console,
            registry: registry.to_owned(),
            path,
            base: Mutex::new(base),
            reach,
            credentials,
            access: Mutex::default(),
            least_chunk: AtomicUsize::new(0),
        })
    }

    /// The credentials that are used, for the engine to use too.
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The repository's path in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn url(&self, of: &str, rest: &str) -> Result<Url, PushError> {
        lock(&self.base)
            .join(&format!("/v2/{of}/{rest}"))
            .map_err(|cause| PushError::unreachable(&self.registry, cause.to_string()))
    }
}

/// A lock that a panicking thread held is as good as any: its data are replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
