//! The operator: follows a branch, and keeps the cluster as the branch says.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use git2::Oid;
use serde_json::Value;
use step::{Failure, Format, Io};
use tokio::time::Instant;

use crate::cluster::{Cluster, Resources};
use crate::error::SyncError;
use crate::health::{self, Health};
use crate::hook;
use crate::inventory;
use crate::manifest::{Identity, Manifest};
use crate::observe::{Observer, Seen};
use crate::report::{self, Change, Tally};
use crate::source::{Checkout, Release};
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

/// Changes come in groups; healing waits for the rest of one.
const QUIET: Duration = Duration::from_millis(50);
/// The longest pause after failures, and between two rounds of a fight.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// An object that was left alone for so long is no longer fought over.
const PEACE: Duration = Duration::from_mins(1);
/// So many rounds are healed at once; further ones after growing pauses.
const QUICK_ROUNDS: u32 = 3;

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

/// What a commit says.
struct Source {
    commit: Oid,
    manifests: Vec<Manifest>,
}

/// What the operator knows between two syncs.
#[derive(Default)]
struct Memory {
    /// What was tried out and applied last: healing goes back to it, also while the repository can't be read.
    source: Option<Source>,
    /// A commit that could not be synced, and when it is tried again.
    failed: Option<(Oid, Instant)>,
    failures: u32,
    /// A commit that was told of.
    told: Option<Oid>,
    observer: Option<Observer>,
    lists: Vec<String>,
    /// How each object's fields were ours after the last sync: what differs was changed by somebody.
    footprints: HashMap<Identity, Option<String>>,
    health: HashMap<Identity, Health>,
    /// Objects that differ now.
    drifted: HashSet<Identity>,
    fights: HashMap<Identity, Fight>,
    heal_at: Option<Instant>,
}

/// How often an object was changed again soon after it was healed.
#[derive(Default)]
struct Fight {
    rounds: u32,
    healed: Option<Instant>,
}

impl Fight {
    /// One more round; how long to wait before healing.
    fn another(&mut self, now: Instant) -> Duration {
        if self.healed.is_none_or(|healed| now > healed + PEACE) {
            self.rounds = 0;
        }
        self.rounds += 1;
        let pause = match self.rounds.checked_sub(QUICK_ROUNDS + 1) {
            None => QUIET,
            Some(beyond) => Duration::from_secs(1 << beyond.min(7)).min(LONGEST_PAUSE),
        };
        self.healed = Some(now + pause);
        pause
    }
}

/// Why the operator wakes up.
enum Wake {
    Look,
    Heal,
    Seen(Seen),
}

impl Operator {
    /// Follows until the process ends.
    pub async fn run(&self, io: &mut Io) -> Result<(), Failure> {
        let mut memory = Memory::default();
        let mut next_look = Instant::now();
        loop {
            let heal_at = memory.heal_at;
            let wake = tokio::select! {
                () = tokio::time::sleep_until(next_look) => Wake::Look,
                () = tokio::time::sleep_until(heal_at.unwrap_or(next_look)), if heal_at.is_some() => Wake::Heal,
                seen = next(&mut memory.observer) => Wake::Seen(seen),
            };
            match wake {
                Wake::Seen(seen) => self.notice(seen, &mut memory, io),
                Wake::Look => {
                    let pause = match self.look(&mut memory, io).await {
                        Ok(()) => self.behaviour.poll,
                        Err(failure) => {
                            // The objects stay as they are, and are healed; only the next look waits longer.
                            io.console.failure(&failure);
                            self.pause(&mut memory)
                        }
                    };
                    next_look = Instant::now() + pause;
                }
                Wake::Heal => {
                    memory.heal_at = None;
                    if let Err(failure) = self.heal(&mut memory, io).await {
                        io.console.failure(&failure);
                        memory.heal_at = Some(Instant::now() + self.pause(&mut memory));
                    }
                }
            }
        }
    }

    /// One more failure; how long to wait after it.
    fn pause(&self, memory: &mut Memory) -> Duration {
        memory.failures = (memory.failures + 1).min(8);
        (self.behaviour.poll.max(Duration::from_secs(1)) * 2_u32.pow(memory.failures - 1)).min(LONGEST_PAUSE)
    }

    /// Asks the repository for a new commit, and syncs it. A commit that fails is tried again after a pause, while a
    /// newer one goes through at once.
    async fn look(&self, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let checkout = self.checkout.clone();
        let newest = blocking(move || checkout.newest()).await?;
        match memory.failed {
            Some((failed, again)) if failed == newest && Instant::now() < again => return Ok(()),
            Some((failed, _)) if failed == newest => {}
            _ => {
                memory.failures = 0;
                if memory.source.as_ref().is_some_and(|source| source.commit == newest) {
                    memory.failed = None;
                    return Ok(());
                }
            }
        }
        if !self.behaviour.automated {
            if memory.told.replace(newest) != Some(newest) {
                let name = &self.application.name;
                io.console.note(format!("{name}: {newest} is not synced: --sync-policy is not automated"));
            }
            return Ok(());
        }
        match self.sync_newest(memory, io).await {
            Ok(()) => memory.failed = None,
            Err(failure) => {
                io.console.failure(&failure);
                memory.failed = Some((newest, Instant::now() + self.pause(memory)));
            }
        }
        Ok(())
    }

    async fn sync_newest(&self, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let (checkout, application) = (self.checkout.clone(), self.application.clone());
        let (commit, manifests) = blocking(move || {
            checkout.read(Release { name: &application.name, namespace: &application.namespace })
        })
        .await?;
        self.sync(Source { commit, manifests }, memory, io).await
    }

    /// Makes the objects again as the last good commit says.
    async fn heal(&self, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let Some(source) = &memory.source else { return Ok(()) };
        // Hooks run with a new commit only, as Argo CD has it.
        let members = source.manifests.iter().filter(|manifest| !hook::is_hook(&manifest.object));
        let source = Source { commit: source.commit, manifests: members.cloned().collect() };
        for object in &memory.drifted {
            io.console
                .note(format!("{}: {object} was changed in the cluster, healing", self.application.name));
        }
        self.sync(source, memory, io).await
    }

    /// Takes in what an event says of drift and of health.
    fn notice(&self, seen: Seen, memory: &mut Memory, io: &Io) {
        let name = &self.application.name;
        let (identity, object) = match seen {
            Seen::Lost(error @ SyncError::Refused { .. }) => {
                io.console.note(format!("{name}: what others change is not seen: {error}"));
                return;
            }
            Seen::Lost(error) => {
                io.console.detail(format!("{name}: a watch broke: {error}"));
                return;
            }
            Seen::Gone(identity) => (identity, None),
            Seen::Is(identity, object) => (identity, Some(object)),
        };
        let Some(expected) = memory.footprints.get(&identity) else { return };
        if let Some(object) = &object {
            let status = health::of(object);
            if memory.health.insert(identity.clone(), status.health) != Some(status.health) {
                io.console.note(format!("{name}: {identity} is {} {}", status.health, status.message));
            }
        }
        let manager = self.application.manager();
        if object.as_ref().is_some_and(|object| *expected == inventory::footprint(object, &manager)) {
            memory.drifted.remove(&identity);
            if memory.drifted.is_empty() {
                memory.heal_at = None;
            }
            return;
        }
        if !memory.drifted.insert(identity.clone()) {
            return;
        }
        if !self.behaviour.self_heal {
            io.console.note(format!("{name}: OutOfSync: {identity} was changed in the cluster"));
            return;
        }
        let now = Instant::now();
        let fight = memory.fights.entry(identity.clone()).or_default();
        let pause = fight.another(now);
        if fight.rounds > QUICK_ROUNDS {
            let by = object.as_ref().and_then(|object| other_manager(object, &manager)).unwrap_or("somebody");
            io.console.note(format!(
                "{name}: {identity} was changed by {by} for the {}th time soon after it was healed; next try in {} s",
                fight.rounds,
                pause.as_secs()
            ));
        }
        let at = now + pause;
        memory.heal_at = Some(memory.heal_at.map_or(at, |earlier| earlier.min(at)));
    }

    async fn sync(&self, source: Source, memory: &mut Memory, io: &mut Io) -> Result<(), Failure> {
        let begin = Instant::now();
        let commit = source.commit;
        let mut resources = Resources::default();
        let plan = self.application.plan(&self.cluster, &mut resources, source.manifests.clone()).await?;
        self.application.validate(&self.cluster, &plan).await?;
        memory.source = Some(source);
        let mut tally = Tally::default();
        let format = self.behaviour.format;
        let out = &mut io.out;
        memory.footprints = self
            .application
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
        memory.drifted.clear();
        let (lists, labels) = self.application.lists(&plan);
        if memory.observer.is_none() || memory.lists != lists {
            memory.observer = Some(Observer::start(&self.cluster, &lists, &labels));
            memory.lists = lists;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_slowed_down_and_forgotten() {
        let mut fight = Fight::default();
        let mut now = Instant::now();
        let pauses: Vec<u64> = (0..12)
            .map(|_| {
                let pause = fight.another(now);
                now += pause;
                pause.as_secs()
            })
            .collect();
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(fight.another(now + PEACE + Duration::from_secs(1)), QUIET);
    }
}
