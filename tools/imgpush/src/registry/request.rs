//! Requests that are made again where that may help.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::Notify;
use tokio::time::error::Elapsed;

use super::{Repository, TRIES, is_loopback, lock, retry};
use crate::error::PushError;
use crate::words::shown;

/// Bytes of the largest document that is read into memory: a configuration, of which none is a tenth of that.
const LARGEST_BODY: usize = 8 << 20;

/// Bytes of a body that a slow registry takes before silence is counted anew.
const PIECE: usize = 64 << 10;

/// Bytes a second that a slow line takes.
const SLOW: u64 = 256 << 10;

/// Bytes that the system takes at once and keeps: the usual limit of Linux's `tcp_wmem`.
const SYSTEM: u64 = 4 << 20;

/// One request that can be made again.
pub(super) struct Ask<'a> {
    method: Method,
    url: Url,
    accept: Option<&'a str>,
    content: Option<(&'a str, bytes::Bytes)>,
}

impl<'a> Ask<'a> {
    pub(super) const fn new(method: Method, url: Url) -> Self {
        Self { method, url, accept: None, content: None }
    }

    pub(super) const fn accept(mut self, types: &'a str) -> Self {
        self.accept = Some(types);
        self
    }

    pub(super) fn content(mut self, media_type: &'a str, content: bytes::Bytes) -> Self {
        self.content = Some((media_type, content));
        self
    }
}

impl Repository {
    /// Makes a request, logs in where that is asked for, and tries again where that may help. What comes
    /// back is any answer that stays.
    pub(super) async fn request(&self, ask: Ask<'_>) -> Result<Response, PushError> {
        let mut url = ask.url.clone();
        let (mut logins, mut redirects, mut tries) = (0, 0, 0);
        loop {
            let mut request = self.client.request(ask.method.clone(), url.clone());
            if let Some(accept) = ask.accept {
                request = request.header(ACCEPT, accept);
            }
            let taken = Arc::new(Notify::new());
            match &ask.content {
                Some((media_type, content)) => {
                    request = request
                        .header(CONTENT_TYPE, *media_type)
                        .header(CONTENT_LENGTH, content.len())
                        .body(told(content.clone(), Arc::clone(&taken)));
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
            self.console.debug(format!("{} {}", ask.method, shown(url.as_str())));
            let size = ask.content.as_ref().map_or(0, |(_, content)| content.len());
            let (reason, asked) = match self.unless_silent(request.send(), size, &taken).await {
                Ok(Ok(answer))
                    if answer.status() == StatusCode::UNAUTHORIZED && logins < 2 && self.is_ours(&url) =>
                {
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
                    let could_not_connect = error.is_connect();
                    let reason = chain(error);
                    if could_not_connect && self.speaks_plainly(&url, &reason) {
                        url = self.downgrade(&url);
                        continue;
                    }
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

    /// Waits for an answer, as long as it takes while bytes of the request are taken.
    async fn unless_silent<T>(
        &self,
        answer: impl Future<Output = T>,
        size: usize,
        taken: &Notify,
    ) -> Result<T, Elapsed> {
        let patience = self.reach.timeout + under_way(size as u64);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = tokio::time::timeout(patience, &mut answer) => return answer,
                () = taken.notified() => {}
            }
        }
    }

    /// Waits before a request is made again, and says why.
    pub(super) async fn wait(&self, tries: u32, asked: Option<Duration>, reason: &str) {
        let pause = retry::pause(tries, asked);
        self.console.detail(format!(
            "{}: {}; trying again in {:.1} s",
            self.registry,
            shown(reason),
            pause.as_secs_f64()
        ));
        tokio::time::sleep(pause).await;
    }

    /// The whole body of an answer; `None` where the connection broke under it, or it is larger than any document.
    pub(super) async fn body(&self, mut answer: Response) -> Option<bytes::Bytes> {
        let mut body = BytesMut::new();
        while let Some(piece) = tokio::time::timeout(self.reach.timeout, answer.chunk()).await.ok()?.ok()? {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST_BODY {
                return None;
            }
        }
        Some(body.freeze())
    }

    /// Where an answer says to go on, seen from where it was asked.
    pub(super) fn location(&self, from: &Url, headers: &HeaderMap) -> Result<Url, PushError> {
        headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| from.join(location).ok())
            .map(|location| as_safe_as(from, location))
            .ok_or_else(|| self.protocol("an answer without a Location"))
    }

    /// Whether a registry on this machine does not speak TLS, which docker allows there and nowhere else.
    fn speaks_plainly(&self, url: &Url, reason: &str) -> bool {
        url.scheme() == "https" && is_loopback(&self.registry) && reason.contains("InvalidContentType")
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
}

/// How long bytes that were taken may be under way yet, of so many.
pub(super) fn under_way(size: u64) -> Duration {
    Duration::from_secs(size.min(SYSTEM) / SLOW)
}

/// A body that tells when a piece of it is taken.
fn told(content: bytes::Bytes, taken: Arc<Notify>) -> Body {
    if content.len() <= PIECE {
        return content.into();
    }
    let pieces = std::iter::successors(Some(0), |start| Some(start + PIECE))
        .take_while(|start| *start < content.len())
        .map(|start| content.slice(start..content.len().min(start + PIECE)))
        .collect::<Vec<_>>();
    Body::wrap_stream(stream::iter(pieces).map(move |piece| {
        taken.notify_one();
        Ok::<_, Infallible>(piece)
    }))
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

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The causes of an error, innermost last; reqwest's own message stops at the first, and has the whole of a URL.
pub(super) fn chain(error: reqwest::Error) -> String {
    use std::error::Error as _;
    let place = error.url().map(|url| format!(" to {}", shown(url.as_str()))).unwrap_or_default();
    let error = error.without_url();
    let mut text = format!("{error}{place}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    shown(&text)
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
