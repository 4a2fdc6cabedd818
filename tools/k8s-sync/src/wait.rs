//! Waiting for health, on the cluster's own events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::WatchEvent;

use crate::cluster::{Cluster, Shape};
use crate::error::SyncError;
use crate::evidence;
use crate::health::{self, Health, Status};
use crate::manifest::Identity;
use crate::observe::{Observer, Seen, Watched};
use crate::report;

/// Waits until each object (with its path in the API) is healthy; a degraded one ends the wait at once, and what is
/// known of it is told. `labels` select the objects among those of their lists.
pub async fn until_healthy(
    cluster: &Cluster,
    objects: &[(Identity, Arc<str>)],
    labels: &str,
    timeout: Duration,
) -> Result<(), SyncError> {
    let missing = || Status { health: Health::Missing, message: "not in the cluster yet".to_owned() };
    let mut states: BTreeMap<Identity, Status> =
        objects.iter().map(|(identity, _)| (identity.clone(), missing())).collect();
    let mut lists: Vec<String> = objects
        .iter()
        .filter_map(|(_, path)| path.rsplit_once('/').map(|(list, _)| list.to_owned()))
        .collect();
    lists.sort();
    lists.dedup();
    let whole = |list: String| Watched { list, shape: Shape::Whole };
    let lists: Vec<Watched> = lists.into_iter().map(whole).collect();
    let mut observer = Observer::start(cluster, &lists, labels, "");
    let waited = tokio::time::timeout(timeout, watch(&mut observer, &mut states)).await;
    let path = |identity: &Identity| {
        objects.iter().find(|(found, _)| found == identity).map_or("", |(_, path)| &**path)
    };
    match waited {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some((object, message)))) => {
            let evidence = evidence::of(cluster, path(&object)).await;
            Err(SyncError::Degraded { object: object.to_string(), message, evidence })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let open = open(&states);
            let evidence = match open.first() {
                Some((identity, _)) => evidence::of(cluster, path(identity)).await,
                None => String::new(),
            };
            let objects = told(&open);
            Err(SyncError::NotHealthy { seconds: timeout.as_secs(), objects, evidence })
        }
    }
}

/// Returns when all are fine, or one is degraded: which, and why.
async fn watch(
    observer: &mut Observer,
    states: &mut BTreeMap<Identity, Status>,
) -> Result<Option<(Identity, String)>, SyncError> {
    while states.values().any(|status| !is_fine(status)) {
        let (identity, now) = match observer.next().await {
            Some(Seen::Is(identity, sight)) => (identity, sight.status),
            Some(Seen::Gone(identity)) => {
                (identity, Status { health: Health::Missing, message: "it was deleted".to_owned() })
            }
            // No permission comes by waiting for it.
            Some(Seen::Lost(error @ SyncError::Refused { code: 401 | 403, .. })) => return Err(error),
            Some(Seen::Lost(_)) => continue,
            None => return Err(SyncError::Unreachable("all watches have ended".to_owned())),
        };
        let Some(known) = states.get_mut(&identity) else { continue };
        if now.health == Health::Degraded && !health::recovers(&identity.kind) {
            return Ok(Some((identity, now.message)));
        }
        *known = now;
    }
    Ok(None)
}

/// What is suspended waits for somebody else, not for us.
fn is_fine(status: &Status) -> bool {
    matches!(status.health, Health::Healthy | Health::Suspended)
}

/// The objects that are not fine, the worst first.
fn open(states: &BTreeMap<Identity, Status>) -> Vec<(&Identity, &Status)> {
    let mut open: Vec<_> = states.iter().filter(|(_, status)| !is_fine(status)).collect();
    open.sort_by_key(|(_, status)| std::cmp::Reverse(status.health));
    open
}

/// How objects are.
fn told(open: &[(&Identity, &Status)]) -> String {
    report::first_of(open.iter().map(|(identity, status)| format!("{identity} {status}")), "; ")
}

/// Waits until an object that is being deleted is gone.
pub async fn until_gone(
    cluster: &Cluster,
    path: &str,
    identity: &Identity,
    timeout: Duration,
) -> Result<(), SyncError> {
    let list = path.rsplit_once('/').map_or(path, |(list, _)| list);
    let gone = async {
        // A watch ends after a while; then the object is looked at again.
        while let Some(object) = cluster.get(path).await? {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let mut events = Box::pin(cluster.watch(list, "", version, &Shape::Whole).await?);
            while let Some(event) = events.next().await {
                match event {
                    Ok(WatchEvent::Deleted(object)) if Identity::of(&object) == *identity => return Ok(()),
                    Ok(WatchEvent::Error(_)) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, gone).await {
        Ok(ended) => ended,
        Err(_) => Err(SyncError::NotHealthy {
            seconds: timeout.as_secs(),
            objects: format!("{identity} is still being deleted: see its finalizers"),
            evidence: String::new(),
        }),
    }
}
