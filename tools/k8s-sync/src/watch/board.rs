//! What is known of each application, for those who look on: the page, the metrics and the probes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::health::{Health, Status};
use crate::manifest::Identity;
use crate::report::Tally;
use crate::source::Commit;

/// So many syncs are remembered of each application.
const REMEMBERED: usize = 20;
/// The longest text of a difference that is kept, in bytes: the page shows what differs, it is no archive.
const DIFFERENCE_LIMIT: usize = 16 * 1024;

/// How an application's objects stand to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState {
    /// Nothing was compared yet, or the source can't be read.
    Unknown,
    /// The cluster is as the commit says.
    Synced,
    /// It is not.
    OutOfSync,
}

impl SyncState {
    /// Argo CD's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
        }
    }
}

/// What an application is made from, and where it goes: it does not change while it is followed.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The repository's URL, without credentials.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The folder.
    pub path: String,
    /// The cluster, and the namespace of objects that name none.
    pub destination: String,
}

/// What an application looks like.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// What it is made from.
    pub origin: Origin,
    /// The commit that the cluster is kept at.
    pub commit: Option<Commit>,
    /// A commit that is newer, and not in the cluster.
    pub newer: Option<Commit>,
    /// Why the source can't be read or the newer commit can't be synced.
    pub error: Option<String>,
    /// Whether the last look at the source failed.
    pub blind: bool,
    /// Whether the cluster can't be reached.
    pub cut_off: bool,
    /// The objects.
    pub objects: BTreeMap<Identity, ObjectView>,
    /// The last syncs, the newest first.
    pub syncs: VecDeque<SyncRecord>,
}

/// One object.
#[derive(Debug, Clone)]
pub struct ObjectView {
    /// How it is.
    pub status: Status,
    /// How it differs from the commit.
    pub drift: Option<Drift>,
}

/// How an object differs from the commit.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    /// Who changed it, as far as that is known.
    pub by: Option<String>,
    /// A unified diff, with secrets' values masked.
    pub difference: String,
}

/// A sync that has ended.
#[derive(Debug, Clone)]
pub struct SyncRecord {
    /// When it ended.
    pub at: Timestamp,
    /// What was synced.
    pub commit: Commit,
    /// What was changed.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

impl View {
    /// Whether the cluster is as the newest commit says.
    pub fn sync_state(&self) -> SyncState {
        if self.blind || self.cut_off || (self.commit.is_none() && self.newer.is_none()) {
            SyncState::Unknown
        } else if self.newer.is_some() || self.drifted() > 0 {
            SyncState::OutOfSync
        } else {
            SyncState::Synced
        }
    }

    fn is_known(&self) -> bool {
        self.commit.is_some() || self.newer.is_some() || self.error.is_some()
    }

    /// How many objects differ.
    pub fn drifted(&self) -> usize {
        self.objects.values().filter(|object| object.drift.is_some()).count()
    }

    /// The health of its worst object, as far as that can be seen.
    pub fn health(&self) -> Health {
        if self.cut_off {
            return Health::Unknown;
        }
        let healths = self.objects.values().map(|object| object.status.health);
        healths.max().unwrap_or(Health::Unknown)
    }

    /// Remembers a sync.
    pub fn remember(&mut self, sync: SyncRecord) {
        self.syncs.push_front(sync);
        self.syncs.truncate(REMEMBERED);
    }

    /// Takes in how an object is.
    pub fn see(&mut self, identity: &Identity, status: Status) {
        match self.objects.get_mut(identity) {
            Some(object) => object.status = status,
            None => {
                self.objects.insert(identity.clone(), ObjectView { status, drift: None });
            }
        }
    }

    /// Takes in that an object differs, or no longer does.
    pub fn drift(&mut self, identity: &Identity, drift: Option<Drift>) {
        if let Some(object) = self.objects.get_mut(identity) {
            object.drift = drift.map(|mut drift| {
                shorten(&mut drift.difference);
                drift
            });
        }
    }
}

fn shorten(text: &mut String) {
    if text.len() > DIFFERENCE_LIMIT {
        text.truncate(text.floor_char_boundary(DIFFERENCE_LIMIT));
        text.push_str("\n… and more\n");
    }
}

/// Which replica applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// This one.
    Leading,
    /// Another one, whose name is known once its lease was read.
    StandingBy(Option<String>),
}

/// All applications, who leads, and what is counted.
pub struct Board {
    applications: Mutex<BTreeMap<String, View>>,
    role: Mutex<Role>,
    changed: watch::Sender<u64>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Board {
    /// The applications that are followed, of which nothing is known yet.
    pub fn new(applications: impl IntoIterator<Item = (String, Origin)>) -> Self {
        let applications: BTreeMap<String, View> = applications
            .into_iter()
            .map(|(name, origin)| (name, View { origin, ..View::default() }))
            .collect();
        Self {
            applications: Mutex::new(applications),
            role: Mutex::new(Role::StandingBy(None)),
            changed: watch::Sender::new(0),
            metrics: Metrics::new(),
        }
    }

    /// Changes what is known of an application, and lets everybody see it.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut View)) {
        if let Some(view) = lock(&self.applications).get_mut(name) {
            change(view);
        }
        self.changed.send_modify(|version| *version += 1);
    }

    /// Looks at all applications.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<String, View>) -> T) -> T {
        look(&lock(&self.applications))
    }

    /// Whether there is nothing left to wait for: another replica leads, or each source was looked at.
    pub fn is_ready(&self) -> bool {
        match self.role() {
            Role::StandingBy(leader) => leader.is_some(),
            Role::Leading => self.read(|all| all.values().all(View::is_known)),
        }
    }

    /// Everything that is counted, as a scraper reads it.
    pub fn metrics_text(&self) -> String {
        self.read(|all| all.iter().for_each(|(name, view)| self.metrics.show(name, view)));
        self.metrics.text()
    }

    /// Which replica applies.
    pub fn role(&self) -> Role {
        lock(&self.role).clone()
    }

    /// Takes in which replica applies. One that stands by knows nothing of the applications.
    pub fn set_role(&self, role: &Role) {
        let leading = *role == Role::Leading;
        if std::mem::replace(&mut *lock(&self.role), role.clone()) == *role {
            return;
        }
        self.metrics.leader.set(i64::from(leading));
        if !leading {
            for view in lock(&self.applications).values_mut() {
                *view = View { origin: std::mem::take(&mut view.origin), ..View::default() };
            }
        }
        self.changed.send_modify(|version| *version += 1);
    }

    /// Wakes up at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
