//! The container engine that holds the image.

mod description;
mod endpoint;
mod export;
mod legacy_ids;
mod ssh;
mod storage;
mod tar_split;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::PushImageOptionsBuilder;
use futures_util::{StreamExt as _, stream};
use image_reference::ImageReference;
use step::{Console, with_causes};

use self::endpoint::PATIENCE;
use crate::credentials::Credentials;
use crate::error::PushError;
use crate::progress::{Layer, Progress};
use crate::registry::{TRIES, pause};
use crate::words::shown;

pub use description::Description;
pub use endpoint::Settings;
pub use export::Export;
pub use storage::{Storage, StoredLayer};

/// How long an engine may take to tell of itself, where there is another way.
const INFORMATION: Duration = Duration::from_secs(5);

/// A connection to the engine.
pub struct Engine {
    docker: Docker,
}

/// An image that the engine has.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// The digest of its configuration, or of its manifest in the containerd store.
    pub id: String,
    /// The digests of its layers, uncompressed, lowest first.
    pub diff_ids: Vec<String>,
    /// Its layers' bytes, uncompressed.
    pub size: u64,
    /// What its configuration says, where the id does not name that: in the containerd store.
    pub description: Option<Description>,
    /// The digest of its configuration, where it was found out.
    pub configuration: Option<String>,
}

/// A layer that the engine is sending, in bytes as its store has them.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// All of them.
    pub total: u64,
    /// Those that are read.
    pub done: u64,
}

/// How the engine's own push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnginePush {
    /// It says that it pushed, and what, if it says that.
    Done {
        /// The digest that it tells.
        digest: Option<String>,
        /// The bytes of the layers that it sent, as far as it tells.
        sent: u64,
    },
    /// It was stopped, since it had too much to send.
    Stopped {
        /// The bytes that it had left to send, as far as it had said.
        left: u64,
    },
}

impl Engine {
    /// Connects as the docker client does. An engine beside a CI job may still be starting, so it gets some seconds.
    pub async fn connect(
        settings: &Settings,
        patience: Duration,
        console: &Console,
    ) -> Result<Self, PushError> {
        let mut tries = 0;
        loop {
            let (docker, address) = settings.connect()?;
            let docker = docker.with_request_modifier(url_safe_authorization);
            let error = match tokio::time::timeout(patience, docker.negotiate_version()).await {
                Ok(Ok(docker)) => return Ok(Self { docker }),
                Ok(Err(error)) => PushError::NoEngine(format!("{address}: {}", with_causes(&error))),
                Err(_) => {
                    let seconds = patience.as_secs();
                    return Err(PushError::NoEngine(format!("{address} says nothing for {seconds} s")));
                }
            };
            tries += 1;
            if tries == TRIES || error.is_about_certificates() || error.is_about_permission() {
                return Err(error);
            }
            console.detail(format!("{}; trying again", shown(&error.to_string())));
            tokio::time::sleep(pause(tries, None)).await;
        }
    }

    /// What the engine knows of an image.
    pub async fn image(&self, reference: &str) -> Result<LocalImage, PushError> {
        let image = match self.docker.inspect_image(reference).await {
            Ok(image) => image,
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => {
                return Err(PushError::NoImage(reference.to_owned()));
            }
            Err(EngineError::DockerResponseServerError { status_code: 400..=499, message }) => {
                let reference = reference.to_owned();
                return Err(PushError::Engine { reference, message, transient: false });
            }
            Err(error) => return Err(no_engine(&error)),
        };
        Ok(LocalImage {
            configuration: None,
            description: image.descriptor.is_some().then(|| Description::of(&image)),
            id: image.id.ok_or_else(|| PushError::NoImage(reference.to_owned()))?,
            diff_ids: image.root_fs.and_then(|root| root.layers).unwrap_or_default(),
            size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        })
    }

    /// The image in the engine's storage, if this program may read that; else why it can't.
    pub async fn storage(&self, image: &LocalImage) -> Result<Storage, String> {
        if image.description.is_some() {
            return Err("its layers are in containerd's store".to_owned());
        }
        // An engine counts its containers for that.
        let told = tokio::time::timeout(INFORMATION, self.docker.info()).await;
        let engine = told.map_err(|_| "it does not tell where that is in time".to_owned())?;
        let engine = engine.map_err(|error| with_causes(&error))?;
        let (Some(root), Some(driver)) = (engine.docker_root_dir, engine.driver) else {
            return Err("it does not tell where that is".to_owned());
        };
        Storage::of(image, Path::new(&root), &driver).map_err(|cause| format!("{root}: {cause}"))
    }

    /// The image as `docker save` writes it.
    pub fn export(&self, reference: &str, progress: &Progress) -> Export {
        let docker = self.docker.clone();
        let (reference, named) = (reference.to_owned(), reference.to_owned());
        // Asked for by the thread that reads it.
        let pieces = stream::once(async move { docker.export_image(&reference).boxed() }).flatten().map(
            move |bytes| {
                bytes.map_err(|error| match error {
                    EngineError::DockerResponseServerError { message, .. } => {
                        PushError::Engine { reference: named.clone(), message, transient: false }
                    }
                    error => no_engine(&error),
                })
            },
        );
        Export::new(pieces, progress.clone())
    }

    /// Lets the engine push, unless what it is sending is too much.
    pub async fn push(
        &self,
        image: &ImageReference,
        tag: &str,
        credentials: Option<&Credentials>,
        is_too_much: impl Fn(&[Sending]) -> bool,
        console: &Console,
    ) -> Result<EnginePush, PushError> {
        let reference = format!("{}:{tag}", image.repository());
        // Without a tag the engine would push every tag of the repository.
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let login = credentials.map(|credentials| login(credentials, image.registry()));
        let mut progress = Box::pin(self.docker.push_image(&image.repository(), Some(options), login));
        let mut digest = None;
        // Layers have no names here; those that are sent at once hardly ever have the same number of bytes.
        let mut layers: HashMap<u64, (u64, Layer)> = HashMap::new();
        let bars = Progress::new(console.clone());
        // An error may come after any number of good lines, so the stream is read to its end.
        loop {
            let silent = |_| PushError::NoEngine(format!("it has said nothing for {PATIENCE} s"));
            let next = tokio::time::timeout(Duration::from_secs(PATIENCE), progress.next());
            let Some(line) = next.await.map_err(silent)? else { break };
            let line = match line {
                Ok(line) => line,
                // bollard stumbles over a line's end after the last line; the registry will be asked anyway.
                Err(error) if digest.is_some() && error.to_string().contains("bytes remaining") => break,
                Err(
                    error @ (EngineError::DockerStreamError { .. }
                    | EngineError::DockerResponseServerError { .. }),
                ) => return Err(engine_error(&reference, &error.to_string())),
                Err(error) => return Err(no_engine(&error)),
            };
            if let Some(error) = line.error_detail.and_then(|detail| detail.message) {
                return Err(engine_error(&reference, &error));
            }
            let Some(status) = line.status else { continue };
            console.debug(shown(&status));
            if let Some(told) = digest_line(&status, tag) {
                digest = Some(told);
            }
            if let Some(detail) = line.progress_detail.filter(|_| status == "Pushing")
                && let (Some(current), Some(total)) = (detail.current, detail.total)
                && let (Ok(current), Ok(total)) = (u64::try_from(current), u64::try_from(total))
            {
                let name = format!("layer {}", layers.len() + 1);
                let (done, bar) = layers.entry(total).or_insert_with(|| (0, bars.layer(&name, total)));
                bar.add(current.saturating_sub(*done));
                *done = current.max(*done).min(total);
                let sending: Vec<Sending> =
                    layers.iter().map(|(&total, &(done, _))| Sending { total, done }).collect();
                if is_too_much(&sending) {
                    // The engine stops when nobody listens any more.
                    let left = sending.iter().map(|layer| layer.total - layer.done).sum();
                    return Ok(EnginePush::Stopped { left });
                }
            }
        }
        let sent = layers.values().map(|(done, _)| done).sum();
        Ok(EnginePush::Done { digest, sent })
    }
}

/// What the paths of an export's layers tell of their diff ids.
pub fn expected_paths(diff_ids: &[String]) -> HashMap<String, String> {
    let named = diff_ids
        .iter()
        .map(|diff_id| (format!("blobs/sha256/{}", diff_id.trim_start_matches("sha256:")), diff_id.clone()));
    let folders = legacy_ids::folders(diff_ids)
        .into_iter()
        .map(|(folder, diff_id)| (format!("{folder}/layer.tar"), diff_id));
    named.chain(folders).collect()
}

fn login(credentials: &Credentials, registry: Option<&str>) -> DockerCredentials {
    let secret = Some(credentials.password.expose().to_owned());
    let serveraddress = registry.map(ToOwned::to_owned);
    if credentials.is_identity_token {
        return DockerCredentials { identitytoken: secret, serveraddress, ..DockerCredentials::default() };
    }
    DockerCredentials {
        username: Some(credentials.username.clone()),
        password: secret,
        serveraddress,
        ..DockerCredentials::default()
    }
}

/// The `TAG: digest: sha256:… size: N` that ends a push.
fn digest_line(status: &str, tag: &str) -> Option<String> {
    let rest = status.strip_prefix(tag)?.strip_prefix(": digest: ")?;
    rest.split_whitespace().next().filter(|digest| digest.starts_with("sha256:")).map(ToOwned::to_owned)
}

fn no_engine(error: &EngineError) -> PushError {
    PushError::NoEngine(with_causes(error))
}

fn engine_error(reference: &str, message: &str) -> PushError {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&["does not exist locally", "tag does not exist"]) {
        return PushError::NoImage(reference.to_owned());
    }
    // Only words that no digest and no name of a repository has.
    let transient = !is_unauthorized(&lower)
        && says(&[
            "toomanyrequests",
            "429 too many",
            "timeout",
            "connection refused",
            "connection reset",
            ": eof",
            "unexpected eof",
            "500 internal",
            "502 bad",
            "503 service",
            "504 gateway",
            "unavailable",
            "unknown: ",
            "broken pipe",
        ]);
    PushError::Engine { reference: reference.to_owned(), message: message.to_owned(), transient }
}

/// Whether an engine's message says that the registry wants other credentials.
pub fn is_unauthorized(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["unauthorized", "denied", "authentication required", "no basic auth"]
        .iter()
        .any(|word| lower.contains(word))
}

/// The engine decodes `X-Registry-Auth` with the URL-safe alphabet and drops what it can't read, while
/// bollard 0.21 encodes with the standard one: some passwords would not arrive.
fn url_safe_authorization(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    for value in request
        .headers_mut()
        .iter_mut()
        .filter(|(name, _)| *name == "x-registry-auth")
        .map(|(_, value)| value)
    {
        let safe: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|&c| match c {
                b'+' => b'-',
                b'/' => b'_',
                c => c,
            })
            .collect();
        if let Ok(safe) = safe.as_slice().try_into() {
            *value = safe;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_tags_digest_counts() {
        assert_eq!(digest_line("v1: digest: sha256:ab size: 5", "v1").as_deref(), Some("sha256:ab"));
        assert_eq!(digest_line("v10: digest: sha256:ab size: 5", "v1"), None);
        assert_eq!(digest_line("Pushed", "v1"), None);
    }
}
