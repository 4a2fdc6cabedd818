//! One of the clusters of a call, and what there is to do in it.

use step::{Failure, Format, Io};

use crate::cluster::{Cluster, Destination};
use crate::error::SyncError;
use crate::manifest::Identity;
use crate::plan::{Plan, Wanted};
use crate::report::{self, Change};
use crate::reports::Account;
use crate::rollback::Journal;
use crate::sync::Application;

/// A cluster, and what there is to do in it.
pub(super) struct Target {
    pub(super) destination: Destination,
    pub(super) cluster: Cluster,
    pub(super) application: Application,
    pub(super) plan: Plan,
    pub(super) commit: Option<String>,
    /// Whether it is one of several.
    pub(super) several: bool,
}

impl Target {
    /// What tells it from the others, if there are any.
    pub(super) fn name(&self) -> Option<String> {
        self.several.then(|| self.destination.to_string())
    }

    /// What went wrong, and in which of several clusters.
    pub(super) fn failed(&self, error: SyncError) -> Failure {
        placed(self.name(), error.into())
    }

    /// Labels by which the wanted objects are told from the others of their lists: none, where one is not there yet or is
    /// another's, who may bring it without them.
    pub(super) fn common_labels(&self) -> String {
        let (_, labels) = self.application.lists(&self.plan);
        let set = self.application.parent().id();
        let is_member = |object: &Wanted| {
            self.plan.live.get(&object.identity).is_some_and(|standing| standing.set() == Some(set.as_str()))
        };
        if self.plan.wanted.iter().all(is_member) { labels } else { String::new() }
    }

    /// Tells what the server has warned of.
    pub(super) fn warn(&self, io: &Io) {
        for warning in self.cluster.warnings() {
            io.console.warn(format!("the API server says: {warning}"));
        }
    }

    /// Says which of several clusters the following is about, and what is left there.
    pub(super) fn announce(&self, io: &Io) {
        if let Some(name) = self.name() {
            io.console.note(format!("{name}:"));
        }
        let left = &self.plan.left;
        if !left.is_empty() {
            let first = report::first_of(left.iter(), ", ");
            let what = if left.len() == 1 { "stays" } else { "stay" };
            io.console.note(format!("no longer in the source, {what} without --prune: {first}"));
        }
    }

    /// Tells of one object, at once: the next one may take its time.
    pub(super) fn tell(
        &self,
        change: Change,
        identity: &Identity,
        format: Format,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<(), Failure> {
        let cluster = self.name();
        account.add(cluster.as_deref().unwrap_or_default(), change, identity, None);
        report::object(&mut io.out, format, cluster.as_deref(), change, identity)?;
        io.out.flush()
    }
}

pub(super) fn requests(targets: &[Target]) -> u64 {
    targets.iter().map(|target| target.cluster.requests()).sum()
}

/// A failure in the cluster of this name.
pub(super) fn placed(cluster: Option<String>, failure: Failure) -> Failure {
    match cluster {
        Some(cluster) => failure.context(cluster),
        None => failure,
    }
}

/// Takes back what was changed; the failure that led to it, with what became of that.
pub(super) async fn roll_back(target: &Target, journal: &Journal, failure: Failure, io: &Io) -> Failure {
    let mut objects = 0_usize;
    target.announce(io);
    let place = target.name().map(|name| format!(" in {name}")).unwrap_or_default();
    let tell = |identity: &Identity| {
        objects += 1;
        io.console.note(format!("rolled back {identity}"));
    };
    match target.application.roll_back(&target.cluster, &target.plan, journal, tell).await {
        Ok(()) => failure.context(format!("rolled back {objects} objects{place}")),
        Err(error) => failure.context(format!("could not roll back everything{place} ({error})")),
    }
}
