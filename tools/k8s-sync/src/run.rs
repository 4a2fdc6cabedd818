//! A run that writes, as the inventory sees it: marked before the first write, recorded after the last.

use crate::admission::Admission;
use crate::altered::Altered;
use crate::cluster::{Apply, Cluster, Conflicts};
use crate::error::SyncError;
use crate::inventory::{Record, Scope};
use crate::plan::{Plan, Wanted};
use crate::proof::{self, Proofs};
use crate::sync::{Application, Brought};

/// One run's entries in the inventory.
pub(crate) struct Run<'a> {
    application: &'a Application,
    plan: &'a Plan,
    state: State,
    /// Whether no other run has written meanwhile: only then what we saw is how it is.
    alone: bool,
    proofs: Proofs,
    admission: Admission,
}

enum State {
    New,
    /// There is nothing to write.
    Idle,
    /// The parent is marked, and has this version since.
    Writing(String),
}

impl<'a> Run<'a> {
    pub(crate) fn new(application: &'a Application, plan: &'a Plan) -> Self {
        let alone = plan.record.as_ref().is_none_or(|record| record.run.is_none());
        let (proofs, admission) = (Proofs::default(), Admission::default());
        Self { application, plan, state: State::New, alone, proofs, admission }
    }

    /// Names in the inventory all kinds that are about to be written, and marks it.
    pub(crate) async fn begin(&mut self, cluster: &Cluster) -> Result<(), SyncError> {
        if !matches!(self.state, State::New) {
            return Ok(());
        }
        let known = self.plan.record.clone().unwrap_or_default();
        if self.plan.is_empty() && known.run.is_none() && known.scope == self.scope_to_keep() {
            self.state = State::Idle;
            return Ok(());
        }
        let proofs = self.plan.wanted.iter().filter(|wanted| wanted.proven).filter_map(|wanted| {
            let standing = self.plan.live.get(&wanted.identity)?;
            Some(proof::of(wanted, standing.uid(), standing.footprint?))
        });
        let mut marked = Record {
            scope: self.plan.scope.clone(),
            proofs: proofs.collect(),
            run: Some(mark()),
            version: known.version,
        };
        let version = match write(self.application, cluster, &marked).await {
            // Somebody was faster: another run of the same application is at work.
            Err(SyncError::Refused { code: 409, .. }) => {
                self.alone = false;
                marked.version.clear();
                write(self.application, cluster, &marked).await?
            }
            written => written?,
        };
        self.state = State::Writing(version);
        Ok(())
    }

    /// Keeps the proof of an object that is as wanted now.
    pub(crate) fn keep(&mut self, wanted: &Wanted, brought: &Brought) {
        if let Some(footprint) = brought.footprint.filter(|_| brought.yielded.is_empty()) {
            self.proofs.insert(proof::of(wanted, &brought.uid, footprint));
        }
    }

    /// Who may have made an object come out otherwise than it was asked for; none where nobody did, and the server
    /// itself writes it in other words.
    pub(crate) async fn blame(
        &mut self,
        cluster: &Cluster,
        wanted: &Wanted,
        altered: Altered,
    ) -> Option<Altered> {
        self.admission.explain(cluster, &wanted.path, &wanted.object.open(), altered).await
    }

    /// Records what is there now.
    pub(crate) async fn finish(mut self, cluster: &Cluster) -> Result<(), SyncError> {
        self.begin(cluster).await?;
        let State::Writing(version) = &self.state else { return Ok(()) };
        let scope = self.scope_to_keep();
        let mut record = Record { scope, version: version.clone(), ..Record::default() };
        if self.alone {
            record.proofs.clone_from(&self.proofs);
        }
        match write(self.application, cluster, &record).await {
            Err(SyncError::Refused { code: 409, .. }) => {
                record.proofs = Proofs::default();
                record.version.clear();
                // What the other run needs stays named.
                record.scope = self.plan.scope.clone();
                write(self.application, cluster, &record).await.map(drop)
            }
            written => written.map(drop),
        }
    }

    /// What the inventory has to name afterwards: without pruning, what Git no longer has stays in it.
    fn scope_to_keep(&self) -> Scope {
        if !self.application.prune {
            return self.plan.scope.clone();
        }
        let wanted = &self.plan.wanted;
        let own = [self.application.namespace.clone(), String::new()];
        Scope {
            kinds: wanted.iter().map(|object| object.identity.kind.clone()).collect(),
            namespaces: wanted.iter().map(|object| object.identity.namespace.clone()).chain(own).collect(),
        }
    }
}

/// Forgets what is proved: the objects go another way than this plan's.
pub(crate) async fn forget(
    application: &Application,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<(), SyncError> {
    let record = Record { scope: plan.scope.clone(), ..Record::default() };
    write(application, cluster, &record).await.map(drop)
}

async fn write(application: &Application, cluster: &Cluster, record: &Record) -> Result<String, SyncError> {
    let parent = application.parent();
    let manager = application.manager();
    let how = Apply { manager: &manager, conflicts: Conflicts::Force, dry_run: false };
    let written = cluster.apply(&parent.path(), &parent.object(record), how).await?;
    Ok(written["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
}

/// A mark that no other run has: two writes are never the same.
fn mark() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{}-{}", since.map(|time| time.as_nanos()).unwrap_or_default(), std::process::id())
}
