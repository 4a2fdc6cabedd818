//! What others change in the cluster: seen, and changed back or shown.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use step::Failure;
use tokio::time::Instant;

use super::{Memory, Operator};
use crate::admission::Admission;
use crate::altered::{self, Altered};
use crate::cluster::{Apply, Conflicts};
use crate::diff;
use crate::error::SyncError;
use crate::health::{Health, Status};
use crate::ignore::Ignored;
use crate::inventory;
use crate::manifest::Identity;
use crate::observe::Seen;
use crate::packed::Packed;
use crate::proof::Digest;
use crate::report::Change;
use crate::standing::Standing;
use crate::watch::board::{Drift, View};
use crate::watch::events::{Events, Reason};
use crate::watch::fight::Fight;
use crate::watch::journal::Level;

/// How many objects are healed at once.
const CONCURRENCY: usize = 16;

/// An object of the application, as it was applied last.
pub(super) struct Tracked {
    pub(super) path: Arc<str>,
    pub(super) object: Packed,
    /// What of it may be otherwise.
    pub(super) ignored: Ignored,
    /// What the object says of our last apply; not known where the sync has not ended well, or there was none.
    pub(super) footprint: Option<Digest>,
    pub(super) fight: Fight,
    /// Whether it comes out otherwise each time that it is applied.
    pub(super) altered: bool,
}

/// An object that looks changed.
pub(super) struct Changed {
    /// When the event came.
    pub(super) seen: Instant,
    /// When it is looked after.
    pub(super) due: Instant,
    /// Whether it was found to be changed, and only waits.
    pub(super) waits: bool,
    /// Whether it could not be read or healed, and waits for that.
    pub(super) failed: bool,
}

/// A watch that breaks is made anew at once; a cluster that is away for longer is told of.
const OUTAGE: Duration = Duration::from_secs(5);

impl Operator {
    /// A watch has broken, and could not be made anew.
    fn lose(&self, error: &SyncError, memory: &mut Memory) {
        let name = &self.label;
        let since = *memory.lost_since.get_or_insert_with(Instant::now);
        if since.elapsed() <= OUTAGE || self.board.read(|all| all.get(name).is_some_and(|view| view.cut_off))
        {
            let message = format!("a watch broke: {error}");
            return self.journal.tell(Level::Detail, "watch", name, &message, Value::Null);
        }
        self.board.update(name, |view| view.cut_off = true);
        let message =
            format!("what others change is not seen until the cluster can be reached again: {error}");
        self.journal.tell(Level::Warning, "watch", name, &message, Value::Null);
    }

    /// Takes in what an event says of drift and of health.
    pub(super) fn notice(&self, seen: Seen, memory: &mut Memory) {
        let name = &self.label;
        let (identity, sight) = match seen {
            Seen::Lost(error @ SyncError::Refused { .. }) => {
                let message = format!("what others change is not seen: {error}");
                return self.journal.tell(Level::Warning, "watch", name, &message, Value::Null);
            }
            Seen::Lost(error) => return self.lose(&error, memory),
            Seen::Gone(identity) => (identity, None),
            Seen::Is(identity, sight) => (identity, Some(sight)),
        };
        if memory.lost_since.take().is_some_and(|since| since.elapsed() > OUTAGE) {
            self.board.update(name, |view| view.cut_off = false);
            self.journal.tell(Level::Note, "watch", name, "the cluster is reached again", Value::Null);
        }
        let Some(tracked) = memory.objects.get(&identity) else { return };
        memory.stale = true;
        let (status, footprint) = match sight {
            Some(sight) => (sight.status, sight.footprint),
            None => (missing(), None),
        };
        let as_left = tracked.footprint.as_ref().map(|expected| footprint.as_ref() == Some(expected));
        let altered = tracked.altered;
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
        } else if !altered && (memory.changed.remove(&identity).is_some() || self.is_drifted(&identity)) {
            self.board.update(name, |view| view.drift(&identity, None));
        }
        self.board.metrics.queue(name, memory.changed.len());
    }

    fn is_drifted(&self, identity: &Identity) -> bool {
        let drifted = |view: &View| view.objects.get(identity).is_some_and(|object| object.drift.is_some());
        self.board.read(|all| all.get(&self.label).is_some_and(drifted))
    }

    fn see(&self, identity: &Identity, status: Status, events: &mut Events) {
        let name = &self.label;
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
    pub(super) async fn look_after(&self, memory: &mut Memory) {
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
        self.board.metrics.queue(&self.label, memory.changed.len());
    }

    #[expect(clippy::option_option, reason = "whether it is to be seen to, and whether it is there")]
    /// Whether an object was changed by somebody and is to be seen to now; then, what is there of it.
    fn judge(&self, identity: &Identity, live: Option<Value>, memory: &mut Memory) -> Option<Option<Value>> {
        let name = &self.label;
        let manager = self.application.manager();
        let tracked = memory.objects.get_mut(identity)?;
        let found = live.as_ref().and_then(|live| inventory::footprint(live, &manager));
        if live.is_some() && found == tracked.footprint && !tracked.altered {
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
        let name = &self.label;
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
                (identity, live.is_none(), by, object, applied)
            })
        }));
        let applied: Vec<_> = applied.buffered(CONCURRENCY).collect().await;
        let mut admission = Admission::default();
        for (identity, was_gone, by, object, applied) in applied {
            let now = match applied {
                Ok(now) => now,
                Err(error) => {
                    self.later(&identity, &error.into(), memory);
                    continue;
                }
            };
            let Some(tracked) = memory.objects.get_mut(&identity) else { continue };
            tracked.footprint = inventory::footprint(&now, &manager);
            tracked.altered = false;
            let altered = match altered::of(&object, &now, &manager) {
                Some(altered) => admission.explain(&self.cluster, &tracked.path, &object, altered).await,
                None => None,
            };
            if let Some(altered) = altered.filter(|altered| altered.by.is_some()) {
                self.came_out_otherwise(&identity, altered, memory);
                continue;
            }
            let change = if was_gone { Change::Created } else { Change::Configured };
            self.journal.object(name, change, &identity);
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

    /// An object that somebody changes on its way in is shown, and applied again only after a while.
    pub(super) fn came_out_otherwise(&self, identity: &Identity, altered: Altered, memory: &mut Memory) {
        let name = &self.label;
        let (told, now) = (altered.told(identity), Instant::now());
        let fields = json!({ "by": altered.by, "object": identity.to_string(), "fields": altered.fields });
        let Some(tracked) = memory.objects.get_mut(identity).filter(|_| altered.by.is_some()) else {
            return self.journal.tell(Level::Note, "altered", name, &told, fields);
        };
        tracked.altered = true;
        let mut message = told.clone();
        if self.behaviour.self_heal {
            let pause = tracked.fight.hopeless(now);
            let again = Changed { seen: now, due: now + pause, waits: true, failed: false };
            memory.changed.insert(identity.clone(), again);
            message = format!("{told}; next try in {} s", pause.as_secs());
        }
        self.journal.tell(Level::Warning, "fight", name, &message, fields);
        memory.events.record(Reason::Fight, &told);
        self.board.metrics.fight(name);
        let drift = Drift { by: altered.by, difference: altered.difference };
        self.board.update(name, |view| view.drift(identity, Some(drift)));
    }

    /// An object that could not be read or healed is tried again; one whose namespace is gone needs the whole commit.
    fn later(&self, identity: &Identity, failure: &Failure, memory: &mut Memory) {
        self.journal.failure(&self.label, failure);
        let pause = self.pause(memory);
        if let Some(changed) = memory.changed.get_mut(identity) {
            changed.due = Instant::now() + pause;
            changed.failed = true;
        }
        let said = failure.to_string();
        if said.contains("namespaces \"") && said.contains("\" not found") {
            memory.changed.remove(identity);
            memory.commit = None;
            memory.next_look = Instant::now();
        }
    }

    /// Shows how an object differs, where it is not changed back.
    async fn report(&self, identity: Identity, live: Option<&Value>, memory: &mut Memory) {
        let name = &self.label;
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

pub(super) fn missing() -> Status {
    Status { health: Health::Missing, message: "not in the cluster".to_owned() }
}

/// What happened to an object.
fn what_happened(is_there: bool, by: Option<&str>) -> String {
    if is_there { format!("was changed by {}", by.unwrap_or("somebody")) } else { "was deleted".to_owned() }
}

/// Who wrote to the object last, besides us and those who write its status.
fn other_manager<'a>(object: &'a Value, ours: &str) -> Option<&'a str> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let others = entries.iter().filter(|entry| entry["manager"] != ours && entry["subresource"] != "status");
    others.max_by_key(|entry| entry["time"].as_str())?["manager"].as_str()
}
