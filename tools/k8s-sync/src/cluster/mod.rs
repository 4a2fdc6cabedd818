//! The cluster: how it is reached, and the few requests that a sync is made of.

mod at_once;
mod builtin;
mod connection;
mod exchange;
mod headers;
mod lists;
mod pace;
mod refusal;
mod resource;
mod transport;

pub(crate) use at_once::at_once;
pub use connection::{Destination, connect, connect_within};
pub use lists::{Listed, Shape};
pub use refusal::Conflict;
pub use resource::{Resource, Resources};

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::error::SyncError;
use crate::manifest::Identity;
use crate::options::Propagation;
use crate::project::ClusterNames;
use exchange::{Ask, parse};
use pace::Pace;

const JSON: &str = "application/json";
/// Asks for an object without its content.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// As above; an extension's own API server may not know how.
const METADATA_IF_KNOWN: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// A connection to a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    requests: Arc<AtomicU64>,
    pace: Arc<Pace>,
    /// Writes that are under way.
    writes: TaskTracker,
    /// What the server has warned of.
    warnings: Arc<Mutex<BTreeSet<String>>>,
    names: Arc<ClusterNames>,
    /// Whether what was applied comes back whole, and not only its metadata.
    whole: bool,
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
    /// Wraps a client of a cluster that is called so.
    pub fn new(client: kube::Client, names: ClusterNames) -> Self {
        let (requests, pace, names) = (Arc::default(), Arc::default(), Arc::new(names));
        let (writes, warnings) = (TaskTracker::new(), Arc::default());
        Self { client, requests, pace, writes, warnings, names, whole: false }
    }

    /// The same, but what is applied comes back whole, so that it is seen who changes it on its way in.
    #[must_use]
    pub fn with_whole_answers(self) -> Self {
        Self { whole: true, ..self }
    }

    /// What it is called.
    pub fn names(&self) -> &ClusterNames {
        &self.names
    }

    /// How many requests have been sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the server has warned of since this was asked last, such as a version that it will not know for long.
    pub fn warnings(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the server has done what it was asked to write, also where nobody waited for that any more.
    pub(crate) async fn settle(&self) {
        self.writes.close();
        self.writes.wait().await;
        self.writes.reopen();
    }

    /// Reads a path of the API; none where there is nothing (404).
    pub async fn get(&self, path: &str) -> Result<Option<Value>, SyncError> {
        self.look(path, JSON).await
    }

    /// Reads an object's metadata; none where there is no such object. Metadata says no kind: it is put in.
    pub async fn get_metadata(&self, path: &str, kind: (&str, &str)) -> Result<Option<Value>, SyncError> {
        Ok(self.look(path, METADATA).await?.map(|object| with_kind(object, kind)))
    }

    async fn look(&self, path: &str, accept: &'static str) -> Result<Option<Value>, SyncError> {
        match self.send(Ask { method: Method::GET, uri: path, body: None, accept, what: path }).await {
            Err(SyncError::Refused { code: 404, .. }) => Ok(None),
            found => Ok(Some(parse(path, &found?)?)),
        }
    }

    /// Applies an object on the server; returns its metadata since, or of a dry run all of it.
    pub async fn apply(&self, path: &str, object: &Value, how: Apply<'_>) -> Result<Value, SyncError> {
        self.apply_with(path, object, how, "Strict").await
    }

    /// As above, an object that a dry run has shown to have no unknown field: the server need not read it twice to find
    /// one.
    pub(crate) async fn apply_tried(
        &self,
        path: &str,
        object: &Value,
        how: Apply<'_>,
    ) -> Result<Value, SyncError> {
        self.apply_with(path, object, how, "Ignore").await
    }

    async fn apply_with(
        &self,
        path: &str,
        object: &Value,
        how: Apply<'_>,
        validation: &str,
    ) -> Result<Value, SyncError> {
        let force = how.conflicts == Conflicts::Force;
        let dry_run = if how.dry_run { "&dryRun=All" } else { "" };
        let uri = format!(
            "{path}?fieldManager={}&force={force}&fieldValidation={validation}{dry_run}",
            escape(how.manager)
        );
        let body = ("application/apply-patch+yaml", object.to_string().into_bytes());
        let what = Identity::of(object).to_string();
        let accept = if how.dry_run || self.whole { JSON } else { METADATA_IF_KNOWN };
        let text = self
            .send(Ask { method: Method::PATCH, uri: &uri, body: Some(body), accept, what: &what })
            .await
            .map_err(|error| refusal::hide(error, object))?;
        parse(&what, &text)
    }

    /// Changes single values of an object, by a JSON patch (RFC 6902).
    pub async fn patch(&self, path: &str, operations: &Value, manager: &str) -> Result<Value, SyncError> {
        let uri = format!("{path}?fieldManager={}", escape(manager));
        let body = ("application/json-patch+json", operations.to_string().into_bytes());
        let text = self
            .send(Ask { method: Method::PATCH, uri: &uri, body: Some(body), accept: JSON, what: path })
            .await?;
        parse(path, &text)
    }

    /// Lets the server check a new object that is like this one, but for its name.
    pub async fn try_to_create(&self, path: &str, object: &Value, manager: &str) -> Result<Value, SyncError> {
        let mut object = object.clone();
        object["metadata"]["generateName"] = Value::from("k8s-sync-");
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("name");
        }
        let list = path.rsplit_once('/').map_or(path, |(list, _)| list);
        let uri = format!("{list}?fieldManager={}&fieldValidation=Strict&dryRun=All", escape(manager));
        self.write(Method::POST, &uri, &object).await
    }

    /// Makes the object exactly this one, whatever it was.
    pub async fn replace(&self, path: &str, object: &Value, manager: &str) -> Result<Value, SyncError> {
        let uri = format!("{path}?fieldManager={}&fieldValidation=Strict", escape(manager));
        self.write(Method::PUT, &uri, object).await
    }

    /// What the server would make of the object if it was made exactly this one.
    pub(crate) async fn try_to_replace(
        &self,
        path: &str,
        object: &Value,
        manager: &str,
    ) -> Result<Value, SyncError> {
        let uri = format!("{path}?fieldManager={}&dryRun=All", escape(manager));
        self.write(Method::PUT, &uri, object).await
    }

    async fn write(&self, method: Method, uri: &str, object: &Value) -> Result<Value, SyncError> {
        let what = Identity::of(object).to_string();
        let body = Some((JSON, object.to_string().into_bytes()));
        let sent = self.send(Ask { method, uri, body, accept: JSON, what: &what }).await;
        parse(&what, &sent.map_err(|error| refusal::hide(error, object))?)
    }

    /// Reads the end of a container's log.
    pub async fn log(
        &self,
        pod: &str,
        container: &str,
        lines: usize,
        previous: bool,
    ) -> Result<String, SyncError> {
        let uri = format!("{pod}/log?container={}&tailLines={lines}&previous={previous}", escape(container));
        self.send(Ask { method: Method::GET, uri: &uri, body: None, accept: "*/*", what: pod }).await
    }

    /// Deletes exactly this object: not one that has changed since, nor one that took its name. Returns it as it is, where
    /// it is not gone at once.
    pub async fn delete(
        &self,
        path: &str,
        object: &Value,
        propagation: Propagation,
    ) -> Result<Option<Value>, SyncError> {
        let metadata = &object["metadata"];
        let same = json!({ "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
        self.delete_if(path, object, same, propagation).await
    }

    /// Deletes this object, whatever has become of it, but not one that took its name.
    pub async fn delete_whatever(
        &self,
        path: &str,
        object: &Value,
        propagation: Propagation,
    ) -> Result<Option<Value>, SyncError> {
        let same = json!({ "uid": object["metadata"]["uid"] });
        self.delete_if(path, object, same, propagation).await
    }

    async fn delete_if(
        &self,
        path: &str,
        object: &Value,
        preconditions: Value,
        propagation: Propagation,
    ) -> Result<Option<Value>, SyncError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation.name(),
            "preconditions": preconditions,
        });
        let body = (JSON, options.to_string().into_bytes());
        let what = Identity::of(object).to_string();
        match self
            .send(Ask { method: Method::DELETE, uri: path, body: Some(body), accept: JSON, what: &what })
            .await
        {
            // The object, where it is not gone at once; else a Status.
            Ok(text) => parse(&what, &text).map(|left: Value| (left["kind"] != "Status").then_some(left)),
            Err(SyncError::Refused { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an object; a name that is taken is refused (409).
    pub async fn create(&self, list: &str, object: &Value) -> Result<Value, SyncError> {
        self.write(Method::POST, list, object).await
    }

    /// Replaces an object, unless it has changed since the version that `object` names (409).
    pub async fn update(&self, path: &str, object: &Value) -> Result<Value, SyncError> {
        self.write(Method::PUT, path, object).await
    }
}

fn with_kind(mut object: Value, (version, kind): (&str, &str)) -> Value {
    object["apiVersion"] = Value::from(version);
    object["kind"] = Value::from(kind);
    object
}

/// A query parameter's value, or a part of a path.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.bytes() {
        if c.is_ascii_alphanumeric() || b"-._~".contains(&c) {
            escaped.push(char::from(c));
        } else {
            let _ = write!(escaped, "%{c:02X}");
        }
    }
    escaped
}
