//! What has to go: members that Git no longer has, if they may, and if they are not too many.

use std::collections::{HashMap, HashSet};

use super::{Leaving, Wanted, brings};
use crate::cluster::{Cluster, Resource};
use crate::error::SyncError;
use crate::manifest::{GroupKind, Identity};
use crate::order;
use crate::report;
use crate::standing::Standing;
use crate::sync::Application;

impl Application {
    /// Members that Git no longer has and that may be pruned, last kinds first.
    pub(super) fn no_longer_wanted(
        &self,
        cluster: &Cluster,
        kinds: &HashMap<GroupKind, Resource>,
        live: &HashMap<Identity, Standing>,
        wanted: &[Wanted],
    ) -> Vec<Leaving> {
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
        leaving
    }

    /// Refuses to prune a namespace that is in use, or too much at once.
    pub(super) fn may_leave(
        &self,
        leaving: &[Leaving],
        live: &HashMap<Identity, Standing>,
        wanted: &[Wanted],
    ) -> Result<(), SyncError> {
        let id = self.parent().id();
        let is_owned = |member: &&Standing| member.set() == Some(&id) && member.footprint.is_some();
        let owned = live.values().filter(is_owned).count();
        let namespaces = wanted.iter().map(|object| object.identity.namespace.as_str());
        for needed in namespaces.chain([self.namespace.as_str()]) {
            if leaving.iter().any(|member| brings(&member.identity, needed)) {
                return Err(SyncError::NamespaceInUse(needed.to_owned()));
            }
        }
        // One object of two is half of them; renaming it must be possible.
        let negligible = usize::from(self.max_prune > 0);
        if leaving.len() > negligible && leaving.len() * 100 > owned * usize::from(self.max_prune) {
            let (pruned, allowed) = (leaving.len(), self.max_prune);
            let objects = report::first_of(leaving.iter().map(|leaving| &leaving.identity), ", ");
            return Err(SyncError::TooMuchPruned { objects, pruned, owned, allowed });
        }
        Ok(())
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
