//! A registry, spoken to as the OCI distribution specification says.

mod blob;
mod login;
mod manifest;
mod retry;
mod tls;
mod upload;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use step::{Console, Secret};

use crate::credentials::Credentials;
use crate::error::PushError;
use login::{Authorization, Challenge, TokenAnswer};

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

/// What the registry wants of us, and what we have for it.
#[derive(Default)]
struct Access {
    challenge: Option<Challenge>,
    authorization: Option<Authorization>,
    /// Other repositories of the registry that blobs are mounted from.
    sources: Vec<String>,
}

/// One request that can be made again.
struct Ask<'a> {
    method: Method,
    url: Url,
    accept: Option<&'a str>,
    content: Option<(&'a str, bytes::Bytes)>,
}

impl<'a> Ask<'a> {
    const fn new(method: Method, url: Url) -> Self {
        Self { method, url, accept: None, content: None }
    }

    const fn accept(mut self, types: &'a str) -> Self {
        self.accept = Some(types);
        self
    }

    fn content(mut self, media_type: &'a str, content: bytes::Bytes) -> Self {
        self.content = Some((media_type, content));
        self
    }
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

    /// Asks for the right to read another repository too, to mount blobs from there.
    pub fn mount_from(&self, path: &str) {
        let mut access = lock(&self.access);
        if path != self.path && !access.sources.iter().any(|source| source == path) {
            access.sources.push(path.to_owned());
            access.authorization = None;
        }
    }

    /// Asks for it no more: a token server may refuse all of a request for a part of it.
    pub fn mount_no_more_from(&self, path: &str) {
        let mut access = lock(&self.access);
        access.sources.retain(|source| source != path);
        access.authorization = None;
    }

    /// How large a chunk must be, as some registries say when an upload begins (OCI distribution specification,
    /// "Pushing a blob in chunks").
    fn learn_least_chunk(&self, headers: &HeaderMap) {
        let least = headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        self.least_chunk.store(least.unwrap_or(0), Ordering::Relaxed);
    }

    fn url(&self, of: &str, rest: &str) -> Result<Url, PushError> {
        lock(&self.base)
            .join(&format!("/v2/{of}/{rest}"))
            .map_err(|cause| PushError::unreachable(&self.registry, cause.to_string()))
    }

    /// Where an answer says to go on, seen from where it was asked.
    fn location(&self, from: &Url, headers: &HeaderMap) -> Result<Url, PushError> {
        headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| from.join(location).ok())
            .map(|location| as_safe_as(from, location))
            .ok_or_else(|| self.protocol("an answer without a Location"))
    }

    /// Makes a request, logs in where that is asked for, and tries again where that may help. What comes
    /// back is any answer that stays.
    async fn request(&self, ask: Ask<'_>) -> Result<Response, PushError> {
        let mut url = ask.url.clone();
        let (mut logins, mut redirects, mut tries) = (0, 0, 0);
        loop {
            let mut request = self.client.request(ask.method.clone(), url.clone());
            if let Some(accept) = ask.accept {
                request = request.header(ACCEPT, accept);
            }
            match &ask.content {
                Some((media_type, content)) => {
                    request = request.header(CONTENT_TYPE, *media_type).body(content.clone());
                }
                // Some registries want the length of an empty body said.
                None if matches!(ask.method, Method::POST | Method::PUT | Method::PATCH) => {
                    request = request.header(CONTENT_LENGTH, 0);
                }
                None => {}
            }
            if let Some(header) = self.authorization(&url).await? {
                request = request.header(AUTHORIZATION, header.expose());
            }
            self.console.debug(format!("{} {}", ask.method, step::without_credentials(url.as_str())));
            let answer = tokio::time::timeout(self.reach.timeout, request.send()).await;
            let (reason, asked) = match answer {
                Ok(Ok(answer)) if answer.status() == StatusCode::UNAUTHORIZED && logins < 2 => {
                    logins += 1;
                    self.challenged(answer.headers())?;
                    continue;
                }
                Ok(Ok(answer)) if is_redirect(answer.status()) && redirects < 5 => {
                    redirects += 1;
                    url = self.location(&url, answer.headers())?;
                    continue;
                }
                Ok(Ok(answer)) if !retry::may_pass(answer.status()) => return Ok(answer),
                Ok(Ok(answer)) => {
                    (format!("answers {}", answer.status()), retry::retry_after(answer.headers()))
                }
                Ok(Err(error)) => {
                    if self.speaks_plainly(&url, &error) {
                        url = self.downgrade(&url);
                        continue;
                    }
                    let reason = chain(&error);
                    let error = PushError::unreachable(&self.registry, &reason);
                    if error.is_about_certificates() {
                        return Err(error);
                    }
                    (reason, None)
                }
                Err(_) => (format!("says nothing for {} s", self.reach.timeout.as_secs()), None),
            };
            tries += 1;
            if tries >= TRIES {
                return Err(PushError::unreachable(&self.registry, reason));
            }
            self.wait(tries, asked, &reason).await;
        }
    }

    /// Waits before a request is made again, and says why.
    async fn wait(&self, tries: u32, asked: Option<Duration>, reason: &str) {
        let pause = retry::pause(tries, asked);
        self.console.detail(format!(
            "{}: {reason}; trying again in {:.1} s",
            self.registry,
            pause.as_secs_f64()
        ));
        tokio::time::sleep(pause).await;
    }

    /// The whole body of an answer; `None` where the connection broke under it.
    async fn body(&self, answer: Response) -> Option<bytes::Bytes> {
        tokio::time::timeout(self.reach.timeout, answer.bytes()).await.ok()?.ok()
    }

    /// What to send as `Authorization` there: nothing to another host, as after a redirect to a storage service.
    async fn authorization(&self, url: &Url) -> Result<Option<Secret>, PushError> {
        if url.origin() != lock(&self.base).origin() {
            return Ok(None);
        }
        let (challenge, current) = {
            let access = lock(&self.access);
            (access.challenge.clone(), access.authorization.clone())
        };
        if let Some(current) = current.filter(|current| !current.is_old()) {
            return Ok(Some(current.header));
        }
        let fresh = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                Authorization::basic(self.credentials.as_ref().ok_or_else(|| self.unauthorized(""))?)
            }
            Some(Challenge::Bearer { realm, service }) => self.token(realm, service.as_deref()).await?,
        };
        let header = fresh.header.clone();
        lock(&self.access).authorization = Some(fresh);
        Ok(Some(header))
    }

    /// Remembers what the registry asks for; an old token is forgotten.
    fn challenged(&self, headers: &HeaderMap) -> Result<(), PushError> {
        let mut access = lock(&self.access);
        let challenge = Challenge::from_headers(headers).ok_or_else(|| self.unauthorized(""))?;
        // A password that was refused once is refused again.
        if challenge == Challenge::Basic && access.authorization.is_some() {
            return Err(self.unauthorized(""));
        }
        *access = Access {
            challenge: Some(challenge),
            authorization: None,
            sources: std::mem::take(&mut access.sources),
        };
        Ok(())
    }

    /// A token for this repository, and for those that blobs are mounted from.
    async fn token(&self, realm: Url, service: Option<&str>) -> Result<Authorization, PushError> {
        let mut scopes = vec![format!("repository:{}:pull,push", self.path)];
        scopes.extend(lock(&self.access).sources.iter().map(|path| format!("repository:{path}:pull")));
        let mut tries = 0;
        loop {
            let from = step::without_credentials(realm.as_str());
            self.console.debug(format!("a token for {} from {from}", scopes.join(" ")));
            let request = match &self.credentials {
                Some(credentials) if credentials.is_identity_token => {
                    let scope = scopes.join(" ");
                    let mut form = vec![
                        ("grant_type", "refresh_token"),
                        ("client_id", "imgpush"),
                        ("scope", &scope),
                        ("refresh_token", credentials.password.expose()),
                    ];
                    form.extend(service.map(|service| ("service", service)));
                    let body = Url::parse_with_params("form:", form)
                        .map(|url| url.query().unwrap_or_default().to_owned());
                    let body = body.map_err(|_| self.protocol("a token realm that is no URL"))?;
                    self.client
                        .post(realm.clone())
                        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                        .body(body)
                }
                credentials => {
                    let mut url = realm.clone();
                    url.query_pairs_mut()
                        .extend_pairs(scopes.iter().map(|scope| ("scope", scope)))
                        .extend_pairs(service.map(|service| ("service", service)));
                    let request = self.client.get(url);
                    match credentials {
                        Some(known) => {
                            request.header(AUTHORIZATION, Authorization::basic(known).header.expose())
                        }
                        None => request,
                    }
                }
            };
            let answer = tokio::time::timeout(self.reach.timeout, request.send()).await;
            let (reason, asked) = match answer {
                Ok(Ok(answer)) if answer.status().is_success() => match self.body(answer).await {
                    Some(body) => {
                        let answer = serde_json::from_slice::<TokenAnswer>(&body).ok();
                        return answer
                            .and_then(Authorization::token)
                            .ok_or_else(|| self.unauthorized("the token server answers without a token"));
                    }
                    None => ("the token server breaks off".to_owned(), None),
                },
                Ok(Ok(answer)) if retry::may_pass(answer.status()) => (
                    format!("the token server answers {}", answer.status()),
                    retry::retry_after(answer.headers()),
                ),
                Ok(Ok(answer)) => {
                    let said = format!("the token server answers {}", answer.status());
                    return Err(self.unauthorized(&said));
                }
                Ok(Err(error)) => {
                    let reason = chain(&error);
                    let error = PushError::unreachable(&self.registry, &reason);
                    if error.is_about_certificates() {
                        return Err(error);
                    }
                    (reason, None)
                }
                Err(_) => ("the token server says nothing".to_owned(), None),
            };
            tries += 1;
            if tries >= TRIES {
                return Err(PushError::unreachable(&self.registry, reason));
            }
            self.wait(tries, asked, &reason).await;
        }
    }

    /// Whether a registry on this machine does not speak TLS, which docker allows there and nowhere else.
    fn speaks_plainly(&self, url: &Url, error: &reqwest::Error) -> bool {
        url.scheme() == "https"
            && is_loopback(&self.registry)
            && error.is_connect()
            && chain(error).contains("InvalidContentType")
    }

    fn downgrade(&self, url: &Url) -> Url {
        self.console.detail(format!("{} on this machine speaks HTTP without TLS", self.registry));
        let plain = |url: &Url| {
            let text = url.as_str().replacen("https://", "http://", 1);
            Url::parse(&text).unwrap_or_else(|_| url.clone())
        };
        let mut base = lock(&self.base);
        *base = plain(&base);
        plain(url)
    }

    /// The error that an answer stands for.
    async fn refused(&self, doing: &str, answer: Response) -> PushError {
        let status = answer.status();
        let said = self.body(answer).await.map(|body| words(&body)).unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(&said),
            status if retry::may_pass(status) => {
                PushError::unreachable(&self.registry, format!("answers {status}"))
            }
            status => PushError::Refused {
                registry: self.registry.clone(),
                repository: self.path.clone(),
                message: format!("{doing}: {status} {said}").trim_end().to_owned(),
            },
        }
    }

    /// The error for credentials that were refused, or were not there.
    pub fn unauthorized(&self, said: &str) -> PushError {
        let tried = self.credentials.as_ref().map_or_else(
            || "a request without credentials".to_owned(),
            |credentials| {
                let user =
                    if credentials.is_identity_token { "an identity token" } else { &credentials.username };
                format!("the user {user} (from {})", credentials.source)
            },
        );
        PushError::Unauthorized {
            registry: self.registry.clone(),
            repository: self.path.clone(),
            tried,
            said: if said.is_empty() { String::new() } else { format!(": {said}") },
        }
    }

    fn protocol(&self, what: &str) -> PushError {
        PushError::Refused {
            registry: self.registry.clone(),
            repository: self.path.clone(),
            message: format!("the registry gave {what}"),
        }
    }
}

/// A registry that does not know that something in front of it speaks TLS sends clients to plain HTTP of the same host.
fn as_safe_as(from: &Url, mut location: Url) -> Url {
    let is_same = location.host() == from.host() && location.port() == from.port();
    if is_same && from.scheme() == "https" && location.scheme() == "http" {
        // Between these two it can't fail.
        let _ = location.set_scheme("https");
    }
    location
}

/// A lock that a panicking thread held is as good as any: its data are replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The message of a registry's error document, or the start of what it said instead, on one line.
fn words(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|document| {
        let error = document.get("errors")?.get(0)?;
        let text = |key| error.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        Some(format!("{} {}", text("code"), text("message")))
    });
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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

/// A body that is sent as it comes.
fn streamed(pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>) -> Body {
    let stream = futures_util::stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), pieces))
    });
    Body::wrap_stream(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_behind_tls_does_not_send_us_to_plain_http() {
        let to = |from: &str, to: &str| {
            as_safe_as(&Url::parse(from).unwrap(), Url::parse(to).unwrap()).to_string()
        };
        assert_eq!(to("https://a.test/v2/", "http://a.test/v2/x?y=z"), "https://a.test/v2/x?y=z");
        assert_eq!(to("https://a.test:5000/v2/", "http://a.test:5000/x"), "https://a.test:5000/x");
        for other in ["http://b.test/x", "http://a.test:8080/x", "https://b.test/x"] {
            assert_eq!(to("https://a.test/v2/", other), other);
        }
        assert_eq!(to("http://a.test/v2/", "http://a.test/x"), "http://a.test/x");
    }
}
