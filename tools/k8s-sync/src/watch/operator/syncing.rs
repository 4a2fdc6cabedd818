//! A commit on its way into the cluster, and what is told of how it went.

use std::collections::BTreeSet;

use serde_json::json;
use step::Failure;
use tokio::time::Instant;

use super::healing::{Tracked, missing};
use super::{Memory, Operator, told};
use crate::cluster::{Resources, Shape};
use crate::health::{self, Health, Status};
use crate::manifest::Manifest;
use crate::observe::{Observer, Watched};
use crate::plan::Plan;
use crate::report::{Change, Tally};
use crate::source::Commit;
use crate::watch::board::{ObjectView, SyncRecord};
use crate::watch::events::Reason;
use crate::watch::journal::Level;

impl Operator {
    /// Syncs a commit; where a newer one comes before this one's objects are healthy, that one goes first.
    pub(super) async fn sync_or_newer(&self, commit: Commit, manifests: Vec<Manifest>, memory: &mut Memory) {
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
                self.journal.tell(Level::Note, "overtaken", &self.label, &message, fields);
                memory.next_look = Instant::now();
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
                    self.journal.object(&self.label, change, identity);
                }
                Ok(())
            })
            .await?;
        for (identity, footprint) in outcome.footprints {
            if let Some(tracked) = memory.objects.get_mut(&identity) {
                tracked.footprint = footprint;
            }
        }
        for (identity, altered) in outcome.altered {
            self.came_out_otherwise(&identity, altered, memory);
        }
        Ok(())
    }

    /// Shows the plan's objects, each as it was seen last.
    pub(super) fn show(&self, plan: &Plan) {
        self.board.update(&self.label, |view| {
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

    pub(super) fn observe(&self, plan: &Plan, memory: &mut Memory) {
        let (_, labels) = self.application.lists(plan);
        let lists = watched(plan);
        if memory.observer.is_none() || memory.lists != lists {
            memory.observer =
                Some(Observer::start(&self.cluster, &lists, &labels, &self.application.manager()));
            memory.lists = lists;
        }
    }

    fn synced(&self, commit: &Commit, begin: Instant, tally: Tally, memory: &mut Memory) {
        let name = &self.label;
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

    pub(super) fn failed(
        &self,
        commit: &Commit,
        failure: &Failure,
        begin: Instant,
        tally: Tally,
        memory: &mut Memory,
    ) {
        let name = &self.label;
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
}

/// Remembers the plan's objects as they are to be; what is there of them is not known yet.
pub(super) fn track(plan: &Plan, memory: &mut Memory) {
    let mut before = std::mem::take(&mut memory.objects);
    memory.changed.clear();
    memory.objects.extend(plan.wanted.iter().map(|wanted| {
        let fight = before.remove(&wanted.identity).map(|tracked| tracked.fight).unwrap_or_default();
        let (path, object, ignored) = (wanted.path.clone(), wanted.object.clone(), wanted.ignored.clone());
        let tracked = Tracked { path, object, ignored, footprint: None, fight, altered: false };
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
