//! Kubernetes events on the application's ApplySet parent: what `kubectl describe` and `kubectl events` show.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::journal::{Journal, Level};
use crate::cluster::Cluster;
use crate::inventory::Parent;

/// The same words are not recorded again so soon: a cluster keeps events for an hour, and fights are long.
const AGAIN: Duration = Duration::from_mins(5);
/// The longest message that the API takes, in bytes.
const MESSAGE_LIMIT: usize = 1000;

/// Records events of one application.
pub(super) struct Events {
    cluster: Cluster,
    parent: Parent,
    application: String,
    journal: Journal,
    recorded: HashMap<(&'static str, String), Instant>,
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Synced,
    SyncFailed,
    SourceUnreadable,
    OutOfSync,
    Healed,
    Fight,
    Degraded,
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::SyncFailed => "SyncFailed",
            Self::SourceUnreadable => "SourceUnreadable",
            Self::OutOfSync => "OutOfSync",
            Self::Healed => "Healed",
            Self::Fight => "Fight",
            Self::Degraded => "Degraded",
        }
    }

    const fn severity(self) -> &'static str {
        match self {
            Self::Synced | Self::Healed => "Normal",
            _ => "Warning",
        }
    }
}

impl Events {
    pub(super) fn new(cluster: Cluster, parent: Parent, application: &str, journal: Journal) -> Self {
        Self { cluster, parent, application: application.to_owned(), journal, recorded: HashMap::new() }
    }

    /// Records an event, in the background: the operator waits for nobody who only looks on.
    pub(super) fn record(&mut self, reason: Reason, message: &str) {
        let now = Instant::now();
        self.recorded.retain(|_, at| now < *at + AGAIN);
        let key = (reason.word(), message.to_owned());
        if self.recorded.insert(key, now).is_some() {
            return;
        }
        let (cluster, parent) = (self.cluster.clone(), self.parent.clone());
        let (journal, application) = (self.journal.clone(), self.application.clone());
        let message = message[..message.floor_char_boundary(MESSAGE_LIMIT)].to_owned();
        tokio::spawn(async move {
            let uid = match cluster.get(&parent.path()).await {
                Ok(Some(found)) => found["metadata"]["uid"].clone(),
                _ => Value::Null,
            };
            let list = format!("/api/v1/namespaces/{}/events", parent.namespace);
            if let Err(error) = cluster.create(&list, &event(&parent, uid, reason, &message)).await {
                let message = format!("an event could not be recorded: {error}");
                journal.tell(Level::Detail, "event-lost", &application, &message, Value::Null);
            }
        });
    }
}

fn event(parent: &Parent, uid: Value, reason: Reason, message: &str) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut involved = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "namespace": parent.namespace, "name": parent.name,
    });
    if uid.is_string() {
        involved["uid"] = uid;
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "generateName": format!("{}.", parent.name), "namespace": parent.namespace },
        "involvedObject": involved,
        "type": reason.severity(),
        "reason": reason.word(),
        "message": message,
        "source": { "component": "k8s-sync" },
        "reportingComponent": "k8s-sync",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
