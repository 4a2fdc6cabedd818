//! One replica applies at a time: the one that holds the Lease (`coordination.k8s.io/v1`).
//!
//! Who holds it renews it; who can't renew it stops applying before anybody else may take it. Clocks are not compared:
//! a candidate takes a lease that it has seen unchanged for the whole of its duration, by its own clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::board::{Board, Role};
use super::journal::{Journal, Level};
use super::listen::role_text;
use crate::cluster::Cluster;
use crate::error::SyncError;

/// How long a lease is good for that is not renewed.
const DURATION: Duration = Duration::from_secs(8);
/// When a holder that can't renew stops: what it sent last then has the rest of the duration to arrive.
const GIVE_UP: Duration = Duration::from_secs(5);
/// When a connection that says nothing is given up: another one may still renew the lease in time.
pub const SILENCE: Duration = Duration::from_secs(2);
/// How long between two looks at the lease.
const PACE: Duration = Duration::from_secs(1);
/// How long a candidate waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// On the lease: applications whose source a replica that stands by was told of.
const CALLED: &str = "k8s-sync/called";

/// A lease and the name that this replica holds it by.
pub struct Lease {
    cluster: Cluster,
    namespace: String,
    name: String,
    identity: String,
}

/// What a candidate has seen of another's lease.
struct Sighting {
    version: String,
    since: Instant,
}

impl Lease {
    /// A lease in the cluster that this process runs in or for.
    pub const fn new(cluster: Cluster, namespace: String, name: String, identity: String) -> Self {
        Self { cluster, namespace, name, identity }
    }

    fn list(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.list(), self.name)
    }

    /// Does `work` whenever this replica holds the lease, and drops it in time when it no longer does.
    ///
    /// `called` is told when another replica passed on a webhook's call. Once `stop` is set, the work is dropped, then
    /// `stop` itself, and nothing is done any more.
    pub async fn hold<W: Future<Output = ()>>(
        &self,
        board: &Board,
        journal: &Journal,
        called: impl Fn(&str),
        mut stop: watch::Receiver<bool>,
        mut work: impl FnMut() -> W,
    ) {
        let in_turns = async {
            loop {
                let since = self.acquire(board, journal).await;
                self.announce(board, journal, &Role::Leading);
                tokio::select! {
                    // First: a process that slept for too long finds out before it goes on working.
                    biased;
                    () = self.renew(since, journal, &called) => {}
                    () = work() => {}
                }
                self.announce(board, journal, &Role::StandingBy(None));
            }
        };
        tokio::select! {
            () = in_turns => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        drop(stop);
        std::future::pending::<()>().await;
    }

    fn announce(&self, board: &Board, journal: &Journal, role: &Role) {
        if board.role() != *role {
            journal.tell(Level::Note, "role", "", &role_text(role), json!({ "replica": self.identity }));
            board.set_role(role);
        }
    }

    /// Waits until the lease is this replica's; since when it is.
    async fn acquire(&self, board: &Board, journal: &Journal) -> Instant {
        let mut sighting: Option<Sighting> = None;
        loop {
            match self.try_to_acquire(&mut sighting, board, journal).await {
                Ok(Some(since)) => return since,
                Ok(None) | Err(SyncError::Refused { code: 409, .. }) => {}
                Err(error) => {
                    let message = format!("can't read or take the lease: {error}");
                    journal.tell(Level::Warning, "lease", "", &message, Value::Null);
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn try_to_acquire(
        &self,
        sighting: &mut Option<Sighting>,
        board: &Board,
        journal: &Journal,
    ) -> Result<Option<Instant>, SyncError> {
        let start = Instant::now();
        let Some(lease) = within(PATIENCE, self.cluster.get(&self.path())).await? else {
            within(PATIENCE, self.cluster.create(&self.list(), &self.held(None))).await?;
            return Ok(Some(start));
        };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let unchanged = sighting.as_ref().filter(|seen| seen.version == version);
        let abandoned = unchanged.is_some_and(|seen| start > seen.since + DURATION);
        if !holder.is_empty() && holder != self.identity && !abandoned {
            if unchanged.is_none() {
                *sighting = Some(Sighting { version: version.to_owned(), since: start });
            }
            self.announce(board, journal, &Role::StandingBy(Some(holder.to_owned())));
            return Ok(None);
        }
        within(PATIENCE, self.cluster.update(&self.path(), &self.held(Some(&lease)))).await?;
        Ok(Some(start))
    }

    /// Renews the lease until it can't be renewed in time or somebody else has it.
    async fn renew(&self, since: Instant, journal: &Journal, called: impl Fn(&str)) {
        let mut renewed = since;
        loop {
            tokio::time::sleep(PACE).await;
            let start = Instant::now();
            let left = (renewed + GIVE_UP).saturating_duration_since(start);
            match within(left, self.renew_once(&called)).await {
                Ok(true) => renewed = start,
                Ok(false) => {
                    journal.tell(Level::Warning, "lease", "", "another replica took the lease", Value::Null);
                    return;
                }
                Err(error) if Instant::now() + PACE < renewed + GIVE_UP => {
                    let message = format!("the lease could not be renewed yet: {error}");
                    journal.tell(Level::Detail, "lease", "", &message, Value::Null);
                }
                Err(error) => {
                    let message = format!("stops applying: the lease could not be renewed: {error}");
                    journal.tell(Level::Warning, "lease", "", &message, Value::Null);
                    return;
                }
            }
        }
    }

    async fn renew_once(&self, called: impl Fn(&str)) -> Result<bool, SyncError> {
        let Some(lease) = self.cluster.get(&self.path()).await? else { return Ok(false) };
        if lease["spec"]["holderIdentity"] != self.identity {
            return Ok(false);
        }
        self.cluster.update(&self.path(), &self.held(Some(&lease))).await?;
        if let Some(names) = lease["metadata"]["annotations"][CALLED].as_str() {
            names.split(',').for_each(called);
        }
        Ok(true)
    }

    /// Lets the next one have it at once.
    pub async fn release(&self) -> Result<(), SyncError> {
        let Some(mut lease) = self.cluster.get(&self.path()).await? else { return Ok(()) };
        if lease["spec"]["holderIdentity"] == self.identity {
            // An empty name is refused, none is not.
            lease["spec"]["holderIdentity"] = Value::Null;
            self.cluster.update(&self.path(), &lease).await?;
        }
        Ok(())
    }

    /// Lets the replica that leads know that these applications' sources changed.
    pub async fn call(&self, applications: &[String]) -> Result<(), SyncError> {
        let Some(mut lease) = self.cluster.get(&self.path()).await? else { return Ok(()) };
        lease["metadata"]["annotations"][CALLED] = Value::from(applications.join(","));
        self.cluster.update(&self.path(), &lease).await?;
        Ok(())
    }

    /// The lease as this replica holds it.
    fn held(&self, before: Option<&Value>) -> Value {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let spec = before.map(|lease| &lease["spec"]);
        let is_ours = spec.is_some_and(|spec| spec["holderIdentity"] == self.identity);
        let (acquired, transitions) = match spec {
            Some(spec) if is_ours => (spec["acquireTime"].clone(), spec["leaseTransitions"].clone()),
            Some(spec) => {
                (Value::from(now.clone()), Value::from(spec["leaseTransitions"].as_i64().unwrap_or(0) + 1))
            }
            None => (Value::from(now.clone()), Value::from(0)),
        };
        let mut metadata = json!({ "name": self.name, "namespace": self.namespace });
        if let Some(lease) = before {
            metadata["resourceVersion"] = lease["metadata"]["resourceVersion"].clone();
        }
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        })
    }
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, SyncError>>,
) -> Result<T, SyncError> {
    let late = |_| SyncError::Unreachable(format!("no answer within {} ms", limit.as_millis()));
    tokio::time::timeout(limit, request).await.map_err(late)?
}

/// Gives the lease back when a signal ends the process.
pub fn release_at_the_end(lease: &Arc<Lease>, stop: watch::Sender<bool>) -> step::Cleanup {
    let (lease, runtime) = (lease.clone(), tokio::runtime::Handle::current());
    step::Cleanup::new(move || {
        // Without a signal, and from within the runtime, nobody can wait here; the lease runs out by itself.
        if tokio::runtime::Handle::try_current().is_ok() {
            return;
        }
        stop.send_replace(true);
        let given_back = async {
            // Until then something may still be applied.
            stop.closed().await;
            lease.release().await
        };
        // A process that is about to end has nobody to tell that it could not.
        let _ = runtime.block_on(async { tokio::time::timeout(PACE, given_back).await });
    })
}
