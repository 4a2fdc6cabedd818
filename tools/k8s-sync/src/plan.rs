//! What a sync would do, found out without writing: what is wanted, how it stands in the cluster, what has to go.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::cluster::{CONCURRENCY, Cluster, Conflict, Resource, Resources};
use crate::error::SyncError;
use crate::fields;
use crate::health;
use crate::hook;
use crate::ignore::Ignored;
use crate::inventory::{self, PART_OF, Record, Scope};
use crate::manifest::{GroupKind, Identity, Manifest, annotation};
use crate::options::SyncOptions;
use crate::order::{self, Turn};
use crate::ownership::leave_to_controllers;
use crate::packed::Packed;
use crate::proof;
use crate::report::Change;
use crate::standing::Standing;
use crate::sync::Application;

/// From so many objects of a list on, the list is read rather than each object.
const MANY: usize = 8;

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
    pub path: String,
    /// Whether it is proved, or was seen, to be so already.
    pub proven: bool,
    /// A digest of all that was asked for.
    pub digest: String,
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
        if wanted.is_empty() && !self.allow_empty {
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
        let mut live = self.members(cluster, &kinds, &scope, &parent.id()).await?;
        // An object that is there and not yet a member is taken over, not created.
        let strangers: Vec<&Wanted> = wanted
            .iter()
            .filter(|object| !object.path.is_empty() && !live.contains_key(&object.identity))
            .collect();
        let found = self.strangers(cluster, &strangers).await?;
        live.extend(found.into_iter().map(|standing| (standing.identity(), standing)));
        refuse_what_others_have(&live, &parent.id())?;
        for wanted in &mut wanted {
            if let Some(standing) =
                live.get_mut(&wanted.identity).filter(|_| wanted.options.leave_client_side)
            {
                standing.client_side = false;
            }
            let standing = live.get(&wanted.identity);
            wanted.yielded = leave_to_controllers(wanted, standing);
            wanted.digest = proof::digest(&[&wanted.object.to_string(), &format!("{:?}", wanted.ignored)]);
            let Some(standing) = standing else { continue };
            wanted.proven = !self.paranoid
                && !standing.is_leaving()
                && standing.set() == Some(&parent.id())
                && record.as_ref().zip(standing.footprint.as_ref()).is_some_and(|(record, footprint)| {
                    let proof = proof::of(wanted, standing.uid(), footprint);
                    record.proofs.contains(&proof)
                });
        }
        let leaving = self.leaving(cluster, &kinds, &live, &wanted)?;
        // From here on, what was read off the objects is all that is asked of them.
        let nothing = Packed::default();
        for standing in live.values_mut() {
            standing.object = nothing.clone();
        }
        let defined = wanted.iter().filter_map(Wanted::defines).collect();
        let mut plan = Plan { wanted, hooks, live, leaving, scope, defined, record, namespace };
        self.ignore(cluster, &mut plan).await?;
        Ok(plan)
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
        let defined: HashMap<GroupKind, Value> = manifests
            .iter()
            .filter_map(|manifest| Some((manifest.defines()?, manifest.object.open())))
            .collect();
        for task in order::tasks(manifests, &self.namespace)? {
            let (manifest, hook, turn) = (task.manifest, task.hook, task.turn);
            let wrong = |problem: String| SyncError::Manifest { place: manifest.place.clone(), problem };
            let object = manifest.object.open();
            let options = self.options.of(&object).map_err(|error| wrong(error.to_string()))?;
            let (kind, version) = (manifest.kind(), manifest.api_version.as_str());
            let resource = match resources.find(cluster, version, &kind.kind).await? {
                Some(resource) => Some(resource),
                None => defined.get(kind).and_then(|definition| Resource::defined(definition, version)),
            };
            if resource.is_none() && !options.skip_dry_run {
                return Err(SyncError::UnknownKind {
                    place: manifest.place.clone(),
                    kind: kind.kind.clone(),
                    version: version.to_owned(),
                });
            }
            // Of a kind that is not known yet, most have namespaces.
            let namespaced = resource.as_ref().is_none_or(|resource| resource.namespaced);
            let mut object = self.settle(object, &manifest, namespaced);
            let mut digest = String::new();
            if hook {
                digest = proof::digest(&[&format!("{:?}", turn.phase), &object.to_string()]);
                hook::name(&mut object, turn.phase);
                inventory::label(&mut object, hook::HOOK_OF, id);
            } else {
                inventory::join(&mut object, id);
            }
            let identity = Identity::of(&object);
            if let Some(project) = &self.project {
                let namespaced = resource.as_ref().map(|resource| resource.namespaced);
                project.check(&identity, namespaced, cluster.names())?;
            }
            if !seen.insert((identity.clone(), hook.then_some(turn.phase))) {
                return Err(wrong(format!("{identity} is in the source twice")));
            }
            let path = resource.as_ref().map(|resource| resource.object(&identity.namespace, &identity.name));
            kinds.extend(resource.map(|resource| (kind.clone(), resource)));
            let path = path.unwrap_or_default();
            let ignored = Ignored::of(&identity, &object, &self.ignore)?;
            wanted.push(Wanted {
                identity,
                object: Packed::of(&object),
                api_version: version.into(),
                path,
                digest,
                ignored,
                turn,
                options,
                hook,
                ..Wanted::default()
            });
        }
        Ok(wanted)
    }

    /// The application's namespace, where `CreateNamespace` asks for it, the source does not have it, and it is not there
    /// or has other labels and annotations of ours.
    async fn own_namespace(
        &self,
        cluster: &Cluster,
        manifests: &[Manifest],
    ) -> Result<Option<Namespace>, SyncError> {
        let mut object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        let identity = Identity::of(&object);
        if !self.options.create_namespace || manifests.iter().any(|manifest| manifest.identity == identity) {
            return Ok(None);
        }
        if let Some(project) = &self.project {
            project.check(&identity, Some(false), cluster.names())?;
        }
        for (field, pairs) in &self.namespace_metadata {
            object["metadata"][field] = json!(pairs);
        }
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let change = match cluster.get(&path).await? {
            None => Change::Created,
            Some(live) => {
                let ours = inventory::entry(&live, &self.manager());
                let has = ours.map(|ours| fields::extract(&live, &ours["fieldsV1"])["metadata"].clone());
                let mut wanted = object["metadata"].clone();
                wanted.as_object_mut().map(|metadata| metadata.remove("name"));
                if has.unwrap_or_else(|| json!({})) == wanted {
                    return Ok(None);
                }
                Change::Configured
            }
        };
        Ok(Some(Namespace { identity, object, path, change }))
    }

    /// The manifest's object with its namespace.
    fn settle(&self, mut object: Value, manifest: &Manifest, namespaced: bool) -> Value {
        if namespaced {
            let namespace = manifest.namespace().unwrap_or(&self.namespace);
            object["metadata"]["namespace"] = Value::from(namespace);
        } else if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        object
    }

    /// The members of the ApplySet that the cluster has: from one list a kind.
    async fn members(
        &self,
        cluster: &Cluster,
        kinds: &HashMap<GroupKind, Resource>,
        scope: &Scope,
        id: &str,
    ) -> Result<HashMap<Identity, Standing>, SyncError> {
        let labels = format!("{PART_OF}={id}");
        let kinds = scope.kinds.iter().filter_map(|kind| Some((kind, kinds.get(kind)?)));
        let lists: Vec<_> =
            kinds.map(|(kind, resource)| self.members_of(cluster, kind, resource, scope, &labels)).collect();
        let members: Vec<Vec<(Identity, Standing)>> =
            stream::iter(lists).buffered(CONCURRENCY).try_collect().await?;
        Ok(members.into_iter().flatten().collect())
    }

    async fn members_of(
        &self,
        cluster: &Cluster,
        kind: &GroupKind,
        resource: &Resource,
        scope: &Scope,
        labels: &str,
    ) -> Result<Vec<(Identity, Standing)>, SyncError> {
        let namespaces: Vec<&str> = scope
            .namespaces
            .iter()
            .map(String::as_str)
            .filter(|namespace| resource.namespaced != namespace.is_empty())
            .collect();
        if let [only] = namespaces[..] {
            return self.list(cluster, kind, resource, only, labels).await;
        }
        match self.list(cluster, kind, resource, "", labels).await {
            // An account may be allowed to read its namespaces only.
            Err(SyncError::Refused { code: 403, .. }) => {}
            listed => {
                let inside = |member: &(Identity, Standing)| scope.namespaces.contains(&member.0.namespace);
                return Ok(listed?.into_iter().filter(inside).collect());
            }
        }
        let mut members = Vec::new();
        for namespace in namespaces {
            members.extend(self.list(cluster, kind, resource, namespace, labels).await?);
        }
        Ok(members)
    }

    /// Those of a list that carry the labels; none where the cluster does not know the kind.
    async fn list(
        &self,
        cluster: &Cluster,
        kind: &GroupKind,
        resource: &Resource,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<(Identity, Standing)>, SyncError> {
        let manager = self.manager();
        let mut found = Vec::new();
        let tell = |object: Value| {
            found.push((Identity::of(&object), Standing::of(object, &manager)));
        };
        let of = (resource.version.as_str(), kind.kind.as_str());
        match cluster.list_metadata(&resource.list(namespace), labels, of, tell).await {
            Ok(()) | Err(SyncError::Refused { code: 404, .. }) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// Wanted objects that are there without being members.
    async fn strangers(&self, cluster: &Cluster, wanted: &[&Wanted]) -> Result<Vec<Standing>, SyncError> {
        let manager = self.manager();
        let mut by_list: BTreeMap<&str, Vec<&Wanted>> = BTreeMap::new();
        for wanted in wanted {
            let list = wanted.path.rsplit_once('/').map_or("", |(list, _)| list);
            by_list.entry(list).or_default().push(wanted);
        }
        let mut found = Vec::new();
        let mut single = Vec::new();
        for (list, wanted) in by_list {
            if wanted.len() < MANY {
                single.extend(wanted);
                continue;
            }
            let names: HashSet<&str> = wanted.iter().map(|wanted| wanted.identity.name.as_str()).collect();
            let tell = |object: Value| {
                if object["metadata"]["name"].as_str().is_some_and(|name| names.contains(name)) {
                    found.push(Standing::of(object, &manager));
                }
            };
            match cluster.list_metadata(list, "", wanted[0].kind(), tell).await {
                Ok(()) => {}
                // An account may be allowed to read single objects only.
                Err(SyncError::Refused { code: 403 | 404, .. }) => single.extend(wanted),
                Err(error) => return Err(error),
            }
        }
        let looks = single.into_iter().map(|wanted| cluster.get_metadata(&wanted.path, wanted.kind()));
        let looked: Vec<Option<Value>> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        found.extend(looked.into_iter().flatten().map(|object| Standing::of(object, &manager)));
        Ok(found)
    }

    /// Members that Git no longer has, last kinds first; refused where they are too many.
    fn leaving(
        &self,
        cluster: &Cluster,
        kinds: &HashMap<GroupKind, Resource>,
        live: &HashMap<Identity, Standing>,
        wanted: &[Wanted],
    ) -> Result<Vec<Leaving>, SyncError> {
        if !self.prune {
            return Ok(Vec::new());
        }
        let id = self.parent().id();
        let is_owned = |member: &Standing| member.set() == Some(&id) && member.footprint.is_some();
        let owned = live.values().filter(|member| is_owned(member)).count();
        let staying: HashSet<&Identity> = wanted.iter().map(|wanted| &wanted.identity).collect();
        let mut leaving: Vec<Leaving> = live
            .iter()
            .filter(|(identity, _)| !staying.contains(identity))
            .filter(|(identity, member)| self.may_prune(member) && self.is_in_project(cluster, identity))
            .filter_map(|(identity, member)| {
                let path = kinds.get(&identity.kind)?.object(&identity.namespace, &identity.name);
                Some(Leaving { identity: identity.clone(), object: member.object.open(), path })
            })
            .collect();
        leaving.sort_by_key(|member| {
            let place = (order::wave(&member.object), order::rank(&member.identity.kind));
            (std::cmp::Reverse(place), member.identity.clone())
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

    fn is_in_project(&self, cluster: &Cluster, identity: &Identity) -> bool {
        let namespaced = Some(!identity.namespace.is_empty());
        self.project
            .as_ref()
            .is_none_or(|project| project.check(identity, namespaced, cluster.names()).is_ok())
    }

    /// Whether an object is a member by our own apply, and neither protected nor going already.
    pub(crate) fn may_prune(&self, member: &Standing) -> bool {
        member.footprint.is_some()
            && member.set() == Some(&self.parent().id())
            && !member.is_leaving()
            && self.options.of(&member.object.open()).is_ok_and(|options| !options.keep && !options.confirm)
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
    /// Whether the namespace comes with the plan itself.
    pub(crate) fn brings_namespace(&self, namespace: &str) -> bool {
        let own = self.namespace.iter().map(|own| &own.identity);
        self.wanted.iter().map(|wanted| &wanted.identity).chain(own).any(|brought| brings(brought, namespace))
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

/// Two applications that have the same object would undo and prune each other's work.
fn refuse_what_others_have(live: &HashMap<Identity, Standing>, id: &str) -> Result<(), SyncError> {
    for (identity, standing) in live {
        if let Some(set) = standing.set().filter(|set| *set != id) {
            return Err(SyncError::Shared { object: identity.to_string(), set: set.to_owned() });
        }
    }
    Ok(())
}
