//! Lists of objects, page by page, and the changes to them as they happen.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use http::header::ACCEPT;
use http::{Method, Request};
use kube::core::WatchEvent;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::exchange::{Ask, answer, explain, in_time, parse};
use super::pace::Attempts;
use super::{Cluster, JSON, METADATA, escape, with_kind};
use crate::error::SyncError;

/// How long the server keeps a watch open, in seconds; one that is silent for longer is dead.
const WATCH_SECONDS: u64 = 290;
/// When a watch that did not end is given up.
const WATCH_LIMIT: Duration = Duration::from_secs(WATCH_SECONDS + 10);

/// How many objects a page of a list has.
const PAGE: u32 = 250;
/// How many of them are read before requests get a turn.
const AT_A_TIME: usize = 16;
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A page of a list whose items are not read yet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    kind: String,
    api_version: String,
    metadata: PageMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

/// What of a list's objects is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// All of them.
    Whole,
    /// Metadata alone, which say neither apiVersion nor kind: these are put in.
    Metadata {
        /// The apiVersion.
        version: String,
        /// The kind.
        kind: String,
    },
}

/// The objects of a list, and the version of the cluster's state that they are of.
#[derive(Debug, Default)]
pub struct Listed {
    /// The objects.
    pub items: Vec<Value>,
    /// Where a watch goes on.
    pub version: String,
}

impl Cluster {
    /// All objects of a list, page by page.
    pub async fn list(&self, path: &str, labels: &str) -> Result<Listed, SyncError> {
        let mut items = Vec::new();
        let version = self.pages(path, labels, JSON, |object| items.push(object)).await?;
        Ok(Listed { items, version })
    }

    /// Tells of all objects of a list without their content, one by one, so that never more than two pages are held.
    pub async fn list_metadata(
        &self,
        path: &str,
        labels: &str,
        kind: (&str, &str),
        mut tell: impl FnMut(Value),
    ) -> Result<(), SyncError> {
        self.pages(path, labels, METADATA_LIST, |object| tell(with_kind(object, kind))).await.map(drop)
    }

    /// Tells of all objects of a list, one by one; returns the version of the cluster's state that they are of.
    pub async fn each(
        &self,
        path: &str,
        labels: &str,
        shape: &Shape,
        mut tell: impl FnMut(Value),
    ) -> Result<String, SyncError> {
        match shape {
            Shape::Whole => self.pages(path, labels, JSON, tell).await,
            Shape::Metadata { version, kind } => {
                self.pages(path, labels, METADATA_LIST, |object| tell(with_kind(object, (version, kind))))
                    .await
            }
        }
    }

    async fn pages(
        &self,
        path: &str,
        labels: &str,
        accept: &'static str,
        mut tell: impl FnMut(Value),
    ) -> Result<String, SyncError> {
        let mut text = self.page(path, labels, accept, "").await?;
        loop {
            let page: Page<'_> = parse(path, &text)?;
            let kind = page.kind.strip_suffix("List").unwrap_or(&page.kind);
            let PageMetadata { resource_version, next } = page.metadata;
            let coming = async {
                if next.is_empty() {
                    return Ok(None);
                }
                self.page(path, labels, accept, &next).await.map(Some)
            };
            let reading = async {
                for (number, item) in page.items.into_iter().flatten().enumerate() {
                    // Items of a list carry neither.
                    tell(with_kind(parse(path, item.get())?, (&page.api_version, kind)));
                    // The server is asked for the next page meanwhile.
                    if number % AT_A_TIME == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            };
            match tokio::try_join!(coming, reading)? {
                (Some(following), ()) => text = following,
                (None, ()) => return Ok(resource_version),
            }
        }
    }

    async fn page(
        &self,
        path: &str,
        labels: &str,
        accept: &'static str,
        next: &str,
    ) -> Result<String, SyncError> {
        let uri = format!("{path}?limit={PAGE}&labelSelector={}&continue={next}", escape(labels));
        self.send(Ask { method: Method::GET, uri: &uri, body: None, accept, what: path }).await
    }

    /// The changes to a list since a version of it, as they happen.
    pub async fn watch(
        &self,
        path: &str,
        labels: &str,
        version: &str,
        shape: &Shape,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, SyncError>> + use<>, SyncError> {
        let uri = format!(
            "{path}?watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}&labelSelector={}\
             &allowWatchBookmarks=true",
            escape(labels)
        );
        let (accept, named) = match shape {
            Shape::Whole => (JSON, None),
            Shape::Metadata { version, kind } => (METADATA, Some((version.clone(), kind.clone()))),
        };
        let request = Request::get(uri).header(ACCEPT, accept).body(Vec::new());
        let request = request.map_err(|error| answer(path, &error))?;
        let what = path.to_owned();
        let mut attempts = Attempts::new();
        let events = loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let begun = in_time(self.client.request_events::<Value>(request.clone())).await;
            match begun.and_then(|begun| begun.map_err(|error| explain(&what, error))) {
                Ok(events) => break events,
                Err(error) => attempts.again(error, None).await?,
            }
        };
        let end = tokio::time::sleep(WATCH_LIMIT);
        let complete = move |object: Value| match &named {
            Some((version, kind)) => with_kind(object, (version, kind)),
            None => object,
        };
        Ok(events.take_until(end).map(move |event| match event {
            Ok(WatchEvent::Added(object)) => Ok(WatchEvent::Added(complete(object))),
            Ok(WatchEvent::Modified(object)) => Ok(WatchEvent::Modified(complete(object))),
            Ok(WatchEvent::Deleted(object)) => Ok(WatchEvent::Deleted(complete(object))),
            Ok(other) => Ok(other),
            Err(error) => Err(explain(&what, error)),
        }))
    }
}
