//! What a sync would do, found out without writing: what is wanted, how it stands in the cluster, what has to go.

mod leaving;
mod locate;
mod members;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::cluster::{Cluster, Conflict, Resources};
use crate::error::SyncError;
use crate::health;
use crate::ignore::Ignored;
use crate::inventory::{Record, Scope};
use crate::manifest::{GroupKind, Identity, Manifest, annotation};
use crate::options::SyncOptions;
use crate::order::{self, Turn};
use crate::ownership::leave_to_controllers;
use crate::packed::Packed;
use crate::proof::{self, Digest};
use crate::report::Change;
use crate::standing::Standing;
use crate::sync::Application;

/// An object on its way into the cluster.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which.
    pub identity: Identity,
    /// As it should be.
    pub object: Packed,
    /// Its apiVersion.
    pub api_version: Box<str>,
    /// Where it is in the API.
    pub path: Arc<str>,
    /// Whether it is proved, or was seen, to be so already.
    pub proven: bool,
    /// A digest of all that was asked for.
    pub digest: Digest,
    /// What of it may be otherwise.
    pub ignored: Ignored,
    /// When it is its turn.
    pub turn: Turn,
    /// How it is synced.
    pub options: SyncOptions,
    /// Whether it is a hook.
    pub hook: bool,
    /// Fields that are a controller's, and not asked for.
    pub yielded: Vec<Conflict>,
}

/// What a sync would do, and to what.
#[derive(Debug)]
pub struct Plan {
    /// What Git has, in order.
    pub wanted: Vec<Wanted>,
    /// What is run besides, in order.
    pub hooks: Vec<Wanted>,
    /// How the cluster has it, by what was read off the metadata.
    pub live: HashMap<Identity, Standing>,
    /// What has to go, in the order of going.
    pub leaving: Vec<Leaving>,
    /// What Git no longer has and stays, as nothing is to be pruned.
    pub left: Vec<Identity>,
    /// The kinds and namespaces of what is there and of what is wanted.
    pub(crate) scope: Scope,
    /// The kinds that it defines.
    pub(crate) defined: HashSet<GroupKind>,
    /// What the inventory says; none before the first sync.
    pub(crate) record: Option<Record>,
    /// The application's namespace, where it is to be made or marked.
    pub(crate) namespace: Option<Namespace>,
}

/// The application's namespace, which is no member of its set: nothing prunes it.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) identity: Identity,
    pub(crate) object: Value,
    pub(crate) path: String,
    pub(crate) change: Change,
}

/// An object that Git no longer has.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Which.
    pub identity: Identity,
    /// Its metadata.
    pub object: Value,
    pub(crate) path: String,
}

impl Application {
    /// Finds out what there is to do. Nothing is written.
    pub async fn plan(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        manifests: Vec<Manifest>,
    ) -> Result<Plan, SyncError> {
        let parent = self.parent();
        let mut kinds = HashMap::new();
        let namespace = self.own_namespace(cluster, &manifests).await?;
        let located = self.locate(cluster, resources, manifests, &parent.id(), &mut kinds).await?;
        let (hooks, mut wanted): (Vec<_>, Vec<_>) = located.into_iter().partition(|wanted| wanted.hook);
        let asked = Scope {
            kinds: wanted.iter().map(|object| object.identity.kind.clone()).collect(),
            namespaces: wanted.iter().map(|object| object.identity.namespace.clone()).collect(),
        };
        let record = match cluster.get(&parent.path()).await? {
            Some(live) => Some(parent.read(&live)?),
            None => None,
        };
        let scope = record.as_ref().map_or_else(|| asked.clone(), |record| record.scope.union(&asked));
        for kind in &scope.kinds {
            if !kinds.contains_key(kind)
                && let Some(resource) = resources.find_kind(cluster, kind).await?
            {
                kinds.insert(kind.clone(), resource);
            }
        }
        let staying = wanted.iter().map(|wanted| &wanted.identity).collect();
        let mut live = self.members(cluster, &kinds, &scope, &parent.id(), &staying).await?;
        // Hooks alone may run, where nothing would be pruned for them.
        if wanted.is_empty() && !self.allow_empty && (hooks.is_empty() || !live.is_empty()) {
            let besides = if hooks.is_empty() { "" } else { ", besides hooks," };
            return Err(SyncError::EmptySource(format!("the source of {}{besides}", self.name)));
        }
        // An object that is there and not yet a member is taken over, not created.
        let strangers: Vec<&Wanted> = wanted
            .iter()
            .filter(|object| !object.path.is_empty() && !live.contains_key(&object.identity))
            .collect();
        let found = self.strangers(cluster, &strangers).await?;
        live.extend(found.into_iter().map(|standing| (standing.identity(), standing)));
        members::refuse_what_others_have(&live, &parent.id())?;
        self.find_unscaled(cluster, &wanted, &mut live).await?;
        for wanted in &mut wanted {
            if let Some(standing) =
                live.get_mut(&wanted.identity).filter(|_| wanted.options.leave_client_side)
            {
                standing.client_side = false;
            }
            let standing = live.get(&wanted.identity);
            wanted.yielded = leave_to_controllers(wanted, standing);
            wanted.digest = Digest::of(&[&wanted.object.to_string(), &format!("{:?}", wanted.ignored)]);
            let Some(standing) = standing else { continue };
            wanted.proven = !self.paranoid
                && !standing.is_leaving()
                && standing.set() == Some(&parent.id())
                && record.as_ref().zip(standing.footprint).is_some_and(|(record, footprint)| {
                    let proof = proof::of(wanted, standing.uid(), footprint);
                    record.proofs.contains(proof)
                });
        }
        let mut leaving = self.no_longer_wanted(cluster, &kinds, &live, &wanted);
        let mut left = Vec::new();
        if self.prune {
            self.may_leave(&leaving, &live, &wanted)?;
        } else {
            left.extend(leaving.drain(..).map(|leaving| leaving.identity));
        }
        // From here on, what was read off the objects is all that is asked of them.
        let nothing = Packed::default();
        for standing in live.values_mut() {
            standing.object = nothing.clone();
        }
        let defined = wanted.iter().filter_map(Wanted::defines).collect();
        let mut plan = Plan { wanted, hooks, live, leaving, left, scope, defined, record, namespace };
        self.ignore(cluster, &mut plan).await?;
        Ok(plan)
    }
}

impl Wanted {
    /// Its apiVersion and kind.
    pub(crate) fn kind(&self) -> (&str, &str) {
        (&self.api_version, &self.identity.kind.kind)
    }

    /// The kind that it defines.
    fn defines(&self) -> Option<GroupKind> {
        let is_definition = self.identity.kind.kind == "CustomResourceDefinition";
        is_definition.then(|| order::defines(&self.object.open())).flatten()
    }

    /// Whether a sync has to wait for its health. Argo CD's annotation takes an object out of its application's.
    pub(crate) fn is_waited_for(&self) -> bool {
        let is_ignored =
            || annotation(&self.object.open(), "argocd.argoproj.io/ignore-healthcheck") == Some("true");
        self.hook || (health::can_be_lacking(&self.identity.kind) && !is_ignored())
    }
}

impl Plan {
    /// The namespaces that come with the plan itself.
    pub(crate) fn brought_namespaces(&self) -> HashSet<&str> {
        let own = self.namespace.iter().map(|own| &own.identity);
        let all = self.wanted.iter().map(|wanted| &wanted.identity).chain(own);
        all.filter(|identity| brings(identity, &identity.name))
            .map(|identity| identity.name.as_str())
            .collect()
    }

    /// Whether the kind comes with the plan itself, or may come.
    pub(crate) fn brings_kind(&self, wanted: &Wanted) -> bool {
        wanted.options.skip_dry_run || self.defined.contains(&wanted.identity.kind)
    }

    /// Whether objects of the kind that this one defines are wanted.
    pub(crate) fn uses(&self, definition: &Wanted) -> bool {
        definition.defines().is_some_and(|kind| {
            self.wanted.iter().chain(&self.hooks).any(|wanted| wanted.identity.kind == kind)
        })
    }

    /// Whether everything is proved to be as wanted, and the inventory says so.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.proven) && self.leaving.is_empty()
    }
}

pub(crate) fn brings(identity: &Identity, namespace: &str) -> bool {
    identity.kind.group.is_empty() && identity.kind.kind == "Namespace" && identity.name == namespace
}
