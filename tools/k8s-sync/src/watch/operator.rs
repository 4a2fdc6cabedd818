//! One application: its branch is followed, and its objects are kept as the branch says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use git2::Oid;
use serde_json::{Value, json};
use step::Failure;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::board::{Board, Drift, ObjectView, SyncRecord, View};
use super::events::{Events, Reason};
use super::fight::Fight;
use super::journal::{Journal, Level};
use crate::cluster::{Apply, Cluster, Conflicts, Resources, Shape};
use crate::decryption::keys::KeySource;
use crate::diff;
use crate::error::SyncError;
use crate::health::{self, Health, Status};
use crate::ignore::Ignored;
use crate::inventory;
use crate::manifest::{Identity, Manifest};
use crate::observe::{Observer, Seen, Watched};
use crate::packed::Packed;
use crate::plan::Plan;
use crate::report::{Change, Tally};
use crate::source::{Checkout, Commit, Reading, Release};
use crate::standing::Standing;
use crate::sync::Application;

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
/// The longest pause after looks at a source that can't be read, unless it is looked at more seldom anyway: one look costs
/// its server no more than it does in good times.
const LONGEST_BLINDNESS: Duration = Duration::from_secs(30);
/// How many objects are healed at once.
const CONCURRENCY: usize = 16;

/// One application that is followed.
pub struct Operator {
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

/// What a look at the repository found.
enum Look {
    /// No other commit.
    Same,
    /// Another one, and what it says.
    Found(Commit, Vec<Manifest>),
    /// Another one, which can't be used.
    Unusable(Commit, SyncError),
}

/// An object of the application, as it was applied last.
struct Tracked {
    path: String,
    object: Packed,
    /// What of it may be otherwise.
    ignored: Ignored,
    /// What the object says of our last apply; not known where the sync has not ended well, or there was none.
    footprint: Option<String>,
    fight: Fight,
}

/// An object that looks changed.
struct Changed {
    /// When the event came.
    seen: Instant,
    /// When it is looked after.
    due: Instant,
    /// Whether it was found to be changed, and only waits.
    waits: bool,
    /// Whether it could not be read or healed, and waits for that.
    failed: bool,
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
        let namespace = &self.application.namespace;
        let name = &self.application.name;
        let mut memory = Memory {
            commit: None,
            failed: None,
            failures: 0,
            objects: HashMap::new(),
            changed: BTreeMap::new(),
            observer: None,
            lists: Vec::new(),
            stale: false,
            next_look: Instant::now(),
            looking: None,
            events: Events::new(self.cluster.clone(), name, namespace, self.journal.clone()),
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
            look = ended(&mut memory.looking) => Wake::Looked(look),
            () = tokio::time::sleep_until(memory.next_look), if memory.looking.is_none() => Wake::Look,
            () = self.call.notified() => Wake::Called,
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

    /// Asks the repository, in the background: what is changed meanwhile is healed meanwhile.
    fn start_to_look(&self, memory: &mut Memory) {
        let checkout = self.checkout.clone();
        let settled = match memory.failed {
            Some((failed, again)) if Instant::now() < again => Some(failed),
            Some(_) => None,
            None if memory.stale && !self.behaviour.automated => None,
            None => memory.commit,
        };
        let (name, namespace) = (self.application.name.clone(), self.application.namespace.clone());
        let (keys, cluster) = (self.keys.clone(), self.cluster.clone());
        memory.looking = Some(tokio::spawn(async move {
            // Read each time: who changes a key need not restart anything.
            let keys = match keys {
                Some(source) => Some(source.read(&cluster).await?),
                None => None,
            };
            let looked = tokio::task::spawn_blocking(move || {
                let release = Release { name: &name, namespace: &namespace };
                look(&checkout, Reading { release, keys: keys.as_ref() }, settled)
            });
            looked.await.unwrap_or_else(|error| Err(broken(&error)))
        }));
    }

    async fn take_in(&self, look: Result<Look, SyncError>, memory: &mut Memory) {
        let name = &self.application.name;
        match look {
            Err(error) => {
                // The objects stay as they are, and are healed; only the next look waits longer.
                let failure = Failure::from(error);
                let longest = LONGEST_BLINDNESS.max(self.pace());
                memory.next_look = Instant::now() + self.pause(memory).min(longest);
                memory.events.record(Reason::SourceUnreadable, &failure.to_string());
                self.journal.failure(name, &failure);
                self.board.update(name, |view| {
                    view.blind = true;
                    view.error = Some(told(&failure));
                });
            }
            Ok(Look::Same) => {
                if self.board.read(|all| all.get(name).is_some_and(|view| view.blind)) {
                    self.board.update(name, |view| {
                        view.blind = false;
                        view.error = view.syncs.front().and_then(|sync| sync.error.clone());
                    });
                }
                if memory.failed.is_none() {
                    memory.failures = 0;
                }
            }
            Ok(Look::Unusable(commit, error)) => {
                forget_failures_of_others(commit.id, memory);
                self.failed(&commit, &error.into(), Instant::now(), Tally::default(), memory);
            }
            Ok(Look::Found(commit, manifests)) => {
                forget_failures_of_others(commit.id, memory);
                self.board.update(name, |view| view.blind = false);
                if self.behaviour.automated {
                    self.sync_or_newer(commit, manifests, memory).await;
                } else {
                    self.compare(commit, manifests, memory).await;
                }
            }
        }
    }

    /// Syncs a commit; where a newer one comes while the sync waits for this one's health, that one goes first.
    async fn sync_or_newer(&self, commit: Commit, manifests: Vec<Manifest>, memory: &mut Memory) {
        let begin = Instant::now();
        let mut tally = Tally::default();
        let ended = tokio::select! {
            ended = self.sync(&commit, manifests, &mut tally, memory) => Some(ended),
            () = self.newer_than(commit.id) => None,
        };
        match ended {
            Some(Ok(())) => self.synced(&commit, begin, tally, memory),
            Some(Err(failure)) => self.failed(&commit, &failure, begin, tally, memory),
            None => {
                let message = format!("{} is overtaken by a newer commit", commit.id);
                let fields = json!({ "commit": commit.id.to_string() });
                self.journal.tell(Level::Note, "overtaken", &self.application.name, &message, fields);
                memory.next_look = Instant::now();
            }
        }
    }

    /// Returns when the revision is another commit than this one.
    async fn newer_than(&self, commit: Oid) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pace()) => {}
                () = self.call.notified() => {}
            }
            let checkout = self.checkout.clone();
            let newest = tokio::task::spawn_blocking(move || checkout.newest()).await;
            if matches!(newest, Ok(Ok(newest)) if newest != commit) {
                return;
            }
        }
    }

    async fn sync(
        &self,
        commit: &Commit,
        manifests: Vec<Manifest>,
        tally: &mut Tally,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let plan = self.application.plan(&self.cluster, &mut Resources::default(), manifests).await?;
        self.application.validate(&self.cluster, &plan).await?;
        // From here on the objects are this commit's, however far the sync gets.
        memory.commit = Some(commit.id);
        track(&plan, memory);
        self.show(&plan);
        self.observe(&plan, memory);
        let outcome = self
            .application
            .carry_out(&self.cluster, &plan, |change, identity| {
                tally.add(change);
                if change != Change::Unchanged {
                    self.journal.object(&self.application.name, change, identity);
                }
                Ok(())
            })
            .await?;
        for (identity, footprint) in outcome.footprints {
            if let Some(tracked) = memory.objects.get_mut(&identity) {
                tracked.footprint = footprint;
            }
        }
        Ok(())
    }

    /// Shows the plan's objects, each as it was seen last.
    fn show(&self, plan: &Plan) {
        self.board.update(&self.application.name, |view| {
            let mut before = std::mem::take(&mut view.objects);
            view.objects.extend(plan.wanted.iter().map(|wanted| {
                let unseen = || {
                    let is_there = plan.live.contains_key(&wanted.identity);
                    let status = Status { health: Health::Unknown, message: "not seen yet".to_owned() };
                    ObjectView { status: if is_there { status } else { missing() }, drift: None }
                };
                let mut object = before.remove(&wanted.identity).unwrap_or_else(unseen);
                object.drift = None;
                (wanted.identity.clone(), object)
            }));
        });
    }

    fn observe(&self, plan: &Plan, memory: &mut Memory) {
        let (_, labels) = self.application.lists(plan);
        let lists = watched(plan);
        if memory.observer.is_none() || memory.lists != lists {
            memory.observer =
                Some(Observer::start(&self.cluster, &lists, &labels, &self.application.manager()));
            memory.lists = lists;
        }
    }

    fn synced(&self, commit: &Commit, begin: Instant, tally: Tally, memory: &mut Memory) {
        let name = &self.application.name;
        let took = begin.elapsed();
        memory.failed = None;
        memory.failures = 0;
        self.board.metrics.synced(name, took, true);
        let message = format!(
            "synced {} in {} ms: {} created, {} configured, {} unchanged, {} pruned",
            commit.id,
            took.as_millis(),
            tally.created,
            tally.configured,
            tally.unchanged,
            tally.pruned
        );
        let fields = json!({
            "commit": commit.id.to_string(), "author": commit.author, "milliseconds": took.as_millis(),
            "created": tally.created, "configured": tally.configured,
            "unchanged": tally.unchanged, "pruned": tally.pruned,
        });
        self.journal.tell(Level::Note, "synced", name, &message, fields);
        memory.events.record(Reason::Synced, &format!("{} by {}: {message}", commit.summary, commit.author));
        self.board.update(name, |view| {
            view.commit = Some(commit.clone());
            view.newer = None;
            view.error = None;
            view.remember(SyncRecord {
                at: jiff::Timestamp::now(),
                commit: commit.clone(),
                tally,
                took,
                error: None,
            });
        });
    }

    fn failed(&self, commit: &Commit, failure: &Failure, begin: Instant, tally: Tally, memory: &mut Memory) {
        let name = &self.application.name;
        let took = begin.elapsed();
        memory.failed = Some((commit.id, Instant::now() + self.pause(memory)));
        self.board.metrics.synced(name, took, false);
        self.journal.failure(name, failure);
        memory.events.record(Reason::SyncFailed, &format!("{}: {}", commit.id, told(failure)));
        self.board.update(name, |view| {
            view.newer = Some(commit.clone());
            view.blind = false;
            view.error = Some(told(failure));
            view.remember(SyncRecord {
                at: jiff::Timestamp::now(),
                commit: commit.clone(),
                tally,
                took,
                error: Some(told(failure)),
            });
        });
    }

    /// Finds out what a sync would do, and shows it.
    async fn compare(&self, commit: Commit, manifests: Vec<Manifest>, memory: &mut Memory) {
        let name = &self.application.name;
        memory.stale = false;
        let drifts = match self.differences(manifests, memory).await {
            Ok(drifts) => drifts,
            Err(failure) => return self.failed(&commit, &failure, Instant::now(), Tally::default(), memory),
        };
        memory.failed = None;
        let known = memory.commit.replace(commit.id) == Some(commit.id);
        let (differ, message) = match drifts.len() {
            0 => (false, format!("{} is in the cluster", commit.id)),
            count => (true, format!("OutOfSync: {count} objects differ from {}", commit.id)),
        };
        let before = self.board.read(|all| all.get(name).map(View::drifted));
        if !known || before != Some(drifts.len()) {
            let fields = json!({ "commit": commit.id.to_string(), "objects": drifts.len() });
            self.journal.tell(Level::Note, "compared", name, &message, fields);
            if differ {
                memory.events.record(Reason::OutOfSync, &message);
            }
        }
        self.board.update(name, |view| {
            view.error = None;
            (view.commit, view.newer) = if differ { (None, Some(commit)) } else { (Some(commit), None) };
            for identity in view.objects.keys().cloned().collect::<Vec<_>>() {
                view.drift(&identity, drifts.get(&identity).cloned());
            }
        });
    }

    async fn differences(
        &self,
        manifests: Vec<Manifest>,
        memory: &mut Memory,
    ) -> Result<HashMap<Identity, Drift>, Failure> {
        let plan = self.application.plan(&self.cluster, &mut Resources::default(), manifests).await?;
        let outlooks = self.application.compare(&self.cluster, &plan).await?;
        track(&plan, memory);
        self.show(&plan);
        self.observe(&plan, memory);
        let both = plan.wanted.iter().zip(&outlooks);
        Ok(both
            .filter_map(|(wanted, outlook)| {
                let (live, would_be) = (outlook.live.as_ref(), outlook.would_be.as_ref());
                let difference = diff::unified(&wanted.identity, live, would_be)?;
                Some((wanted.identity.clone(), Drift { by: None, difference }))
            })
            .collect())
    }

    /// Takes in what an event says of drift and of health.
    fn notice(&self, seen: Seen, memory: &mut Memory) {
        let name = &self.application.name;
        let (identity, sight) = match seen {
            Seen::Lost(error @ SyncError::Refused { .. }) => {
                let message = format!("what others change is not seen: {error}");
                return self.journal.tell(Level::Warning, "watch", name, &message, Value::Null);
            }
            Seen::Lost(error) => {
                let message = format!("a watch broke: {error}");
                return self.journal.tell(Level::Detail, "watch", name, &message, Value::Null);
            }
            Seen::Gone(identity) => (identity, None),
            Seen::Is(identity, sight) => (identity, Some(sight)),
        };
        let Some(tracked) = memory.objects.get(&identity) else { return };
        memory.stale = true;
        let (status, footprint) = match sight {
            Some(sight) => (sight.status, sight.footprint),
            None => (missing(), None),
        };
        let as_left = tracked.footprint.as_ref().map(|expected| footprint.as_ref() == Some(expected));
        self.see(&identity, status, &mut memory.events);
        let Some(as_left) = as_left else { return };
        if !as_left {
            let now = Instant::now();
            let changed = memory.changed.entry(identity).or_insert(Changed {
                seen: now,
                due: now,
                waits: false,
                failed: false,
            });
            // After a failure: the server is there again, or there is something new to see.
            if std::mem::take(&mut changed.failed) {
                changed.due = now;
            }
        } else if memory.changed.remove(&identity).is_some() || self.is_drifted(&identity) {
            self.board.update(name, |view| view.drift(&identity, None));
        }
        self.board.metrics.queue(name, memory.changed.len());
    }

    fn is_drifted(&self, identity: &Identity) -> bool {
        let drifted = |view: &View| view.objects.get(identity).is_some_and(|object| object.drift.is_some());
        self.board.read(|all| all.get(&self.application.name).is_some_and(drifted))
    }

    fn see(&self, identity: &Identity, status: Status, events: &mut Events) {
        let name = &self.application.name;
        let known = |view: &View| view.objects.get(identity).map(|object| object.status.clone());
        let before = self.board.read(|all| all.get(name).and_then(known));
        if before.as_ref() == Some(&status) {
            return;
        }
        if before.is_none_or(|before| before.health != status.health) {
            let message = format!("{identity} is {} {}", status.health, status.message);
            let fields = json!({
                "groupKind": identity.kind.to_string(), "namespace": identity.namespace, "name": identity.name,
                "health": status.health.word(),
            });
            self.journal.tell(Level::Note, "health", name, message.trim_end(), fields);
            if status.health == Health::Degraded {
                events.record(Reason::Degraded, &message);
            }
        }
        self.board.update(name, |view| view.see(identity, status));
    }

    /// Looks after the objects that look changed: each is read again, as events may be older than the last sync.
    async fn look_after(&self, memory: &mut Memory) {
        let now = Instant::now();
        let due: Vec<Identity> = memory
            .changed
            .iter()
            .filter(|(_, changed)| changed.due <= now)
            .map(|(identity, _)| identity.clone())
            .collect();
        let read = stream::iter(due.into_iter().filter_map(|identity| {
            let path = memory.objects.get(&identity)?.path.clone();
            Some(async move {
                let live = self.cluster.get(&path).await;
                (identity, live)
            })
        }));
        let read: Vec<_> = read.buffered(CONCURRENCY).collect().await;
        let mut to_heal = Vec::new();
        for (identity, live) in read {
            match live {
                Err(error) => self.later(&identity, &error.into(), memory),
                Ok(live) => {
                    if let Some(live) = self.judge(&identity, live, memory) {
                        to_heal.push((identity, live));
                    }
                }
            }
        }
        if self.behaviour.self_heal {
            self.heal(to_heal, memory).await;
        } else {
            for (identity, live) in to_heal {
                self.report(identity, live.as_ref(), memory).await;
            }
        }
        self.board.metrics.queue(&self.application.name, memory.changed.len());
    }

    #[expect(clippy::option_option, reason = "whether it is to be seen to, and whether it is there")]
    /// Whether an object was changed by somebody and is to be seen to now; then, what is there of it.
    fn judge(&self, identity: &Identity, live: Option<Value>, memory: &mut Memory) -> Option<Option<Value>> {
        let name = &self.application.name;
        let manager = self.application.manager();
        let tracked = memory.objects.get_mut(identity)?;
        let found = live.as_ref().and_then(|live| inventory::footprint(live, &manager));
        if live.is_some() && found == tracked.footprint {
            memory.changed.remove(identity);
            return None;
        }
        let changed = memory.changed.get_mut(identity)?;
        let now = Instant::now();
        if self.behaviour.self_heal && !std::mem::replace(&mut changed.waits, true) {
            let pause = tracked.fight.another(now);
            self.board.metrics.drifted(name);
            if let Some(rounds) = tracked.fight.rounds() {
                let by = live.as_ref().and_then(|live| other_manager(live, &manager)).unwrap_or("somebody");
                let message = format!(
                    "{identity} was changed by {by} for the {rounds}th time soon after it was healed; next try in {} s",
                    pause.as_secs()
                );
                let fields = json!({ "by": by, "rounds": rounds, "object": identity.to_string() });
                self.journal.tell(Level::Warning, "fight", name, &message, fields);
                memory
                    .events
                    .record(Reason::Fight, &format!("{identity} is changed again and again by {by}"));
                self.board.metrics.fight(name);
                changed.due = now + pause;
                let drift = Drift { by: Some(by.to_owned()), difference: String::new() };
                self.board.update(name, |view| view.drift(identity, Some(drift)));
                return None;
            }
        }
        Some(live)
    }

    /// Changes objects back.
    async fn heal(&self, objects: Vec<(Identity, Option<Value>)>, memory: &mut Memory) {
        let name = &self.application.name;
        let manager = self.application.manager();
        let how = Apply { manager: &manager, conflicts: Conflicts::Force, dry_run: false };
        let applied = stream::iter(objects.into_iter().filter_map(|(identity, live)| {
            let tracked = memory.objects.get(&identity)?;
            let mut object = tracked.object.open();
            let path = tracked.path.clone();
            let by = live.as_ref().and_then(|live| other_manager(live, &manager)).map(ToOwned::to_owned);
            if let Some(live) = &live {
                tracked.ignored.keep_live(&mut object, live);
                if Standing::of(live.clone(), &manager).autoscaled
                    && let Some(spec) = object["spec"].as_object_mut()
                {
                    spec.remove("replicas");
                }
            }
            Some(async move {
                let applied = self.cluster.apply(&path, &object, how).await;
                (identity, live.is_none(), by, applied)
            })
        }));
        let applied: Vec<_> = applied.buffered(CONCURRENCY).collect().await;
        for (identity, was_gone, by, applied) in applied {
            let now = match applied {
                Ok(now) => now,
                Err(error) => {
                    self.later(&identity, &error.into(), memory);
                    continue;
                }
            };
            let change = if was_gone { Change::Created } else { Change::Configured };
            self.journal.object(name, change, &identity);
            if let Some(tracked) = memory.objects.get_mut(&identity) {
                tracked.footprint = inventory::footprint(&now, &manager);
            }
            let took =
                memory.changed.remove(&identity).map(|changed| changed.seen.elapsed()).unwrap_or_default();
            self.board.metrics.healed(name, took);
            let what = what_happened(!was_gone, by.as_deref());
            let message = format!("{identity} {what}, healed in {} ms", took.as_millis());
            let fields = json!({
                "groupKind": identity.kind.to_string(), "namespace": identity.namespace, "name": identity.name,
                "by": by, "milliseconds": took.as_millis(),
            });
            self.journal.tell(Level::Note, "healed", name, &message, fields);
            memory.events.record(Reason::Healed, &format!("{identity} {what}"));
            self.board.update(name, |view| view.drift(&identity, None));
        }
    }

    /// An object that could not be read or healed is tried again; one whose namespace is gone needs the whole commit.
    fn later(&self, identity: &Identity, failure: &Failure, memory: &mut Memory) {
        self.journal.failure(&self.application.name, failure);
        let pause = self.pause(memory);
        if let Some(changed) = memory.changed.get_mut(identity) {
            changed.due = Instant::now() + pause;
            changed.failed = true;
        }
        if failure.to_string().contains("namespaces ") {
            memory.changed.remove(identity);
            memory.commit = None;
            memory.next_look = Instant::now();
        }
    }

    /// Shows how an object differs, where it is not changed back.
    async fn report(&self, identity: Identity, live: Option<&Value>, memory: &mut Memory) {
        let name = &self.application.name;
        let manager = self.application.manager();
        let Some(tracked) = memory.objects.get(&identity) else { return };
        let object = tracked.object.open();
        let how = Apply { manager: &manager, conflicts: Conflicts::Force, dry_run: true };
        let would_be = self.cluster.apply(&tracked.path, &object, how).await.unwrap_or(object);
        let by = live.and_then(|live| other_manager(live, &manager)).map(ToOwned::to_owned);
        let what = what_happened(live.is_some(), by.as_deref());
        let message = format!("OutOfSync: {identity} {what}");
        memory.changed.remove(&identity);
        self.board.metrics.drifted(name);
        let fields = json!({
            "groupKind": identity.kind.to_string(), "namespace": identity.namespace, "name": identity.name, "by": by,
        });
        self.journal.tell(Level::Note, "drift", name, &message, fields);
        memory.events.record(Reason::OutOfSync, &message);
        let difference = diff::unified(&identity, live, Some(&would_be)).unwrap_or_default();
        self.board.update(name, |view| view.drift(&identity, Some(Drift { by, difference })));
    }
}

fn forget_failures_of_others(commit: Oid, memory: &mut Memory) {
    if memory.failed.is_none_or(|(failed, _)| failed != commit) {
        memory.failures = 0;
    }
}

/// Remembers the plan's objects as they are to be; what is there of them is not known yet.
fn track(plan: &Plan, memory: &mut Memory) {
    let mut before = std::mem::take(&mut memory.objects);
    memory.changed.clear();
    memory.objects.extend(plan.wanted.iter().map(|wanted| {
        let fight = before.remove(&wanted.identity).map(|tracked| tracked.fight).unwrap_or_default();
        let (path, object, ignored) = (wanted.path.clone(), wanted.object.clone(), wanted.ignored.clone());
        let tracked = Tracked { path, object, ignored, footprint: None, fight };
        (wanted.identity.clone(), tracked)
    }));
}

/// The lists that the plan's objects are in. Of kinds without a health of their own, metadata say all that is asked.
fn watched(plan: &Plan) -> Vec<Watched> {
    let lists = plan.wanted.iter().filter_map(|wanted| {
        let (list, _) = wanted.path.rsplit_once('/')?;
        let shape = if health::can_be_lacking(&wanted.identity.kind) {
            Shape::Whole
        } else {
            let (version, kind) = wanted.kind();
            Shape::Metadata { version: version.to_owned(), kind: kind.to_owned() }
        };
        Some(Watched { list: list.to_owned(), shape })
    });
    lists.collect::<BTreeSet<_>>().into_iter().collect()
}

fn missing() -> Status {
    Status { health: Health::Missing, message: "not in the cluster".to_owned() }
}

/// What happened to an object.
fn what_happened(is_there: bool, by: Option<&str>) -> String {
    if is_there { format!("was changed by {}", by.unwrap_or("somebody")) } else { "was deleted".to_owned() }
}

/// A look at the repository; `settled` is the commit that need not be read.
fn look(checkout: &Checkout, reading: Reading<'_>, settled: Option<Oid>) -> Result<Look, SyncError> {
    let newest = checkout.newest()?;
    if settled == Some(newest) {
        return Ok(Look::Same);
    }
    match checkout.read(reading) {
        Ok((id, manifests)) => Ok(Look::Found(checkout.describe(id)?, manifests)),
        Err(SyncError::Remote(error)) => Err(error.into()),
        Err(error) => match checkout.describe(newest) {
            Ok(commit) => Ok(Look::Unusable(commit, error)),
            Err(_) => Err(error),
        },
    }
}

/// A failure and what to do about it.
fn told(failure: &Failure) -> String {
    match failure.hint_text() {
        Some(hint) => format!("{failure}\n{hint}"),
        None => failure.to_string(),
    }
}

/// Who wrote to the object last, besides us and those who write its status.
fn other_manager<'a>(object: &'a Value, ours: &str) -> Option<&'a str> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let others = entries.iter().filter(|entry| entry["manager"] != ours && entry["subresource"] != "status");
    others.max_by_key(|entry| entry["time"].as_str())?["manager"].as_str()
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

/// What a look found, once it has ended; never, where there is none.
async fn ended(looking: &mut Option<JoinHandle<Result<Look, SyncError>>>) -> Result<Look, SyncError> {
    match looking {
        Some(looking) => looking.await.unwrap_or_else(|error| Err(broken(&error))),
        None => std::future::pending().await,
    }
}

fn broken(error: &JoinError) -> SyncError {
    SyncError::Answer { what: "the repository".to_owned(), message: error.to_string() }
}
