//! Whose a field is: ours by server-side apply, another manager's, or one that client-side apply left behind.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::cluster::{Apply, Cluster, Conflict, Conflicts};
use crate::conflicts::Fate;
use crate::error::SyncError;
use crate::fields;
use crate::inventory;
use crate::manifest::{GroupKind, Identity};
use crate::packed::Packed;
use crate::plan::Wanted;
use crate::standing::{AUTOSCALER, LAST_APPLIED, Standing, is_client_side, is_client_side_manager};
use crate::sync::Application;

/// The field that autoscalers set.
const REPLICAS: &str = ".spec.replicas";

/// How often fields are yielded, or an object is read again that changes under our hands.
const ATTEMPTS: usize = 5;

/// What an apply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To see what would become of the object.
    Trial,
    /// To write what was tried out.
    Tried,
    /// To write what could not be tried out: its namespace or its kind comes with the same run.
    Untried,
}

/// What an apply came to.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The object since.
    pub(crate) object: Value,
    /// Fields that were left to their managers.
    pub(crate) yielded: Vec<Conflict>,
    /// What was asked for in the end.
    pub(crate) asked: Value,
}

impl Application {
    /// Applies an object, or tries it out, with the fields of others taken, left or refused as the user says.
    pub(crate) async fn put(
        &self,
        cluster: &Cluster,
        path: &str,
        object: Value,
        standing: Option<&Standing>,
        purpose: Purpose,
    ) -> Result<Applied, SyncError> {
        let manager = self.manager();
        let conflicts = if self.conflicts.takes_all() { Conflicts::Force } else { Conflicts::Fail };
        let mut how = Apply { manager: &manager, conflicts, dry_run: purpose == Purpose::Trial };
        let mut yielded = Vec::new();
        let mut object = object;
        for _ in 0..ATTEMPTS {
            let applied = match purpose {
                Purpose::Tried => cluster.apply_tried(path, &object, how).await,
                Purpose::Trial | Purpose::Untried => cluster.apply(path, &object, how).await,
            };
            let (what, conflicts) = match applied {
                Err(SyncError::Conflict { object, conflicts }) => (object, conflicts),
                applied => {
                    return applied.map(|applied| Applied { object: applied, yielded, asked: object });
                }
            };
            if is_left_behind(standing, &conflicts) {
                how.conflicts = Conflicts::Force;
                continue;
            }
            let of =
                |fate: Fate| conflicts.iter().filter(move |conflict| self.conflicts.fate(conflict) == fate);
            let refused: Vec<Conflict> = of(Fate::Refused).cloned().collect();
            if !refused.is_empty() {
                return Err(SyncError::Conflict { object: what, conflicts: refused });
            }
            let mut taken = true;
            for conflict in of(Fate::Left) {
                taken = false;
                if !fields::remove_named(&mut object, &conflict.field) {
                    return Err(SyncError::Conflict { object: what, conflicts: vec![conflict.clone()] });
                }
                yielded.push(conflict.clone());
            }
            if taken {
                how.conflicts = Conflicts::Force;
            }
        }
        Err(SyncError::Unreachable(format!("{path} has other owners each time it is applied")))
    }

    /// Finds the objects whose autoscaler is gone: the number of replicas that it left is Git's again. Only where some were
    /// scaled is the cluster asked for its autoscalers.
    pub(crate) async fn find_unscaled(
        &self,
        cluster: &Cluster,
        wanted: &[Wanted],
        live: &mut HashMap<Identity, Standing>,
    ) -> Result<(), SyncError> {
        let mut scaled: BTreeMap<&str, Vec<&Identity>> = BTreeMap::new();
        for Wanted { identity, object, .. } in wanted {
            let is_scaled = live.get(identity).is_some_and(|standing| standing.autoscaled);
            if is_scaled && !object.open()["spec"]["replicas"].is_null() {
                scaled.entry(&identity.namespace).or_default().push(identity);
            }
        }
        for (namespace, scaled) in scaled {
            let list = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers");
            let autoscalers = match cluster.list(&list, "").await {
                Ok(listed) => listed.items,
                // An account may not be allowed to look: then they may be there.
                Err(SyncError::Refused { code: 403 | 404, .. }) => continue,
                Err(error) => return Err(error),
            };
            for identity in scaled {
                if !autoscalers.iter().any(|autoscaler| is_its_target(identity, autoscaler))
                    && let Some(standing) = live.get_mut(identity)
                {
                    (standing.autoscaled, standing.unscaled) = (false, true);
                }
            }
        }
        Ok(())
    }

    /// Makes the fields that kubectl applied on the client side ours, so that those which Git no longer has go away, as
    /// `kubectl apply --server-side` does (client-go's csaupgrade). The copy of the manifest goes, too.
    pub(crate) async fn migrate(&self, cluster: &Cluster, path: &str) -> Result<(), SyncError> {
        let manager = self.manager();
        for _ in 0..ATTEMPTS {
            let Some(live) = cluster.get(path).await? else { return Ok(()) };
            let Some(operations) = migration(&live, &manager) else { return Ok(()) };
            match cluster.patch(path, &operations, &manager).await {
                Err(SyncError::Refused { code: 409, .. }) => {}
                patched => return patched.map(drop),
            }
        }
        Err(SyncError::Unreachable(format!("{path} changes too fast to be migrated")))
    }
}

impl Application {
    /// What [`Self::migrate`] and an apply would make of an object, of which a dry run shows the apply alone: the fields of
    /// client-side apply that Git no longer has go away, and the server gives them their defaults.
    pub(crate) async fn without_left_behind(
        &self,
        cluster: &Cluster,
        path: &str,
        live: &Value,
        would_be: Value,
    ) -> Result<Value, SyncError> {
        let manager = self.manager();
        let lost = left_behind(live, &would_be, &manager);
        let mut object = would_be;
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.shift_remove(LAST_APPLIED);
        }
        if lost.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(object);
        }
        fields::remove(&mut object, &lost);
        for _ in 0..ATTEMPTS {
            match cluster.try_to_replace(path, &object, &manager).await {
                // A controller was faster, mostly with the status.
                Err(SyncError::Refused { code: 409, .. }) => {
                    let Some(now) = cluster.get(path).await? else { break };
                    object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
                }
                // It is shown as it was computed.
                Err(SyncError::Refused { .. } | SyncError::Immutable { .. }) => break,
                tried => return tried,
            }
        }
        Ok(object)
    }
}

/// The fields of client-side apply that would be nobody's after an apply of ours.
fn left_behind(live: &Value, would_be: &Value, manager: &str) -> Value {
    let entries =
        |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let (old, others): (Vec<Value>, Vec<Value>) = entries(live).into_iter().partition(is_client_side);
    let mut lost = json!({});
    for entry in &old {
        fields::union(&mut lost, &entry["fieldsV1"]);
    }
    for entry in &others {
        lost = fields::difference(&lost, &entry["fieldsV1"]);
    }
    match inventory::entry(would_be, manager) {
        Some(ours) => fields::difference(&lost, &ours["fieldsV1"]),
        None => lost,
    }
}

/// Takes out what a controller of Kubernetes keeps filling in: the replicas that an autoscaler has set, and the rules of a
/// `ClusterRole` that is put together of others. Returns which fields, and whose they are.
pub(crate) fn leave_to_controllers(wanted: &mut Wanted, standing: Option<&Standing>) -> Vec<Conflict> {
    let mut left = Vec::new();
    let autoscaled = standing.is_some_and(|standing| standing.autoscaled);
    if !autoscaled && wanted.identity.kind.kind != "ClusterRole" {
        return left;
    }
    let mut object = wanted.object.open();
    let mut leave = |field: &str, manager: &str| {
        left.push(Conflict { field: field.to_owned(), manager: manager.to_owned() });
    };
    if autoscaled
        && let Some(spec) = object["spec"].as_object_mut()
        && spec.shift_remove("replicas").is_some()
    {
        leave(REPLICAS, "the autoscaler");
    }
    if object["kind"] == "ClusterRole"
        && !object["aggregationRule"].is_null()
        && let Some(fields) = object.as_object_mut()
        && fields
            .shift_remove("rules")
            .is_some_and(|rules| rules.as_array().is_some_and(|rules| !rules.is_empty()))
    {
        leave(".rules", "the aggregation");
    }
    wanted.object = Packed::of(&object);
    left
}

/// Whether the fields are those of client-side apply, or of an autoscaler that is gone: they become ours when the object is
/// written.
fn is_left_behind(standing: Option<&Standing>, conflicts: &[Conflict]) -> bool {
    standing.is_some_and(|standing| {
        conflicts.iter().all(|Conflict { field, manager }| {
            (standing.client_side && is_client_side_manager(manager))
                || (standing.unscaled && field == REPLICAS && manager == AUTOSCALER)
        })
    })
}

/// Whether an autoscaler scales an object of its namespace.
fn is_its_target(identity: &Identity, autoscaler: &Value) -> bool {
    let target = &autoscaler["spec"]["scaleTargetRef"];
    GroupKind::of(target) == identity.kind && target["name"] == identity.name.as_str()
}

/// The JSON patch that turns the entries of client-side apply into ours; none where there are none.
fn migration(live: &Value, manager: &str) -> Option<Value> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let (old, mut kept): (Vec<Value>, Vec<Value>) = entries.iter().cloned().partition(is_client_side);
    let newest = old.last()?;
    let mut ours = inventory::entry(live, manager).cloned().unwrap_or_else(|| {
        json!({"manager": manager, "operation": "Apply", "apiVersion": newest["apiVersion"], "time": newest["time"],
            "fieldsType": "FieldsV1", "fieldsV1": {}})
    });
    kept.retain(|entry| inventory::entry(live, manager) != Some(entry));
    for entry in &old {
        fields::union(&mut ours["fieldsV1"], &entry["fieldsV1"]);
    }
    // Not a field of the manifest's; removing it by hand keeps a later apply from owning it.
    if let Some(owned) = ours["fieldsV1"]["f:metadata"]["f:annotations"].as_object_mut() {
        owned.shift_remove(&format!("f:{LAST_APPLIED}"));
    }
    kept.push(ours);
    let mut operations = vec![
        json!({"op": "replace", "path": "/metadata/managedFields", "value": kept}),
        // The server refuses the patch (409) if the object has changed since.
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}),
    ];
    if live["metadata"]["annotations"][LAST_APPLIED].is_string() {
        let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
        operations.push(json!({"op": "remove", "path": path}));
    }
    Some(Value::Array(operations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_client_side_apply_become_ours() {
        let of = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": "t", "fieldsV1": fields});
        let theirs = of("them", "Update", json!({"f:x": {}}));
        let annotations = json!({"f:annotations": {format!("f:{LAST_APPLIED}"): {}, "f:a": {}}});
        let kubectl = of(
            "kubectl-client-side-apply",
            "Update",
            json!({"f:data": {"f:a": {}}, "f:metadata": annotations}),
        );
        let us = of("us", "Apply", json!({"f:data": {"f:b": {}}}));
        let live = json!({"metadata": {"resourceVersion": "7", "annotations": {LAST_APPLIED: "{}"}, "managedFields": [theirs, kubectl, us]}});
        let patch = migration(&live, "us").unwrap();
        assert_eq!(patch[0]["value"][0], theirs);
        let ours = json!({"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:annotations": {"f:a": {}}}});
        assert_eq!((&patch[0]["value"][1]["fieldsV1"], &patch[0]["value"][2]), (&ours, &Value::Null));
        assert_eq!(
            patch[2]["path"],
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"
        );
        assert_eq!(migration(&json!({"metadata": {"managedFields": [theirs]}}), "us"), None);
    }
}
