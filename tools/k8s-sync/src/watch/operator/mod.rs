//! One application: its branch is followed, and its objects are kept as the branch says.
//!
//! It looks at the repository ([`looking`]), syncs what it finds ([`syncing`]) or only compares it ([`comparing`]), and
//! changes back what others change meanwhile ([`healing`]), one at a time: what it knows is in no two hands.

mod comparing;
mod healing;
mod looking;
mod syncing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use git2::Oid;
use step::Failure;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::board::Board;
use super::events::Events;
use super::journal::Journal;
use crate::cluster::Cluster;
use crate::decryption::keys::KeySource;
use crate::error::SyncError;
use crate::manifest::Identity;
use crate::observe::{Observer, Seen, Watched};
use crate::source::Checkout;
use crate::sync::Application;
use healing::{Changed, Tracked};
use looking::Look;

/// How the operator behaves.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// How long between two looks at the repository.
    pub poll: Duration,
    /// Whether what others change is changed back.
    pub self_heal: bool,
    /// Whether a new commit is synced by itself, or only compared.
    pub automated: bool,
}

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// One application that is followed.
pub struct Operator {
    /// What it is called here: the application's name, and its cluster's where it goes to several.
    pub label: String,
    /// What is followed.
    pub application: Application,
    /// Where it comes from.
    pub checkout: Arc<Checkout>,
    /// What decrypts it.
    pub keys: Option<KeySource>,
    /// Where it goes.
    pub cluster: Cluster,
    /// How.
    pub behaviour: Behaviour,
    /// Where it is shown.
    pub board: Arc<Board>,
    /// Where it is told.
    pub journal: Journal,
    /// By which it is told to look at the repository now.
    pub call: Arc<Notify>,
}

/// What the operator knows between two syncs.
struct Memory {
    /// The commit that is in the cluster.
    commit: Option<Oid>,
    /// A commit that could not be synced, and when it is tried again.
    failed: Option<(Oid, Instant)>,
    failures: u32,
    objects: HashMap<Identity, Tracked>,
    /// Objects that look changed.
    changed: BTreeMap<Identity, Changed>,
    observer: Option<Observer>,
    lists: Vec<Watched>,
    /// Whether something moved since the last comparison, where nothing is synced.
    stale: bool,
    /// Since when no watch of the cluster has told anything, where they break.
    lost_since: Option<Instant>,
    next_look: Instant,
    looking: Option<JoinHandle<Result<Look, SyncError>>>,
    events: Events,
}

/// Why the operator wakes up.
enum Wake {
    Seen(Seen),
    LookAfter,
    Looked(Result<Look, SyncError>),
    Look,
    Called,
}

impl Operator {
    /// Follows until this future is dropped.
    pub async fn run(&self) {
        let mut memory = Memory {
            commit: None,
            failed: None,
            failures: 0,
            objects: HashMap::new(),
            changed: BTreeMap::new(),
            observer: None,
            lists: Vec::new(),
            stale: false,
            lost_since: None,
            next_look: Instant::now(),
            looking: None,
            events: Events::new(
                self.cluster.clone(),
                self.application.parent(),
                &self.label,
                self.journal.clone(),
            ),
        };
        loop {
            match self.wake(&mut memory).await {
                Wake::Seen(seen) => self.notice(seen, &mut memory),
                Wake::LookAfter => self.look_after(&mut memory).await,
                Wake::Called => memory.next_look = Instant::now(),
                Wake::Look => self.start_to_look(&mut memory),
                Wake::Looked(look) => {
                    memory.looking = None;
                    // Set first: a call that comes during the sync moves it back to now.
                    memory.next_look = Instant::now() + self.pace();
                    self.take_in(look, &mut memory).await;
                }
            }
        }
    }

    async fn wake(&self, memory: &mut Memory) -> Wake {
        let due = memory.changed.values().map(|changed| changed.due).min();
        tokio::select! {
            seen = next(&mut memory.observer) => Wake::Seen(seen),
            () = tokio::time::sleep_until(due.unwrap_or(memory.next_look)), if due.is_some() => Wake::LookAfter,
            look = looking::ended(&mut memory.looking) => Wake::Looked(look),
            () = tokio::time::sleep_until(memory.next_look), if memory.looking.is_none() => Wake::Look,
            // One that comes while the repository is looked at asks for another look.
            () = self.call.notified(), if memory.looking.is_none() => Wake::Called,
        }
    }

    /// How long to the next look; replicas of many clusters don't ask one server in step.
    fn pace(&self) -> Duration {
        self.behaviour.poll.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// One more failure; how long to wait after it.
    fn pause(&self, memory: &mut Memory) -> Duration {
        memory.failures = (memory.failures + 1).min(8);
        (self.behaviour.poll.max(Duration::from_secs(1)) * 2_u32.pow(memory.failures - 1)).min(LONGEST_PAUSE)
    }
}

/// A failure and what to do about it.
fn told(failure: &Failure) -> String {
    match failure.hint_text() {
        Some(hint) => format!("{failure}\n{hint}"),
        None => failure.to_string(),
    }
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
