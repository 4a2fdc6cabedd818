//! Where each manifest's object is in the API, and the namespace that the application has for its own.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Namespace, Wanted};
use crate::cluster::{Cluster, Resource, Resources};
use crate::error::SyncError;
use crate::fields;
use crate::hook;
use crate::ignore::Ignored;
use crate::inventory;
use crate::manifest::{GroupKind, Identity, Manifest};
use crate::order;
use crate::packed::Packed;
use crate::proof::Digest;
use crate::report::Change;
use crate::sync::Application;

impl Application {
    /// Where each manifest's object is in the API.
    pub(super) async fn locate(
        &self,
        cluster: &Cluster,
        resources: &mut Resources,
        manifests: Vec<Manifest>,
        id: &str,
        kinds: &mut HashMap<GroupKind, Resource>,
    ) -> Result<Vec<Wanted>, SyncError> {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(manifests.len());
        let mut seen = HashMap::with_capacity(manifests.len());
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
            let mut digest = Digest::default();
            if hook {
                digest = Digest::of(&[&format!("{:?}", turn.phase), &object.to_string()]);
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
            let which = (identity.clone(), hook.then_some(turn.phase));
            if let Some(first) = seen.insert(which, manifest.place.clone()) {
                return Err(wrong(format!("{identity} is in the source twice, in {first} too")));
            }
            let path = resource.as_ref().map(|resource| resource.object(&identity.namespace, &identity.name));
            kinds.extend(resource.map(|resource| (kind.clone(), resource)));
            let path = path.unwrap_or_default().into();
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
    pub(super) async fn own_namespace(
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
}
