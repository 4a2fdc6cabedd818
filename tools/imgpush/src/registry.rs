//! A registry, spoken to as the OCI distribution specification says: reads only; the engine pushes.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use step::{Console, Secret};

use crate::credentials::Credentials;
use crate::error::PushError;

/// What may stand under a tag.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// How often a request is made before its failure counts.
const TRIES: u32 = 5;

/// A manifest that the registry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of its bytes, computed here.
    pub digest: String,
    /// The digest of the image's configuration, which is the image's id in docker's classic store.
    pub config: Option<String>,
}

/// One repository of a registry.
pub struct Repository {
    client: reqwest::Client,
    console: Console,
    registry: String,
    path: String,
    base: String,
    credentials: Option<Credentials>,
    authorization: Option<Secret>,
}

#[derive(Deserialize)]
struct ManifestBody {
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Repository {
    /// A repository, not asked yet.
    pub fn new(
        client: reqwest::Client,
        console: Console,
        registry: &str,
        path: &str,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Self {
        // docker.io is a name for people; the registry itself answers elsewhere.
        let (host, path) = if registry == image_reference::DEFAULT_REGISTRY {
            let path = if path.contains('/') { path.to_owned() } else { format!("library/{path}") };
            ("registry-1.docker.io", path)
        } else {
            (registry, path.to_owned())
        };
        let scheme = if plain_http { "http" } else { "https" };
        Self {
            client,
            console,
            registry: registry.to_owned(),
            base: format!("{scheme}://{host}"),
            path,
            credentials,
            authorization: None,
        }
    }

    /// The credentials that are used, for the engine to use too.
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// What stands under a tag or a digest, if anything does.
    pub async fn manifest(&mut self, name: &str) -> Result<Option<Manifest>, PushError> {
        let response = self.request(Method::GET, &format!("/v2/{}/manifests/{name}", self.path)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
                let digest = format!("sha256:{:x}", Sha256::digest(&body));
                let parsed = serde_json::from_slice::<ManifestBody>(&body).ok();
                Ok(Some(Manifest {
                    digest,
                    config: parsed.and_then(|body| body.config).map(|config| config.digest),
                }))
            }
            status => Err(self.refused(status, response).await),
        }
    }

    /// Makes a request, logs in where that is asked for, and tries again where that may help.
    async fn request(&mut self, method: Method, path: &str) -> Result<Response, PushError> {
        let mut asked = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request =
                self.client.request(method.clone(), format!("{}{path}", self.base)).header(ACCEPT, MANIFESTS);
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.expose());
            }
            self.console.debug(format!("{method} {}{path}", self.base));
            let waiting = match request.send().await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !asked => {
                    asked = true;
                    self.log_in(response.headers()).await?;
                    continue;
                }
                Ok(response) if !may_pass(response.status()) || tries == TRIES => return Ok(response),
                Ok(response) => {
                    self.console.warn(format!(
                        "{} answers {}: trying again",
                        self.registry,
                        response.status()
                    ));
                    retry_after(response.headers())
                }
                Err(error)
                    if tries == TRIES
                        || !(error.is_connect() || error.is_timeout() || error.is_request()) =>
                {
                    return Err(self.unreachable(&error));
                }
                Err(error) if chain(&error).contains("certificate") => return Err(self.unreachable(&error)),
                Err(error) => {
                    self.console.detail(format!("{}: {}: trying again", self.registry, chain(&error)));
                    None
                }
            };
            let backoff = Duration::from_millis(200 * 2_u64.pow(tries - 1));
            tokio::time::sleep(waiting.unwrap_or(backoff).min(Duration::from_mins(1))).await;
        }
    }

    /// Answers the registry's challenge: Basic, or a token from the realm that it names.
    async fn log_in(&mut self, headers: &HeaderMap) -> Result<(), PushError> {
        let challenge =
            headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let basic = self.credentials.as_ref().map(|credentials| {
            use base64::Engine as _;
            let pair = format!("{}:{}", credentials.username, credentials.password.expose());
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        });
        let Some(parameters) = challenge.strip_prefix("Bearer ") else {
            let Some(basic) = basic else { return Err(self.unauthorized()) };
            self.authorization = Some(Secret::new(basic));
            return Ok(());
        };
        let parameter = |name: &str| {
            let start = parameters.find(&format!("{name}=\""))? + name.len() + 2;
            parameters[start..].split_once('"').map(|(value, _)| value)
        };
        let realm = parameter("realm").ok_or_else(|| self.unauthorized())?;
        let mut url = reqwest::Url::parse(realm).map_err(|_| self.unauthorized())?;
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull,push", self.path));
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.unauthorized());
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let answer = serde_json::from_slice::<TokenAnswer>(&body).ok();
        let token = answer
            .and_then(|answer| answer.token.or(answer.access_token))
            .ok_or_else(|| self.unauthorized())?;
        self.authorization = Some(Secret::new(format!("Bearer {token}")));
        Ok(())
    }

    async fn refused(&self, status: StatusCode, response: Response) -> PushError {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(),
            status if may_pass(status) => PushError::Unreachable {
                registry: self.registry.clone(),
                message: format!("answers {status}"),
            },
            status => {
                let body = response.text().await.unwrap_or_default();
                let words: String = body.chars().filter(|c| !c.is_control()).take(300).collect();
                PushError::Refused {
                    registry: self.registry.clone(),
                    repository: self.path.clone(),
                    message: format!("{status}: {words}"),
                }
            }
        }
    }

    /// The error for credentials that were refused, or were not there.
    pub fn unauthorized(&self) -> PushError {
        let tried = self.credentials.as_ref().map_or_else(
            || "a request without credentials".to_owned(),
            |credentials| format!("the user {} (from {})", credentials.username, credentials.source),
        );
        PushError::Unauthorized { registry: self.registry.clone(), repository: self.path.clone(), tried }
    }

    fn unreachable(&self, error: &reqwest::Error) -> PushError {
        PushError::Unreachable { registry: self.registry.clone(), message: chain(error) }
    }
}

/// 408, 429 and 5xx may be gone at the next try.
fn may_pass(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The causes of an error, innermost last; reqwest's own message stops at the first.
fn chain(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    step::without_credentials(&text)
}
