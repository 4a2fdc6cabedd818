//! The cluster: how it is reached, and the few requests that a sync is made of.

mod connection;
mod resource;

pub use connection::{Destination, connect};
pub use resource::{Resource, Resources};

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use http::{Method, Request};
use kube::core::WatchEvent;
use serde_json::{Value, json};

use crate::error::SyncError;
use crate::manifest::Identity;

/// The longest that a request may take, the client's own retries included: a connection that was cut says nothing.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);
/// How long the server keeps a watch open, in seconds; one that is silent for longer is dead.
const WATCH_SECONDS: u64 = 290;
/// When a watch that did not end is given up.
const WATCH_LIMIT: Duration = Duration::from_secs(WATCH_SECONDS + 10);

/// A connection to a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
}

/// The objects of a list, and the version of the cluster's state that they are of.
#[derive(Debug, Default)]
pub struct Listed {
    /// The objects.
    pub items: Vec<Value>,
    /// Where a watch goes on.
    pub version: String,
}

/// What becomes of fields that another manager owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// The request fails and names them.
    Fail,
    /// They become ours.
    Force,
}

/// A server-side apply.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    /// Who applies.
    pub manager: &'a str,
    /// What becomes of others' fields.
    pub conflicts: Conflicts,
    /// Whether the server only says what it would do.
    pub dry_run: bool,
}

impl Cluster {
    /// Wraps a client.
    pub const fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// Reads a path of the API; none where there is nothing (404).
    pub async fn get(&self, path: &str) -> Result<Option<Value>, SyncError> {
        match self.send(Method::GET, path, None, path).await {
            Err(SyncError::Refused { code: 404, .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// All objects of a list, page by page.
    pub async fn list(&self, path: &str, labels: &str) -> Result<Listed, SyncError> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let page = self
                .send(
                    Method::GET,
                    &format!("{path}?limit=500&labelSelector={}&continue={next}", escape(labels)),
                    None,
                    path,
                )
                .await?;
            let (kind, version) = (page["kind"].as_str().unwrap_or_default(), page["apiVersion"].clone());
            let kind = kind.strip_suffix("List").unwrap_or(kind).to_owned();
            for item in page["items"].as_array().into_iter().flatten() {
                let mut item = item.clone();
                // Items of a list carry neither.
                item["kind"] = Value::from(kind.clone());
                item["apiVersion"] = version.clone();
                items.push(item);
            }
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut next);
            if next.is_empty() {
                let version = page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                return Ok(Listed { items, version });
            }
        }
    }

    /// Applies an object on the server; returns it as it is then.
    pub async fn apply(&self, path: &str, object: &Value, how: Apply<'_>) -> Result<Value, SyncError> {
        let force = how.conflicts == Conflicts::Force;
        let dry_run = if how.dry_run { "&dryRun=All" } else { "" };
        let query = format!(
            "{path}?fieldManager={}&force={force}&fieldValidation=Strict{dry_run}",
            escape(how.manager)
        );
        self.send(Method::PATCH, &query, Some(object), &Identity::of(object).to_string()).await
    }

    /// Deletes exactly this object: not one that has changed since, nor one that took its name.
    pub async fn delete(&self, path: &str, object: &Value) -> Result<(), SyncError> {
        let metadata = &object["metadata"];
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": { "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] },
        });
        match self.send(Method::DELETE, path, Some(&options), &Identity::of(object).to_string()).await {
            Ok(_) | Err(SyncError::Refused { code: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The changes to a list since a version of it, as they happen.
    pub async fn watch(
        &self,
        path: &str,
        labels: &str,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, SyncError>> + use<>, SyncError> {
        let uri = format!(
            "{path}?watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}&labelSelector={}",
            escape(labels)
        );
        let request = Request::get(uri).body(Vec::new()).map_err(|error| answer(path, &error))?;
        let what = path.to_owned();
        let events = in_time(self.client.request_events::<Value>(request))
            .await?
            .map_err(|error| explain(&what, error))?;
        let end = tokio::time::sleep(WATCH_LIMIT);
        Ok(events.take_until(end).map(move |event| event.map_err(|error| explain(&what, error))))
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Value, SyncError> {
        let content_type =
            if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
        let bytes = body.map(ToString::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", content_type)
            .header("accept", "application/json")
            .body(bytes)
            .map_err(|error| answer(what, &error))?;
        in_time(self.client.request::<Value>(request)).await?.map_err(|error| explain(what, error))
    }
}

async fn in_time<T>(request: impl Future<Output = T>) -> Result<T, SyncError> {
    tokio::time::timeout(REQUEST_LIMIT, request)
        .await
        .map_err(|_| SyncError::Unreachable(format!("no answer within {} s", REQUEST_LIMIT.as_secs())))
}

fn answer(what: &str, error: &dyn std::fmt::Display) -> SyncError {
    SyncError::Answer { what: what.to_owned(), message: error.to_string() }
}

fn explain(what: &str, error: kube::Error) -> SyncError {
    match error {
        kube::Error::Api(status) => {
            // The API server has 500 for an object that does not fit its schema; no retry mends that.
            let misfit = status.message.contains("failed to create typed patch object");
            let code = if misfit { 422 } else { status.code };
            SyncError::Refused { what: what.to_owned(), message: status.message.clone(), code }
        }
        kube::Error::SerdeError(error) => answer(what, &error),
        error => SyncError::Unreachable(causes(&error)),
    }
}

/// An error and its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

/// A query parameter's value; labels and manager names need no more than this.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|c| {
            if c.is_ascii_alphanumeric() || b"-._~".contains(&c) {
                char::from(c).to_string()
            } else {
                format!("%{c:02X}")
            }
        })
        .collect()
}
