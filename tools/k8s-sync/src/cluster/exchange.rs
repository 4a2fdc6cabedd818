//! One request and its answer, and the same again where that may help.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::{Method, Request, Version};
use kube::client::Body;
use serde::Deserialize;
use step::with_causes;

use super::headers::{retry_after, warning};
use super::pace::Attempts;
use super::{Cluster, connection, refusal};
use crate::error::SyncError;

/// The longest that a request may take, the client's own retries included: a connection that was cut says nothing.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

/// A request of ours.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) uri: &'a str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) accept: &'static str,
    /// What it is about, for messages.
    pub(super) what: &'a str,
}

impl Cluster {
    /// Sends a request; again where that may help, which all requests of ours bear.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Result<String, SyncError> {
        let mut attempts = Attempts::new();
        let bytes = ask.body.as_ref().map_or(0, |(_, body)| body.len());
        loop {
            let turn = self.pace.turn(bytes).await;
            let (error, asked_for) = match self.attempt(&ask).await {
                Ok((text, version)) => {
                    self.pace.served(version);
                    return Ok(text);
                }
                Err(refused) => refused,
            };
            if matches!(error, SyncError::Refused { code: 429 | 503, .. }) {
                self.pace.refused();
            }
            drop(turn);
            attempts.again(error, asked_for).await?;
        }
    }

    /// Sends a request once; with an error, what the server says of when to come back.
    async fn attempt(&self, ask: &Ask<'_>) -> Result<(String, Version), (SyncError, Option<Duration>)> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request =
            Request::builder().method(ask.method.clone()).uri(ask.uri).header(ACCEPT, ask.accept);
        if let Some((content_type, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let bytes = ask.body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let request = request.body(Body::from(bytes)).map_err(|error| (answer(ask.what, &error), None))?;
        let client = self.client.clone();
        let exchange = in_time(async move {
            let response = client.send(request).await?;
            let (status, version) = (response.status(), response.version());
            let again = retry_after(response.headers());
            let warned: Vec<String> =
                response.headers().get_all(WARNING).iter().filter_map(warning).collect();
            Ok::<_, kube::Error>((
                status,
                version,
                again,
                warned,
                response.into_body().collect_bytes().await?,
            ))
        });
        let answered = if ask.method == Method::GET {
            exchange.await
        } else {
            // It ends even if nobody waits for it any more.
            self.writes.spawn(exchange).await.map_err(|error| (answer(ask.what, &error), None))?
        };
        let answered = answered.map_err(|error| (error, None))?;
        let (status, version, again, warned, bytes) =
            answered.map_err(|error| (explain(ask.what, error), None))?;
        if !warned.is_empty() {
            self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(warned);
        }
        if status.is_client_error() || status.is_server_error() {
            return Err((refusal::read(ask.what, &refusal::status(status.as_u16(), &bytes)), again));
        }
        let text = String::from_utf8(bytes.into()).map_err(|error| (answer(ask.what, &error), None))?;
        Ok((text, version))
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, SyncError> {
    serde_json::from_str(text).map_err(|error| answer(what, &error))
}

pub(super) async fn in_time<T>(request: impl Future<Output = T>) -> Result<T, SyncError> {
    tokio::time::timeout(REQUEST_LIMIT, request)
        .await
        .map_err(|_| SyncError::Unreachable(format!("no answer within {} s", REQUEST_LIMIT.as_secs())))
}

pub(super) fn answer(what: &str, error: &dyn std::fmt::Display) -> SyncError {
    SyncError::Answer { what: what.to_owned(), message: error.to_string() }
}

pub(super) fn explain(what: &str, error: kube::Error) -> SyncError {
    match error {
        kube::Error::Api(status) => refusal::read(what, &status),
        kube::Error::SerdeError(error) => answer(what, &error),
        error => {
            let words = match &error {
                kube::Error::Service(error) => with_causes(&**error),
                error => with_causes(error),
            };
            connection::no_credentials(&error, None).unwrap_or_else(|| {
                if words.contains("invalid peer certificate") {
                    SyncError::Untrusted(words)
                } else {
                    SyncError::Unreachable(words)
                }
            })
        }
    }
}
