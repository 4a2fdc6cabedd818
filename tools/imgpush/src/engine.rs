//! The container engine that holds the image.

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::PushImageOptionsBuilder;
use futures_util::StreamExt as _;
use image_reference::ImageReference;
use step::Console;

use crate::credentials::Credentials;
use crate::error::PushError;

/// A connection to the engine.
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// Connects as the docker client does: `DOCKER_HOST`, with TLS where `DOCKER_TLS_VERIFY` asks for it.
    pub fn connect() -> Result<Self, PushError> {
        let docker =
            Docker::connect_with_defaults().map_err(|error| PushError::NoEngine(error.to_string()))?;
        Ok(Self { docker: docker.with_request_modifier(url_safe_authorization) })
    }

    /// The image's id: the digest of its configuration, or of its manifest in the containerd store.
    pub async fn image_id(&self, reference: &str) -> Result<String, PushError> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => image.id.ok_or_else(|| PushError::NoImage(reference.to_owned())),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Err(PushError::NoImage(reference.to_owned()))
            }
            Err(error) => Err(PushError::NoEngine(error.to_string())),
        }
    }

    /// Lets the engine push; returns the digest that it tells.
    pub async fn push(
        &self,
        image: &ImageReference,
        tag: &str,
        credentials: Option<&Credentials>,
        console: &Console,
    ) -> Result<Option<String>, PushError> {
        let reference = format!("{}:{tag}", image.repository());
        // Without a tag the engine would push every tag of the repository.
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let login = credentials.map(|credentials| DockerCredentials {
            username: Some(credentials.username.clone()),
            password: Some(credentials.password.expose().to_owned()),
            serveraddress: image.registry().map(ToOwned::to_owned),
            ..DockerCredentials::default()
        });
        let mut progress = Box::pin(self.docker.push_image(&image.repository(), Some(options), login));
        let mut digest = None;
        // An error may come after any number of good lines, so the stream is read to its end.
        while let Some(line) = progress.next().await {
            let line = line.map_err(|error| engine_error(&reference, &error.to_string()))?;
            if let Some(error) = line.error_detail.and_then(|detail| detail.message) {
                return Err(engine_error(&reference, &error));
            }
            let Some(status) = line.status else { continue };
            console.debug(&status);
            if let Some(told) = digest_line(&status, tag) {
                digest = Some(told);
            }
        }
        Ok(digest)
    }
}

/// The `TAG: digest: sha256:… size: N` that ends a push.
fn digest_line(status: &str, tag: &str) -> Option<String> {
    let rest = status.strip_prefix(tag)?.strip_prefix(": digest: ")?;
    rest.split_whitespace().next().filter(|digest| digest.starts_with("sha256:")).map(ToOwned::to_owned)
}

fn engine_error(reference: &str, message: &str) -> PushError {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&["does not exist locally", "tag does not exist"]) {
        return PushError::NoImage(reference.to_owned());
    }
    let transient =
        says(&["toomanyrequests", "429", "timeout", "refused", "reset", "eof", "502", "503", "unavailable"]);
    PushError::Engine { reference: reference.to_owned(), message: message.to_owned(), transient }
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
