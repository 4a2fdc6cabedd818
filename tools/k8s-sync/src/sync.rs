//! One sync: what was planned and tried out is applied in order, and what Git no longer has is pruned.

use std::cell::Cell;
use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};

use crate::cluster::{Cluster, Conflict, Conflicts};
use crate::error::SyncError;
use crate::ignore::Rule;
use crate::inventory::{self, Parent};
use crate::manifest::Identity;
use crate::plan::{Leaving, Plan, Wanted, brings};
use crate::report::Change;
use crate::rollback::Journal;
use crate::run::Run;
use crate::standing::Standing;

/// How often an object that is to be pruned may change under our hands.
const PRUNE_ATTEMPTS: usize = 5;
/// How many requests are under way at once; a server that has enough says so (429), and is listened to.
pub(crate) const CONCURRENCY: usize = 32;

/// An application: a name, where its objects go by default, and how it is synced.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its name, which makes its field manager and its ApplySet its own.
    pub name: String,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Whether objects that Git no longer has are deleted.
    pub prune: bool,
    /// The most that may be pruned at once, in percent of what the application has.
    pub max_prune: u8,
    /// What becomes of fields that others own.
    pub conflicts: Conflicts,
    /// Whether the server tries out every object, whatever is proved.
    pub paranoid: bool,
    /// Differences that are not to be seen.
    pub ignore: Vec<Rule>,
    /// Whether what is not to be seen is not to be written either.
    pub respect_ignored: bool,
    /// Where what is changed is kept as it was, if it may have to go back.
    pub journal: Option<Journal>,
}

/// What became of an object, and what it says of our apply since.
#[derive(Debug)]
pub struct Brought {
    /// What became of it.
    pub change: Change,
    /// The object's uid.
    pub uid: String,
    /// Its footprint.
    pub footprint: Option<String>,
    /// Fields that were left to their managers.
    pub yielded: Vec<Conflict>,
}

impl Application {
    /// Who applies: managers of two applications never share a field.
    pub fn manager(&self) -> String {
        format!("k8s-sync/{}", self.name)
    }

    pub(crate) fn parent(&self) -> Parent {
        Parent::of(&self.name, &self.namespace)
    }

    /// The lists in which the application's objects are, and the label that marks them.
    pub fn lists(&self, plan: &Plan) -> (Vec<String>, String) {
        let folders = plan.wanted.iter().filter_map(|wanted| wanted.path.rsplit_once('/'));
        let mut lists: Vec<String> = folders.map(|(list, _)| list.to_owned()).collect();
        lists.sort();
        lists.dedup();
        (lists, format!("{}={}", inventory::PART_OF, self.parent().id()))
    }

    /// Carries the plan out, step by step; tells of each object as it is done. Returns the objects' footprints.
    pub async fn carry_out(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        mut tell: impl FnMut(Change, &Identity) -> Result<(), step::Failure>,
    ) -> Result<HashMap<Identity, Option<String>>, step::Failure> {
        let mut footprints = HashMap::with_capacity(plan.wanted.len());
        let mut run = Run::new(self, plan);
        for step in plan.wanted.chunk_by(|a, b| a.step == b.step) {
            // Before anything is applied the inventory names its kinds, so that a run that is cut off forgets nothing.
            // Its own namespace may be part of the first step.
            if !step.iter().any(|object| brings(&object.identity, &self.namespace)) {
                run.begin(cluster).await?;
            }
            let failed = Cell::new(false);
            let stop = &failed;
            let mut brought = stream::iter(step.iter().map(|wanted| async move {
                // After a failure nothing new begins, and what is under way ends: nobody is left to wonder.
                if stop.get() {
                    return None;
                }
                let result = self.bring(cluster, plan.live.get(&wanted.identity), wanted).await;
                stop.set(stop.get() || result.is_err());
                Some((wanted, result))
            }))
            .buffered(CONCURRENCY);
            let mut failure = None;
            while let Some(ended) = brought.next().await {
                let Some((wanted, result)) = ended else { continue };
                match result {
                    Ok(brought) => {
                        tell(brought.change, &wanted.identity)?;
                        run.keep(wanted, &brought);
                        footprints.insert(wanted.identity.clone(), brought.footprint);
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
        // What is of one kind may go at once.
        for leaving in plan.leaving.chunk_by(|a, b| a.identity.kind == b.identity.kind) {
            let mut pruned = stream::iter(
                leaving.iter().map(|leaving| async move { (leaving, self.prune(cluster, leaving).await) }),
            )
            .buffered(CONCURRENCY);
            while let Some((leaving, result)) = pruned.next().await {
                if result? {
                    tell(Change::Pruned, &leaving.identity)?;
                }
            }
        }
        run.finish(cluster).await?;
        Ok(footprints)
    }

    /// Makes an object as it should be.
    pub(crate) async fn bring(
        &self,
        cluster: &Cluster,
        standing: Option<&Standing>,
        wanted: &Wanted,
    ) -> Result<Brought, SyncError> {
        if let Some(standing) = standing.filter(|_| wanted.proven) {
            let (uid, footprint) = (standing.uid().to_owned(), standing.footprint.clone());
            return Ok(Brought { change: Change::Unchanged, uid, footprint, yielded: Vec::new() });
        }
        if let Some(journal) = &self.journal {
            journal.keep(cluster, &wanted.path, wanted.kind()).await?;
        }
        if standing.is_some_and(Standing::migrates) {
            self.migrate(cluster, &wanted.path).await?;
        }
        let applied = self.put(cluster, &wanted.path, &wanted.object, standing, false).await?;
        let (yielded, applied) = (applied.yielded, applied.object);
        // A server-side apply that changes nothing leaves the resource version alone.
        let version = &applied["metadata"]["resourceVersion"];
        let change = match standing {
            None => Change::Created,
            Some(standing) if standing.object["metadata"]["resourceVersion"] == *version => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        let uid = applied["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let footprint = inventory::footprint(&applied, &self.manager());
        Ok(Brought { change, uid, footprint, yielded })
    }

    /// Deletes a member, or does not, where it is no longer what was read.
    ///
    /// Its status may have moved meanwhile: then it is read again, and goes if it still is the same member.
    async fn prune(&self, cluster: &Cluster, leaving: &Leaving) -> Result<bool, SyncError> {
        if let Some(journal) = &self.journal {
            journal.keep(cluster, &leaving.path, leaving.kind()).await?;
        }
        let manager = self.manager();
        let mut object = leaving.object.clone();
        for _ in 0..PRUNE_ATTEMPTS {
            match cluster.delete(&leaving.path, &object).await {
                Err(SyncError::Refused { code: 409, .. }) => {}
                ended => return ended.map(|()| true),
            }
            match cluster.get_metadata(&leaving.path, leaving.kind()).await? {
                Some(now) if now["metadata"]["uid"] == leaving.object["metadata"]["uid"] => {
                    let standing = Standing::of(now, &manager);
                    if !self.may_prune(&standing) {
                        return Ok(false);
                    }
                    object = standing.object;
                }
                _ => return Ok(false),
            }
        }
        Err(SyncError::Unreachable(format!("{} changes too fast to be pruned", leaving.identity)))
    }
}
