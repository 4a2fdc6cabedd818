//! A plan carried out: phase by phase and wave by wave, each healthy before the next begins, hooks among them.

use std::cell::Cell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use step::Failure;

use crate::altered::Altered;
use crate::cluster::{Apply, Cluster, Conflict, Conflicts, Resources, at_once};
use crate::error::SyncError;
use crate::hook::{self, Deletion};
use crate::inventory::PART_OF;
use crate::manifest::Identity;
use crate::options::Propagation;
use crate::order::{self, Phase};
use crate::ownership::Purpose;
use crate::packed::Packed;
use crate::plan::{Leaving, Plan, Wanted, brings};
use crate::proof::Digest;
use crate::report::Change;
use crate::run::Run;
use crate::standing::Standing;
use crate::sync::{Application, Brought, Pruned};
use crate::wait;

/// What has come of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Each object's footprint, where it is ours.
    pub footprints: HashMap<Identity, Option<Digest>>,
    /// Fields that were left to others.
    pub yielded: Vec<(Identity, Conflict)>,
    /// Objects that came out otherwise than they were asked for: trying again at once would not help.
    pub altered: Vec<(Identity, Altered)>,
    /// Objects that are deleted and still there, each with the finalizers that keep it.
    pub staying: Vec<(Identity, Vec<String>)>,
}

/// A part of a sync after which everything in it is healthy.
pub(crate) struct Stage<'a> {
    /// The objects, step by step.
    pub(crate) members: Vec<&'a Wanted>,
    /// The hooks, which run when the objects are there.
    pub(crate) hooks: Vec<&'a Wanted>,
    /// What is pruned then.
    pub(crate) leaving: Vec<&'a Leaving>,
    /// What is pruned when all of it is healthy.
    pub(crate) leaving_last: Vec<&'a Leaving>,
    /// Whether something comes after it.
    goes_on: bool,
}

impl Application {
    /// The course of a sync that goes well.
    pub(crate) fn course<'a>(&self, plan: &'a Plan) -> Vec<Stage<'a>> {
        let mut tasks: Vec<&Wanted> = plan
            .wanted
            .iter()
            .chain(&plan.hooks)
            .filter(|wanted| wanted.turn.phase != Phase::SyncFail)
            .collect();
        tasks.sort_by_key(|wanted| (wanted.turn.step, wanted.hook));
        let mut stages: Vec<Stage<'_>> = Vec::new();
        let mut ends_sync = None;
        for tasks in tasks.chunk_by(|a, b| a.turn.stage == b.turn.stage) {
            if tasks[0].turn.phase <= Phase::Sync {
                ends_sync = Some(stages.len());
            }
            let (hooks, members) = tasks.iter().copied().partition(|task| task.hook);
            stages.push(Stage {
                members,
                hooks,
                leaving: Vec::new(),
                leaving_last: Vec::new(),
                goes_on: true,
            });
        }
        if ends_sync.is_none() && !plan.leaving.is_empty() {
            let empty = Stage {
                members: Vec::new(),
                hooks: Vec::new(),
                leaving: Vec::new(),
                leaving_last: Vec::new(),
                goes_on: true,
            };
            stages.insert(0, empty);
            ends_sync = Some(0);
        }
        if let Some(last) = ends_sync {
            (stages[last].leaving, stages[last].leaving_last) =
                plan.leaving.iter().partition(|leaving| !self.goes_last(leaving));
        }
        if let Some(last) = stages.last_mut() {
            last.goes_on = !last.leaving_last.is_empty();
        }
        stages
    }

    /// Carries the plan out, stage by stage; tells of each object as it is done.
    pub async fn carry_out(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        mut tell: impl FnMut(Change, &Identity) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let mut run = Run::new(self, plan);
        if let Some(own) = &plan.namespace {
            cluster.apply(&own.path, &own.object, firmly(&self.manager())).await?;
            tell(own.change, &own.identity)?;
        }
        let ended = self.run_stages(cluster, plan, &mut run, &mut outcome, &mut tell).await;
        if let Err(failure) = ended {
            let last: Vec<&Wanted> =
                plan.hooks.iter().filter(|hook| hook.turn.phase == Phase::SyncFail).collect();
            for stage in last.chunk_by(|a, b| a.turn.stage == b.turn.stage) {
                if let Err(second) = self.run_hooks(cluster, stage, &mut tell).await {
                    return Err(failure.context(format!("a SyncFail hook failed too: {second}")));
                }
            }
            return Err(failure);
        }
        run.finish(cluster).await?;
        Ok(outcome)
    }

    async fn run_stages(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        run: &mut Run<'_>,
        outcome: &mut Outcome,
        tell: &mut impl FnMut(Change, &Identity) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for stage in self.course(plan) {
            for step in stage.members.chunk_by(|a, b| a.turn.step == b.turn.step) {
                // Before anything is applied the inventory names its kinds, so that a run that is cut off forgets
                // nothing. Its own namespace may be part of the first step.
                if !step.iter().any(|object| brings(&object.identity, &self.namespace)) {
                    run.begin(cluster).await?;
                }
                self.bring_all(cluster, plan, step, run, outcome, tell).await?;
            }
            self.run_hooks(cluster, &stage.hooks, tell).await?;
            self.prune_all(cluster, &stage.leaving, outcome, tell).await?;
            if stage.goes_on {
                self.until_healthy(cluster, &stage.members, PART_OF).await?;
            }
            self.prune_all(cluster, &stage.leaving_last, outcome, tell).await?;
        }
        Ok(())
    }

    /// Brings the objects of a step, all at once.
    async fn bring_all(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        step: &[&Wanted],
        run: &mut Run<'_>,
        outcome: &mut Outcome,
        tell: &mut impl FnMut(Change, &Identity) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let failed = Cell::new(false);
        let ended = &failed;
        let comes = plan.brought_namespaces();
        let comes = &comes;
        let mut brought = pin!(at_once(step.iter().map(|wanted| async move {
            // After a failure nothing new begins, and what is under way ends: nobody is left to wonder.
            if ended.get() {
                return None;
            }
            let standing = plan.live.get(&wanted.identity);
            let result = if plan.brings_kind(wanted) {
                self.bring_when_known(cluster, standing, wanted).await
            } else if comes.contains(wanted.identity.namespace.as_str()) {
                self.bring(cluster, standing, wanted, Purpose::Untried).await
            } else {
                self.bring(cluster, standing, wanted, Purpose::Tried).await
            };
            ended.set(ended.get() || result.is_err());
            Some((*wanted, result))
        })));
        let mut failure = None;
        let mut otherwise = Vec::new();
        while let Some(next) = brought.next().await {
            let Some((wanted, result)) = next else { continue };
            match result {
                Ok(mut brought) => {
                    tell(brought.change, &wanted.identity)?;
                    let left = brought.yielded.iter();
                    let left = left.chain(wanted.yielded.iter().filter(|_| !wanted.proven));
                    outcome.yielded.extend(left.map(|conflict| (wanted.identity.clone(), conflict.clone())));
                    outcome.footprints.insert(wanted.identity.clone(), brought.footprint);
                    match brought.altered.take() {
                        Some(altered) => otherwise.push((wanted, brought, altered)),
                        None => run.keep(wanted, &brought),
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        // Not before: a request whose answer nobody takes has its turn, and asking who is to blame needs one.
        for (wanted, brought, altered) in otherwise {
            let altered = run.blame(cluster, wanted, altered).await;
            // What somebody changes is not as wanted, now or the next time.
            if altered.as_ref().is_none_or(|altered| altered.by.is_none()) {
                run.keep(wanted, &brought);
            }
            outcome.altered.extend(altered.map(|altered| (wanted.identity.clone(), altered)));
        }
        let definitions: Vec<&Wanted> =
            step.iter().copied().filter(|wanted| !wanted.proven && plan.uses(wanted)).collect();
        Ok(self.until_healthy(cluster, &definitions, PART_OF).await?)
    }

    /// Brings an object whose kind the server may only just be learning.
    async fn bring_when_known(
        &self,
        cluster: &Cluster,
        standing: Option<&Standing>,
        wanted: &Wanted,
    ) -> Result<Brought, SyncError> {
        let mut wanted = wanted.clone();
        let attempt = async {
            // An established kind is served a moment later, which no event tells.
            let mut looks = tokio::time::interval(std::time::Duration::from_millis(50));
            loop {
                looks.tick().await;
                if wanted.path.is_empty() && !self.find(cluster, &mut wanted).await? {
                    continue;
                }
                match self.bring(cluster, standing, &wanted, Purpose::Untried).await {
                    Err(SyncError::Refused { code: 404, .. }) => {}
                    brought => return brought,
                }
            }
        };
        match tokio::time::timeout(self.patience, attempt).await {
            Ok(brought) => brought,
            Err(_) => Err(SyncError::UnknownKind {
                place: wanted.identity.to_string(),
                kind: wanted.identity.kind.kind.clone(),
                version: wanted.kind().0.to_owned(),
            }),
        }
    }

    /// Finds out where an object is in the API, if its kind is known by now.
    async fn find(&self, cluster: &Cluster, wanted: &mut Wanted) -> Result<bool, SyncError> {
        let (version, kind) = wanted.kind();
        let Some(resource) = Resources::default().find(cluster, version, kind).await? else {
            return Ok(false);
        };
        if !resource.namespaced {
            let mut object = wanted.object.open();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
            wanted.object = Packed::of(&object);
        }
        wanted.path = resource.object(&wanted.identity.namespace, &wanted.identity.name).into();
        Ok(true)
    }

    /// Runs hooks to their end, kind by kind, and deletes those that are not to stay.
    async fn run_hooks(
        &self,
        cluster: &Cluster,
        hooks: &[&Wanted],
        tell: &mut impl FnMut(Change, &Identity) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for hook in hooks {
            let object = hook.object.open();
            let deletions = hook::deletions(&object);
            if deletions.contains(&Deletion::BeforeHookCreation) {
                self.remove(cluster, hook).await?;
            }
            cluster.apply(&hook.path, &object, firmly(&self.manager())).await?;
            tell(Change::Created, &hook.identity)?;
        }
        let ended = self.until_healthy(cluster, hooks, hook::HOOK_OF).await;
        let goes_when = if ended.is_ok() { Deletion::HookSucceeded } else { Deletion::HookFailed };
        for hook in hooks.iter().filter(|hook| hook::deletions(&hook.object.open()).contains(&goes_when)) {
            self.remove(cluster, hook).await?;
        }
        Ok(ended?)
    }

    /// Deletes an object that is to be made again, and waits until it is gone.
    pub(crate) async fn remove(&self, cluster: &Cluster, wanted: &Wanted) -> Result<(), SyncError> {
        let Some(live) = cluster.get(&wanted.path).await? else { return Ok(()) };
        cluster.delete_whatever(&wanted.path, &live, Propagation::Background).await?;
        wait::until_gone(cluster, &wanted.path, &wanted.identity, self.patience).await
    }

    async fn until_healthy(
        &self,
        cluster: &Cluster,
        objects: &[&Wanted],
        label: &str,
    ) -> Result<(), SyncError> {
        let waited_for: Vec<&Wanted> =
            objects.iter().copied().filter(|object| object.is_waited_for()).collect();
        if waited_for.is_empty() {
            return Ok(());
        }
        let objects = self.places(cluster, waited_for.into_iter()).await?;
        let labels = format!("{label}={}", self.parent().id());
        wait::until_healthy(cluster, &objects, &labels, self.patience).await
    }

    /// Which objects these are, and where: of some, the kind was not known when they were planned.
    pub(crate) async fn places<'a>(
        &self,
        cluster: &Cluster,
        objects: impl Iterator<Item = &'a Wanted>,
    ) -> Result<Vec<(Identity, Arc<str>)>, SyncError> {
        let mut places = Vec::new();
        for wanted in objects {
            if wanted.path.is_empty() {
                let mut wanted = wanted.clone();
                self.find(cluster, &mut wanted).await?;
                places.push((Identity::of(&wanted.object.open()), wanted.path));
            } else {
                places.push((wanted.identity.clone(), wanted.path.clone()));
            }
        }
        Ok(places)
    }

    fn goes_last(&self, leaving: &Leaving) -> bool {
        self.options.of(&leaving.object).is_ok_and(|options| options.prune_last)
    }

    /// Deletes what Git no longer has; what is of one kind may go at once.
    async fn prune_all(
        &self,
        cluster: &Cluster,
        leaving: &[&Leaving],
        outcome: &mut Outcome,
        tell: &mut impl FnMut(Change, &Identity) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let place = |leaving: &Leaving| (order::wave(&leaving.object), leaving.identity.kind.clone());
        for together in leaving.chunk_by(|a, b| place(a) == place(b)) {
            let mut pruned = pin!(at_once(
                together.iter().map(|leaving| async move { (*leaving, self.prune(cluster, leaving).await) }),
            ));
            // As with what is applied: what is under way ends, also after a failure.
            let mut failure = None;
            while let Some((leaving, result)) = pruned.next().await {
                match result {
                    Ok(Pruned::NotOurs) => {}
                    Ok(Pruned::Gone) => tell(Change::Pruned, &leaving.identity)?,
                    Ok(Pruned::Staying(finalizers)) => {
                        tell(Change::Pruned, &leaving.identity)?;
                        outcome.staying.push((leaving.identity.clone(), finalizers));
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// An apply of what is ours alone.
const fn firmly(manager: &str) -> Apply<'_> {
    Apply { manager, conflicts: Conflicts::Force, dry_run: false }
}
