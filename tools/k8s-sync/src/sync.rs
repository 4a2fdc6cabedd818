//! One sync: read what is there, try everything out, apply in order, prune what Git no longer has.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::cluster::{Apply, Cluster, Conflicts, Resource, Resources};
use crate::error::SyncError;
use crate::inventory::{self, PART_OF, Parent, Scope};
use crate::manifest::{GroupKind, Identity, Manifest, has_option};
use crate::order;
use crate::report::Change;

/// How often an object that is to be pruned may change under our hands.
const PRUNE_ATTEMPTS: usize = 5;
/// How many requests are under way at once.
const CONCURRENCY: usize = 16;

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
}

/// An object on its way into the cluster.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which.
    pub identity: Identity,
    /// As it should be.
    pub object: Value,
    /// Where it is in the API.
    pub path: String,
    step: usize,
}

/// What a sync would do, and to what.
#[derive(Debug)]
pub struct Plan {
    /// What Git has, in order.
    pub wanted: Vec<Wanted>,
    /// What the cluster has of it and of what Git had before.
    pub live: HashMap<Identity, Value>,
    /// What has to go, in the order of going.
    pub leaving: Vec<Leaving>,
    scope: Scope,
}

/// An object that Git no longer has.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Which.
    pub identity: Identity,
    /// As it is.
    pub object: Value,
    path: String,
}

impl Application {
    /// Who applies: managers of two applications never share a field.
    pub fn manager(&self) -> String {
        format!("k8s-sync/{}", self.name)
    }

    fn parent(&self) -> Parent {
        Parent::of(&self.name, &self.namespace)
    }

    /// Finds out what there is to do. Nothing is written.
    pub async fn plan(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        manifests: Vec<Manifest>,
    ) -> Result<Plan, SyncError> {
        let parent = self.parent();
        let mut wanted = self.locate(cluster, resources, manifests, &parent.id()).await?;
        if wanted.is_empty() {
            return Err(SyncError::EmptySource(self.name.clone()));
        }
        let scope = Scope {
            kinds: wanted.iter().map(|object| object.identity.kind.clone()).collect(),
            namespaces: wanted.iter().map(|object| object.identity.namespace.clone()).collect(),
        };
        let parent_path = config_map(&parent);
        let known = cluster.get(&parent_path).await?.map(|live| parent.scope(&live)).unwrap_or_default();
        let members = self.members(cluster, resources, &known.union(&scope), &parent.id()).await?;
        let mut live: HashMap<Identity, Value> =
            members.iter().map(|(object, _)| (Identity::of(object), object.clone())).collect();
        // An object that is there and not yet a member is taken over, not created.
        let strangers: Vec<&Wanted> =
            wanted.iter().filter(|object| !live.contains_key(&object.identity)).collect();
        let found: Vec<Option<Value>> =
            stream::iter(strangers.iter().map(|object| cluster.get(&object.path)))
                .buffered(CONCURRENCY)
                .try_collect()
                .await?;
        live.extend(found.into_iter().flatten().map(|object| (Identity::of(&object), object)));
        refuse_what_others_have(&live, &parent.id())?;
        for wanted in &mut wanted {
            if live.get(&wanted.identity).is_some_and(is_autoscaled)
                && let Some(spec) = wanted.object["spec"].as_object_mut()
            {
                spec.remove("replicas");
            }
        }
        let leaving = self.leaving(members, &wanted)?;
        Ok(Plan { wanted, live, leaving, scope: known.union(&scope) })
    }

    /// Where each manifest's object is in the API.
    async fn locate(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        manifests: Vec<Manifest>,
        id: &str,
    ) -> Result<Vec<Wanted>, SyncError> {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(manifests.len());
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
                if let Some(other) = wanted.iter().find(|other| other.identity == identity) {
                    let problem = format!("{} is in the source twice", other.identity);
                    return Err(SyncError::Manifest { place: manifest.place, problem });
                }
                let path = resource.object(&identity.namespace, &identity.name);
                wanted.push(Wanted { identity, object, path, step });
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

    /// The members of the ApplySet that the cluster has, and where they are.
    async fn members(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        scope: &Scope,
        id: &str,
    ) -> Result<Vec<(Value, Resource)>, SyncError> {
        let labels = format!("{PART_OF}={id}");
        let mut members = Vec::new();
        for kind in &scope.kinds {
            let Some(resource) = resources.find_kind(cluster, kind).await? else { continue };
            let namespaces: Vec<&str> = if resource.namespaced {
                scope
                    .namespaces
                    .iter()
                    .map(String::as_str)
                    .filter(|namespace| !namespace.is_empty())
                    .collect()
            } else {
                vec![""]
            };
            for namespace in namespaces {
                let listed = cluster.list(&resource.list(namespace), &labels).await?;
                members.extend(listed.items.into_iter().map(|object| (object, resource.clone())));
            }
        }
        Ok(members)
    }

    /// Members that Git no longer has, last kinds first; refused where they are too many.
    fn leaving(&self, members: Vec<(Value, Resource)>, wanted: &[Wanted]) -> Result<Vec<Leaving>, SyncError> {
        if !self.prune {
            return Ok(Vec::new());
        }
        let manager = self.manager();
        let members: Vec<_> =
            members.into_iter().filter(|(object, _)| inventory::entry(object, &manager).is_some()).collect();
        let owned = members.len();
        let mut leaving: Vec<Leaving> = members
            .into_iter()
            .map(|(object, resource)| {
                let identity = Identity::of(&object);
                let path = resource.object(&identity.namespace, &identity.name);
                Leaving { identity, object, path }
            })
            .filter(|member| !wanted.iter().any(|wanted| wanted.identity == member.identity))
            .filter(|member| self.may_prune(&member.object))
            .collect();
        leaving.sort_by_key(|member| {
            (std::cmp::Reverse(order::rank(&member.identity.kind)), member.identity.clone())
        });
        let namespaces = wanted.iter().map(|object| object.identity.namespace.as_str());
        for needed in namespaces.chain([self.namespace.as_str()]) {
            if leaving.iter().any(|member| brings(&member.identity, needed)) {
                return Err(SyncError::NamespaceInUse(needed.to_owned()));
            }
        }
        // One object of two is half of them; renaming it must be possible.
        let negligible = usize::from(self.max_prune > 0);
        if leaving.len() > negligible && leaving.len() * 100 > owned * usize::from(self.max_prune) {
            return Err(SyncError::TooMuchPruned { pruned: leaving.len(), owned, allowed: self.max_prune });
        }
        Ok(leaving)
    }

    /// The lists in which the application's objects are, and the label that marks them.
    pub fn lists(&self, plan: &Plan) -> (Vec<String>, String) {
        let folders = plan.wanted.iter().filter_map(|wanted| wanted.path.rsplit_once('/'));
        let mut lists: Vec<String> = folders.map(|(list, _)| list.to_owned()).collect();
        lists.sort();
        lists.dedup();
        (lists, format!("{PART_OF}={}", self.parent().id()))
    }

    /// Lets the server try out the whole plan; the objects as they would be.
    pub async fn rehearse(&self, cluster: &Cluster, plan: &Plan) -> Result<Vec<Option<Value>>, SyncError> {
        let manager = self.manager();
        let how = Apply { manager: &manager, conflicts: self.conflicts, dry_run: true };
        stream::iter(plan.wanted.iter().map(|wanted| async move {
            match cluster.apply(&wanted.path, &wanted.object, how).await {
                // Its namespace comes with the same plan.
                Err(SyncError::Refused { code: 404, .. })
                    if plan.brings_namespace(&wanted.identity.namespace) =>
                {
                    Ok(None)
                }
                tried => tried.map(Some),
            }
        }))
        .buffered(CONCURRENCY)
        .try_collect()
        .await
    }

    /// Deletes a member, or does not, where it is no longer what was read.
    ///
    /// Its status may have moved meanwhile: then it is read again, and goes if it still is the same member.
    async fn prune(&self, cluster: &Cluster, leaving: &Leaving) -> Result<bool, SyncError> {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let mut object = leaving.object.clone();
        for _ in 0..PRUNE_ATTEMPTS {
            match cluster.delete(&leaving.path, &object).await {
                Err(SyncError::Refused { code: 409, .. }) => {}
                ended => return ended.map(|()| true),
            }
            match cluster.get(&leaving.path).await? {
                Some(now) if uid(&now) == uid(&leaving.object) && self.may_prune(&now) => object = now,
                _ => return Ok(false),
            }
        }
        Err(SyncError::Unreachable(format!("{} changes too fast to be pruned", leaving.identity)))
    }

    /// Whether an object is a member by our own apply, and neither protected nor going already.
    fn may_prune(&self, object: &Value) -> bool {
        inventory::entry(object, &self.manager()).is_some()
            && inventory::membership(object) == Some(&self.parent().id())
            && !has_option(object, "Prune=false")
            && object["metadata"]["deletionTimestamp"].is_null()
    }

    /// Carries the plan out, step by step; tells of each object as it is done. Returns the objects' footprints.
    pub async fn carry_out(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        mut tell: impl FnMut(Change, &Identity) -> Result<(), step::Failure>,
    ) -> Result<HashMap<Identity, Option<String>>, step::Failure> {
        let manager = self.manager();
        let mut footprints = HashMap::with_capacity(plan.wanted.len());
        let how = Apply { manager: &manager, conflicts: self.conflicts, dry_run: false };
        let parent = self.parent();
        let own = config_map(&parent);
        let mut recorded = false;
        for step in plan.wanted.chunk_by(|a, b| a.step == b.step) {
            // Before anything is applied the inventory names its kinds, so that a run that is cut off forgets nothing.
            // Its own namespace may be part of the first step.
            if !recorded && !step.iter().any(|object| brings(&object.identity, &self.namespace)) {
                cluster.apply(&own, &parent.object(&plan.scope), how).await?;
                recorded = true;
            }
            let mut applied = stream::iter(step.iter().map(|object| async move {
                (object, cluster.apply(&object.path, &object.object, how).await)
            }))
            .buffered(CONCURRENCY);
            while let Some((object, result)) = applied.next().await {
                let result = result?;
                footprints.insert(object.identity.clone(), inventory::footprint(&result, &manager));
                tell(change(plan.live.get(&object.identity), &result), &object.identity)?;
            }
        }
        for leaving in &plan.leaving {
            if self.prune(cluster, leaving).await? {
                tell(Change::Pruned, &leaving.identity)?;
            }
        }
        let kinds: Vec<&GroupKind> = plan.wanted.iter().map(|object| &object.identity.kind).collect();
        let left = Scope {
            kinds: plan.scope.kinds.iter().filter(|kind| kinds.contains(kind)).cloned().collect(),
            namespaces: plan.wanted.iter().map(|object| object.identity.namespace.clone()).collect(),
        };
        // Without pruning, what Git no longer has stays in the inventory.
        let scope = if self.prune { &left } else { &plan.scope };
        cluster.apply(&own, &parent.object(scope), how).await?;
        Ok(footprints)
    }
}

impl Plan {
    fn brings_namespace(&self, namespace: &str) -> bool {
        self.wanted.iter().any(|wanted| brings(&wanted.identity, namespace))
    }
}

fn brings(identity: &Identity, namespace: &str) -> bool {
    identity.kind == GroupKind::parse("Namespace") && identity.name == namespace
}

/// Whether an autoscaler has set the number of replicas: fighting it would undo its work for ever.
fn is_autoscaled(object: &Value) -> bool {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().any(|entry| {
        entry["subresource"] == "scale"
            && entry["manager"] == "kube-controller-manager"
            && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
    })
}

/// Two applications that have the same object would undo and prune each other's work.
fn refuse_what_others_have(live: &HashMap<Identity, Value>, id: &str) -> Result<(), SyncError> {
    for (identity, object) in live {
        if let Some(set) = inventory::membership(object).filter(|set| *set != id) {
            return Err(SyncError::Shared { object: identity.to_string(), set: set.to_owned() });
        }
    }
    Ok(())
}

fn config_map(parent: &Parent) -> String {
    format!("/api/v1/namespaces/{}/configmaps/{}", parent.namespace, parent.name)
}

/// A server-side apply that changes nothing leaves the resource version alone.
fn change(live: Option<&Value>, applied: &Value) -> Change {
    match live {
        None => Change::Created,
        Some(live) if live["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"] => {
            Change::Unchanged
        }
        Some(_) => Change::Configured,
    }
}
