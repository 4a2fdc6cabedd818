//! The operator: follows a branch, and keeps the cluster as the branch says.

use std::collections::HashMap;
use std::time::Duration;

use git2::Oid;
use serde_json::Value;
use step::{Failure, Format, Io};
use tokio::time::Instant;

use crate::cluster::{Cluster, Resources};
use crate::error::SyncError;
use crate::health::{self, Health};
use crate::manifest::Identity;
use crate::observe::{Observer, Seen};
use crate::report::{self, Change, Tally};
use crate::source::Checkout;
use crate::sync::Application;

/// How the operator behaves.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// How long between two looks at the repository.
    pub poll: Duration,
    /// Whether what others change is changed back.
    pub self_heal: bool,
    /// Whether a new commit is synced by itself, or only told.
    pub automated: bool,
    /// What is printed.
    pub format: Format,
}

/// Changes come in groups; this much quiet ends one.
const QUIET: Duration = Duration::from_millis(50);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// One application that is followed.
pub struct Operator {
    /// What is followed.
    pub application: Application,
    /// Where it comes from.
    pub checkout: std::sync::Arc<Checkout>,
    /// Where it goes.
    pub cluster: Cluster,
    /// How.
    pub behaviour: Behaviour,
}

/// What the operator knows between two syncs.
#[derive(Default)]
struct Memory {
    commit: Option<Oid>,
    observer: Option<Observer>,
    /// The field sets of each object after our last sync: what differs from them was changed by somebody.
    footprints: HashMap<Identity, Option<String>>,
    health: HashMap<Identity, Health>,
    failures: u32,
}

impl Operator {
    /// Follows until the process ends.
    pub async fn run(&self, io: &mut Io) -> Result<(), Failure> {
        let mut memory = Memory::default();
        let mut next_look = Instant::now();
        loop {
            let seen = tokio::select! {
                () = tokio::time::sleep_until(next_look) => None,
                seen = next(&mut memory.observer) => Some(seen),
            };
            let result = match seen {
                None => {
                    next_look = Instant::now() + self.behaviour.poll;
                    self.look(&mut memory, io).await
                }
                Some(seen) => self.settle(seen, &mut memory, io).await,
            };
            if let Err(failure) = result {
                memory.failures = (memory.failures + 1).min(16);
                // The objects stay as they are; only the next attempt waits longer.
                io.console.failure(&failure);
                let pause =
                    self.behaviour.poll.max(Duration::from_secs(1)) * 2_u32.pow(memory.failures - 1).min(64);
                next_look = Instant::now() + pause.min(LONGEST_PAUSE);
                memory.commit = None;
                memory.observer = None;
            }
        }
    }

    /// Asks the repository for a new commit, and syncs it.
    async fn look(&self, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let checkout = self.checkout.clone();
        let newest = blocking(move || checkout.newest()).await?;
        if memory.commit == Some(newest) {
            return Ok(());
        }
        if memory.commit.is_some() && !self.behaviour.automated {
            io.console.note(format!(
                "{}: {newest} is new, and not synced: --sync-policy is not automated",
                self.application.name
            ));
            return Ok(());
        }
        self.sync(memory, io).await
    }

    /// Collects what was seen until it is quiet, and heals what others changed.
    async fn settle(&self, first: Seen, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let mut drifted = None;
        let mut seen = Some(first);
        while let Some(event) = seen {
            drifted = self.notice(event, memory, io).or(drifted);
            seen = tokio::time::timeout(QUIET, next(&mut memory.observer)).await.ok();
        }
        match drifted {
            Some(object) if self.behaviour.self_heal => {
                io.console
                    .note(format!("{}: {object} was changed in the cluster, healing", self.application.name));
                self.sync(memory, io).await
            }
            Some(object) => {
                io.console.note(format!(
                    "{}: OutOfSync: {object} was changed in the cluster",
                    self.application.name
                ));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether an event shows a change of somebody else's, and what it says of health.
    fn notice(&self, seen: Seen, memory: &mut Memory, io: &Io) -> Option<Identity> {
        match seen {
            Seen::Lost(reason) => {
                io.console.detail(format!("{}: a watch broke: {reason}", self.application.name));
                None
            }
            Seen::Gone(identity) => memory.footprints.contains_key(&identity).then_some(identity),
            Seen::Is(identity, object) => {
                let status = health::of(&object);
                if memory.health.insert(identity.clone(), status.health) != Some(status.health) {
                    io.console.note(format!(
                        "{}: {identity} is {} {}",
                        self.application.name, status.health, status.message
                    ));
                }
                let expected = memory.footprints.get_mut(&identity)?;
                let footprint = footprint(&object, &self.application.manager());
                let changed = *expected != footprint;
                *expected = footprint;
                changed.then_some(identity)
            }
        }
    }

    async fn sync(&self, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let begin = Instant::now();
        let checkout = self.checkout.clone();
        let (commit, manifests) = blocking(move || checkout.read()).await?;
        let mut resources = Resources::default();
        let plan = self.application.plan(&self.cluster, &mut resources, manifests).await?;
        self.application.rehearse(&self.cluster, &plan).await?;
        let mut tally = Tally::default();
        let format = self.behaviour.format;
        let out = &mut io.out;
        self.application
            .carry_out(&self.cluster, &plan, |change, identity| {
                tally.add(change);
                if change == Change::Unchanged {
                    Ok(())
                } else {
                    report::object(out, format, change, identity)
                }
            })
            .await?;
        io.out.flush()?;
        let (lists, labels) = self.application.lists(&self.cluster, &mut resources, &plan).await?;
        memory.footprints = self
            .footprints(&lists, &labels, &plan.wanted.iter().map(|w| &w.identity).collect::<Vec<_>>())
            .await?;
        if memory.commit != Some(commit) || memory.observer.is_none() {
            memory.observer = Some(Observer::start(&self.cluster, &lists, &labels));
        }
        memory.commit = Some(commit);
        memory.failures = 0;
        io.console.note(format!(
            "{}: synced {commit} in {} ms: {} created, {} configured, {} unchanged, {} pruned",
            self.application.name,
            begin.elapsed().as_millis(),
            tally.created,
            tally.configured,
            tally.unchanged,
            tally.pruned
        ));
        Ok(())
    }

    async fn footprints(
        &self,
        lists: &[String],
        labels: &str,
        wanted: &[&Identity],
    ) -> Result<HashMap<Identity, Option<String>>, SyncError> {
        let manager = self.application.manager();
        let mut footprints: HashMap<Identity, Option<String>> =
            wanted.iter().map(|identity| ((*identity).clone(), None)).collect();
        for list in lists {
            for object in self.cluster.list(list, labels).await?.items {
                if let Some(known) = footprints.get_mut(&Identity::of(&object)) {
                    *known = footprint(&object, &manager);
                }
            }
        }
        Ok(footprints)
    }
}

/// What the object says of our last apply: the fields that are ours, and when we applied them.
///
/// Anybody who takes one of our fields takes it out of this entry; status and others' fields don't touch it.
fn footprint(object: &Value, manager: &str) -> Option<String> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let ours = entries.iter().find(|entry| entry["manager"] == manager && entry["operation"] == "Apply")?;
    Some(format!("{} {}", ours["fieldsV1"], ours["time"]))
}

/// The next thing seen; never, where nothing is watched.
async fn next(observer: &mut Option<Observer>) -> Seen {
    match observer {
        Some(observer) => match observer.next().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(SyncError::Answer { what: "the repository".to_owned(), message: error.to_string() })
        }
    }
}
