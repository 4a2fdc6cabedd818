//! How the cluster has the application's objects: its members, and what is there without being one.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use serde_json::Value;

use super::Wanted;
use crate::cluster::{Cluster, Resource, at_once};
use crate::error::SyncError;
use crate::inventory::{PART_OF, Scope};
use crate::manifest::{GroupKind, Identity};
use crate::packed::Packed;
use crate::standing::Standing;
use crate::sync::Application;

/// From so many objects of a list on, the list is read rather than each object.
const MANY: usize = 8;

/// What is looked for: the objects that carry the ApplySet's label, in its scope.
struct Search<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    /// Selects the members.
    labels: String,
    /// The application's field manager, whose entries count.
    manager: String,
    /// What the desired set has too.
    staying: &'a HashSet<&'a Identity>,
}

impl Search<'_> {
    async fn of_kind(
        &self,
        kind: &GroupKind,
        resource: &Resource,
    ) -> Result<Vec<(Identity, Standing)>, SyncError> {
        let namespaces: Vec<&str> = self
            .scope
            .namespaces
            .iter()
            .map(String::as_str)
            .filter(|namespace| resource.namespaced != namespace.is_empty())
            .collect();
        if let [only] = namespaces[..] {
            return self.list(kind, resource, only).await;
        }
        match self.list(kind, resource, "").await {
            // An account may be allowed to read its namespaces only.
            Err(SyncError::Refused { code: 403, .. }) => {}
            listed => {
                let inside =
                    |member: &(Identity, Standing)| self.scope.namespaces.contains(&member.0.namespace);
                return Ok(listed?.into_iter().filter(inside).collect());
            }
        }
        let mut members = Vec::new();
        for namespace in namespaces {
            members.extend(self.list(kind, resource, namespace).await?);
        }
        Ok(members)
    }

    /// Those of a list that carry the labels; none where the cluster does not know the kind.
    async fn list(
        &self,
        kind: &GroupKind,
        resource: &Resource,
        namespace: &str,
    ) -> Result<Vec<(Identity, Standing)>, SyncError> {
        let (mut found, nothing) = (Vec::new(), Packed::default());
        let tell = |object: Value| {
            let identity = Identity::of(&object);
            let mut standing = Standing::of(object, &self.manager);
            let Some(staying) = self.staying.get(&identity) else { return found.push((identity, standing)) };
            standing.object = nothing.clone();
            found.push((Identity::clone(staying), standing));
        };
        let of = (resource.version.as_str(), kind.kind.as_str());
        match self.cluster.list_metadata(&resource.list(namespace), &self.labels, of, tell).await {
            Ok(()) | Err(SyncError::Refused { code: 404, .. }) => Ok(found),
            Err(error) => Err(error),
        }
    }
}

impl Application {
    /// The members of the ApplySet that the cluster has: from one list a kind. Of those that are staying, no more is kept
    /// than what is read off them: they may be very many.
    pub(super) async fn members(
        &self,
        cluster: &Cluster,
        kinds: &HashMap<GroupKind, Resource>,
        scope: &Scope,
        id: &str,
        staying: &HashSet<&Identity>,
    ) -> Result<HashMap<Identity, Standing>, SyncError> {
        let search =
            Search { cluster, scope, labels: format!("{PART_OF}={id}"), manager: self.manager(), staying };
        let kinds = scope.kinds.iter().filter_map(|kind| Some((kind, kinds.get(kind)?)));
        let lists: Vec<_> = kinds.map(|(kind, resource)| search.of_kind(kind, resource)).collect();
        let members: Vec<Vec<(Identity, Standing)>> = at_once(lists).try_collect().await?;
        Ok(members.into_iter().flatten().collect())
    }

    /// Wanted objects that are there without being members.
    pub(super) async fn strangers(
        &self,
        cluster: &Cluster,
        wanted: &[&Wanted],
    ) -> Result<Vec<Standing>, SyncError> {
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
        let looked: Vec<Option<Value>> = at_once(looks).try_collect().await?;
        found.extend(looked.into_iter().flatten().map(|object| Standing::of(object, &manager)));
        Ok(found)
    }
}

/// Two applications that have the same object would undo and prune each other's work.
pub(super) fn refuse_what_others_have(live: &HashMap<Identity, Standing>, id: &str) -> Result<(), SyncError> {
    for (identity, standing) in live {
        if let Some(set) = standing.set().filter(|set| *set != id) {
            return Err(SyncError::Shared { object: identity.to_string(), set: set.to_owned() });
        }
    }
    Ok(())
}
