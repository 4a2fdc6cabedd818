//! The way back: the fields that a run changed, as they were before, the last change first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Apply, Cluster, Conflicts};
use crate::error::SyncError;
use crate::fields;
use crate::inventory;
use crate::manifest::Identity;
use crate::options::Propagation;
use crate::plan::{Leaving, Plan};
use crate::run;
use crate::standing::{Standing, is_client_side};
use crate::sync::Application;

/// How long an object may take to be gone before it is made again.
const GOING: Duration = Duration::from_secs(30);
/// How often an object that is to go may change under our hands.
const ATTEMPTS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What a run is about to change, kept from the moment before.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    kind: (String, String),
    /// The object as it was; none where it was not there.
    before: Option<Value>,
}

impl Journal {
    /// Keeps an object as it is, before it is written or deleted.
    pub(crate) async fn keep(
        &self,
        cluster: &Cluster,
        path: &str,
        (version, kind): (&str, &str),
    ) -> Result<(), SyncError> {
        let before = cluster.get(path).await?;
        let kind = (version.to_owned(), kind.to_owned());
        self.entries().push(Entry { path: path.to_owned(), kind, before });
        Ok(())
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Application {
    /// Takes back what the journal has, the last first; tells of each object.
    pub async fn roll_back(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        journal: &Journal,
        mut tell: impl FnMut(&Identity),
    ) -> Result<(), SyncError> {
        // An object may be on its way still.
        cluster.settle().await;
        // What is proved of the new state says nothing of the old one.
        run::forget(self, cluster, plan).await?;
        let entries = std::mem::take(&mut *journal.entries());
        for entry in entries.into_iter().rev() {
            let taken_back = match &entry.before {
                None => self.unmake(cluster, &entry).await?,
                Some(before) => Some(self.remake(cluster, &entry, before).await?),
            };
            if let Some(identity) = taken_back {
                tell(&identity);
            }
        }
        Ok(())
    }

    /// Deletes an object that was not there before, if it is ours.
    async fn unmake(&self, cluster: &Cluster, entry: &Entry) -> Result<Option<Identity>, SyncError> {
        let manager = self.manager();
        for _ in 0..ATTEMPTS {
            let Some(now) = cluster.get_metadata(&entry.path, (&entry.kind.0, &entry.kind.1)).await? else {
                return Ok(None);
            };
            let standing = Standing::of(now, &manager);
            if standing.set() != Some(&self.parent().id()) || standing.footprint.is_none() {
                return Ok(None);
            }
            let identity = standing.identity();
            let propagation = Propagation::of_kind(&identity.kind);
            match cluster.delete(&entry.path, &standing.object.open(), propagation).await {
                Err(SyncError::Refused { code: 409, .. }) => {}
                deleted => return deleted.map(|_| Some(identity)),
            }
        }
        Err(SyncError::Unreachable(format!("{} changes too fast to be deleted", entry.path)))
    }

    /// Gives the fields that are ours the values they had; makes the object again where it was pruned.
    async fn remake(&self, cluster: &Cluster, entry: &Entry, before: &Value) -> Result<Identity, SyncError> {
        let manager = self.manager();
        let now = self.settled(cluster, &entry.path, before).await?;
        if let Some(now) = now.as_ref().filter(|_| has_client_side(before)) {
            self.put_back(cluster, &entry.path, before, now).await?;
            return Ok(Identity::of(before));
        }
        // Fields that became ours by this run had another owner's values.
        let ours = inventory::entry(before, &manager)
            .or_else(|| now.as_ref().and_then(|now| inventory::entry(now, &manager)));
        let mut object = ours.map_or_else(|| json!({}), |ours| fields::extract(before, &ours["fieldsV1"]));
        object["apiVersion"] = before["apiVersion"].clone();
        object["kind"] = before["kind"].clone();
        for field in ["name", "namespace"] {
            if before["metadata"][field].is_string() {
                object["metadata"][field] = before["metadata"][field].clone();
            }
        }
        let how = Apply { manager: &manager, conflicts: Conflicts::Force, dry_run: false };
        cluster.apply(&entry.path, &object, how).await?;
        Ok(Identity::of(before))
    }

    /// Makes an object again what it was before its fields of client-side apply became ours, and theirs again.
    async fn put_back(
        &self,
        cluster: &Cluster,
        path: &str,
        before: &Value,
        now: &Value,
    ) -> Result<(), SyncError> {
        let manager = self.manager();
        let mut object = before.clone();
        object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        cluster.replace(path, &object, &manager).await?;
        // What was just written would be ours.
        let owners = json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": before["metadata"]["managedFields"]}
        ]);
        cluster.patch(path, &owners, &manager).await.map(drop)
    }

    /// The object as it is, once it is not on its way out: one that was pruned may take a moment to be gone.
    async fn settled(
        &self,
        cluster: &Cluster,
        path: &str,
        before: &Value,
    ) -> Result<Option<Value>, SyncError> {
        let end = tokio::time::Instant::now() + GOING;
        loop {
            match cluster.get(path).await? {
                Some(now) if !now["metadata"]["deletionTimestamp"].is_null() => {
                    if tokio::time::Instant::now() > end {
                        let object = Identity::of(before);
                        return Err(SyncError::Unreachable(format!("{object} is being deleted, and stays")));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                now => return Ok(now),
            }
        }
    }
}

fn has_client_side(object: &Value) -> bool {
    object["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.iter().any(is_client_side))
}

impl Leaving {
    /// Its apiVersion and kind.
    pub(crate) fn kind(&self) -> (&str, &str) {
        let word = |field: &str| self.object[field].as_str().unwrap_or_default();
        (word("apiVersion"), word("kind"))
    }
}
