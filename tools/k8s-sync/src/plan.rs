//! What a sync would do, found out without writing: what is wanted, how it stands in the cluster, what has to go.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::cluster::{Cluster, Resource, Resources};
use crate::error::SyncError;
use crate::inventory::{self, PART_OF, Parent, Record, Scope};
use crate::manifest::{GroupKind, Identity, Manifest, has_option};
use crate::order;
use crate::proof;
use crate::standing::Standing;
use crate::sync::{Application, CONCURRENCY};

/// From so many objects of a list on, the list is read rather than each object.
const MANY: usize = 8;

/// An object on its way into the cluster.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which.
    pub identity: Identity,
    /// As it should be.
    pub object: Value,
    /// Where it is in the API.
    pub path: String,
    /// Whether it is proved to be so already.
    pub proven: bool,
    pub(crate) step: usize,
}

/// What a sync would do, and to what.
#[derive(Debug)]
pub struct Plan {
    /// What Git has, in order.
    pub wanted: Vec<Wanted>,
    /// How the cluster has it.
    pub live: HashMap<Identity, Standing>,
    /// What has to go, in the order of going.
    pub leaving: Vec<Leaving>,
    /// The kinds and namespaces of what is there and of what is wanted.
    pub(crate) scope: Scope,
    /// What the inventory says; none before the first sync.
    pub(crate) record: Option<Record>,
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
        let mut wanted = self.locate(cluster, resources, manifests, &parent.id(), &mut kinds).await?;
        if wanted.is_empty() {
            return Err(SyncError::EmptySource(self.name.clone()));
        }
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
        let members = self.members(cluster, &kinds, &scope, &parent).await?;
        let mut live: HashMap<Identity, Standing> =
            members.iter().map(|(standing, _)| (standing.identity(), standing.clone())).collect();
        // An object that is there and not yet a member is taken over, not created.
        let strangers: Vec<&Wanted> =
            wanted.iter().filter(|object| !live.contains_key(&object.identity)).collect();
        let found = self.strangers(cluster, &strangers).await?;
        live.extend(found.into_iter().map(|standing| (standing.identity(), standing)));
        refuse_what_others_have(&live, &parent.id())?;
        for wanted in &mut wanted {
            let Some(standing) = live.get(&wanted.identity) else { continue };
            if standing.autoscaled
                && let Some(spec) = wanted.object["spec"].as_object_mut()
            {
                spec.remove("replicas");
            }
            wanted.proven = !self.paranoid
                && standing.set() == Some(&parent.id())
                && record.as_ref().zip(standing.footprint.as_ref()).is_some_and(|(record, footprint)| {
                    let proof = proof::of(&wanted.identity, &wanted.object, standing.uid(), footprint);
                    record.proofs.contains(&proof)
                });
        }
        let leaving = self.leaving(members, &wanted)?;
        Ok(Plan { wanted, live, leaving, scope, record })
    }

    /// Where each manifest's object is in the API.
    async fn locate(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        manifests: Vec<Manifest>,
        id: &str,
        kinds: &mut HashMap<GroupKind, Resource>,
    ) -> Result<Vec<Wanted>, SyncError> {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(manifests.len());
        let mut seen = HashSet::with_capacity(manifests.len());
        for (step, manifests) in order::steps(manifests).into_iter().enumerate() {
            for manifest in manifests {
                match manifest.annotation("argocd.argoproj.io/hook").map(str::trim) {
                    Some("Skip") => continue,
                    Some(hook) => {
                        return Err(SyncError::Hook { place: manifest.place.clone(), hook: hook.to_owned() });
                    }
                    None => {}
                }
                let kind = manifest.kind();
                let resource = resources
                    .find(cluster, manifest.api_version(), &kind.kind)
                    .await?
                    .ok_or_else(|| SyncError::UnknownKind {
                        place: manifest.place.clone(),
                        kind: kind.kind.clone(),
                        version: manifest.api_version().to_owned(),
                    })?;
                let object = self.settle(&manifest, &resource, id);
                let identity = Identity::of(&object);
                if !seen.insert(identity.clone()) {
                    let problem = format!("{identity} is in the source twice");
                    return Err(SyncError::Manifest { place: manifest.place, problem });
                }
                let path = resource.object(&identity.namespace, &identity.name);
                kinds.insert(kind, resource);
                wanted.push(Wanted { identity, object, path, proven: false, step });
            }
        }
        Ok(wanted)
    }

    /// The manifest's object with its namespace and its membership.
    fn settle(&self, manifest: &Manifest, resource: &Resource, id: &str) -> Value {
        let mut object = manifest.object.clone();
        if resource.namespaced {
            let namespace = manifest.namespace().unwrap_or(&self.namespace);
            object["metadata"]["namespace"] = Value::from(namespace);
        } else if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        inventory::join(&mut object, id);
        object
    }

    /// The members of the ApplySet that the cluster has, and where they are: from one list a kind.
    async fn members(
        &self,
        cluster: &Cluster,
        kinds: &HashMap<GroupKind, Resource>,
        scope: &Scope,
        parent: &Parent,
    ) -> Result<Vec<(Standing, Resource)>, SyncError> {
        let labels = format!("{PART_OF}={}", parent.id());
        let kinds = scope.kinds.iter().filter_map(|kind| Some((kind, kinds.get(kind)?)));
        let lists = kinds.map(|(kind, resource)| self.members_of(cluster, kind, resource, scope, &labels));
        let members: Vec<Vec<Standing>> =
            stream::iter(lists.map(|list| list.boxed())).buffered(CONCURRENCY).try_collect().await?;
        let resources = scope.kinds.iter().filter_map(|kind| kinds_resource(kind));
        Ok(members
            .into_iter()
            .zip(resources)
            .flat_map(|(members, resource)| members.into_iter().map(move |member| (member, resource.clone())))
            .collect())
    }
}
