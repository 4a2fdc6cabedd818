//! One sync: what was planned and tried out is applied in order, and what Git no longer has is pruned.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::altered::{self, Altered};
use crate::cluster::{Cluster, Conflict};
use crate::conflicts;
use crate::error::SyncError;
use crate::ignore::Rule;
use crate::inventory::{self, Parent};
use crate::options::{Propagation, SyncOptions};
use crate::ownership::Purpose;
use crate::plan::{Leaving, Plan, Wanted};
use crate::project::Project;
use crate::proof::Digest;
use crate::report::Change;
use crate::rollback::Journal;
use crate::standing::Standing;
use crate::wait;

/// How often an object that is to be pruned may change under our hands.
const PRUNE_ATTEMPTS: usize = 5;

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
    pub conflicts: conflicts::Policy,
    /// Whether the server tries out every object, whatever is proved.
    pub paranoid: bool,
    /// Differences that are not to be seen.
    pub ignore: Vec<Rule>,
    /// Where what is changed is kept as it was, if it may have to go back.
    pub journal: Option<Journal>,
    /// How objects are synced that say nothing themselves.
    pub options: SyncOptions,
    /// How long the objects of a wave, and a hook, may take to be healthy.
    pub patience: Duration,
    /// What it may bring, and where; anything, where there is none.
    pub project: Option<Project>,
    /// Labels and annotations of its namespace, where `CreateNamespace` makes that.
    pub namespace_metadata: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// Whether a source may be empty, so that everything is pruned.
    pub allow_empty: bool,
}

/// What became of an object, and what it says of our apply since.
#[derive(Debug)]
pub struct Brought {
    /// What became of it.
    pub change: Change,
    /// The object's uid.
    pub uid: String,
    /// Its footprint.
    pub footprint: Option<Digest>,
    /// Fields that were left to their managers.
    pub yielded: Vec<Conflict>,
    /// What came out otherwise than it was asked for.
    pub altered: Option<Altered>,
}

/// What became of an object that was to be pruned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pruned {
    /// It is gone, or goes when what depends on it has gone.
    Gone,
    /// It is being deleted, and somebody's finalizers keep it.
    Staying(Vec<String>),
    /// It is no longer what was read.
    NotOurs,
}

/// Finalizers by which the garbage collector waits for dependents (apimachinery's `meta/v1/types.go`).
const OF_GARBAGE_COLLECTION: [&str; 2] = ["foregroundDeletion", "orphan"];

impl Pruned {
    /// What the server says of an object that it has been told to delete.
    fn of(left: &Value) -> Self {
        let finalizers = left["metadata"]["finalizers"].as_array().into_iter().flatten();
        let names = finalizers.filter_map(|name| name.as_str());
        let others: Vec<String> =
            names.filter(|name| !OF_GARBAGE_COLLECTION.contains(name)).map(ToOwned::to_owned).collect();
        if others.is_empty() { Self::Gone } else { Self::Staying(others) }
    }
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

    /// Makes an object as it should be.
    pub(crate) async fn bring(
        &self,
        cluster: &Cluster,
        standing: Option<&Standing>,
        wanted: &Wanted,
        purpose: Purpose,
    ) -> Result<Brought, SyncError> {
        if let Some(standing) = standing.filter(|_| wanted.proven) {
            let (uid, footprint) = (standing.uid().to_owned(), standing.footprint);
            let (change, yielded) = (Change::Unchanged, Vec::new());
            return Ok(Brought { change, uid, footprint, yielded, altered: None });
        }
        if let Some(journal) = &self.journal {
            journal.keep(cluster, &wanted.path, wanted.kind()).await?;
        }
        let standing = match standing {
            // Whatever it is made now would go with it: it is made again.
            Some(leaving) if leaving.is_leaving() => {
                wait::until_gone(cluster, &wanted.path, &wanted.identity, self.patience).await?;
                None
            }
            standing => standing,
        };
        if standing.is_some_and(|standing| standing.client_side) {
            self.migrate(cluster, &wanted.path).await?;
        }
        if standing.is_some() && wanted.options.replace {
            if wanted.options.force {
                self.remove(cluster, wanted).await?;
            } else {
                cluster.replace(&wanted.path, &wanted.object.open(), &self.manager()).await?;
            }
        }
        let mut applied = match self.put(cluster, &wanted.path, wanted.object.open(), standing, purpose).await
        {
            Err(SyncError::Immutable { .. }) if wanted.options.force => {
                self.remove(cluster, wanted).await?;
                self.put(cluster, &wanted.path, wanted.object.open(), None, purpose).await?
            }
            applied => applied?,
        };
        // Somebody has deleted it since it was read, another run for one: what was applied goes with it.
        if !applied.object["metadata"]["deletionTimestamp"].is_null() {
            wait::until_gone(cluster, &wanted.path, &wanted.identity, self.patience).await?;
            applied = self.put(cluster, &wanted.path, wanted.object.open(), None, purpose).await?;
        }
        let (yielded, applied, mut asked) = (applied.yielded, applied.object, applied.asked);
        wanted.ignored.keep_live(&mut asked, &applied);
        let altered = altered::of(&asked, &applied, &self.manager());
        // A server-side apply that changes nothing leaves the resource version alone.
        let version = applied["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let change = match standing {
            None => Change::Created,
            Some(standing) if standing.version() == version => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        let uid = applied["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let footprint = inventory::footprint(&applied, &self.manager());
        Ok(Brought { change, uid, footprint, yielded, altered })
    }

    /// Deletes a member, or does not, where it is no longer what was read.
    ///
    /// Its status may have moved meanwhile: then it is read again, and goes if it still is the same member.
    pub(crate) async fn prune(&self, cluster: &Cluster, leaving: &Leaving) -> Result<Pruned, SyncError> {
        if let Some(journal) = &self.journal {
            journal.keep(cluster, &leaving.path, leaving.kind()).await?;
        }
        let manager = self.manager();
        // An annotation that is wrong has kept it from leaving.
        let said = self.options.of(&leaving.object).unwrap_or(self.options).propagation;
        let propagation = said.unwrap_or_else(|| Propagation::of_kind(&leaving.identity.kind));
        let mut object = leaving.object.clone();
        for _ in 0..PRUNE_ATTEMPTS {
            match cluster.delete(&leaving.path, &object, propagation).await {
                Err(SyncError::Refused { code: 409, .. }) => {}
                ended => return ended.map(|left| left.as_ref().map_or(Pruned::Gone, Pruned::of)),
            }
            match cluster.get_metadata(&leaving.path, leaving.kind()).await? {
                Some(now) if now["metadata"]["uid"] == leaving.object["metadata"]["uid"] => {
                    let standing = Standing::of(now, &manager);
                    if !self.may_prune(&standing) {
                        return Ok(Pruned::NotOurs);
                    }
                    object = standing.object.open();
                }
                _ => return Ok(Pruned::NotOurs),
            }
        }
        Err(SyncError::Unreachable(format!("{} changes too fast to be pruned", leaving.identity)))
    }
}
