//! How an object stands in the cluster, as far as its metadata tells.

use serde_json::Value;

use crate::inventory;
use crate::manifest::Identity;
use crate::packed::Packed;
use crate::proof::Digest;

/// Where client-side apply keeps the whole manifest once more.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who scales for a `HorizontalPodAutoscaler`.
pub const AUTOSCALER: &str = "kube-controller-manager";

/// Who has the fields of objects that kubectl applied without the server's help, or that were there before.
const CLIENT_SIDE: [&str; 2] = ["kubectl-client-side-apply", "before-first-apply"];

/// An object without its content.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a sight of its own")]
pub struct Standing {
    /// Its apiVersion, kind and metadata; who owns which field is left out, being longer than all the rest.
    pub object: Packed,
    uid: Box<str>,
    version: Box<str>,
    set: Option<Box<str>>,
    is_leaving: bool,
    /// What it says of our last apply; none where we never applied it.
    pub footprint: Option<Digest>,
    /// Whether an autoscaler has set the number of replicas: fighting it would undo its work for ever.
    pub autoscaled: bool,
    /// Whether that autoscaler is gone, so that the number it left is nobody's.
    pub unscaled: bool,
    /// Whether kubectl applied it on the client side, which leaves fields that nobody would ever take away: they
    /// become ours.
    pub client_side: bool,
}

impl Standing {
    /// Reads the metadata, with `manager` being us.
    pub fn of(mut object: Value, manager: &str) -> Self {
        let footprint = inventory::footprint(&object, manager);
        let entries = object["metadata"]["managedFields"].as_array();
        let any = |test: &dyn Fn(&Value) -> bool| entries.is_some_and(|entries| entries.iter().any(test));
        let autoscaled = any(&|entry| {
            entry["subresource"] == "scale"
                && entry["manager"] == AUTOSCALER
                && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
        });
        let client_side = any(&is_client_side);
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|field, _| ["apiVersion", "kind", "metadata"].contains(&field.as_str()));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().into();
        Self {
            uid: text("uid"),
            version: text("resourceVersion"),
            set: inventory::membership(&object).map(Into::into),
            is_leaving: !metadata["deletionTimestamp"].is_null(),
            object: Packed::of(&object),
            footprint,
            autoscaled,
            unscaled: false,
            client_side,
        }
    }

    /// Which object.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.object.open())
    }

    /// The object's uid: another one of the same name has another.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its version, which moves with each change.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it is being deleted: what is applied to it now goes with it.
    pub const fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// The ApplySet that it says it is a member of.
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }
}

/// Whether an entry of the managed fields is kubectl's from before server-side apply.
pub fn is_client_side(entry: &Value) -> bool {
    entry["operation"] == "Update"
        && entry["subresource"].is_null()
        && entry["manager"].as_str().is_some_and(is_client_side_manager)
}

/// Whether a manager's name is kubectl's from before server-side apply.
pub fn is_client_side_manager(manager: &str) -> bool {
    CLIENT_SIDE.contains(&manager)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn standing(entry: &Value) -> Standing {
        Standing::of(
            json!({"kind": "X", "spec": {}, "metadata": {"uid": "u", "managedFields": [entry]}}),
            "us",
        )
    }

    #[test]
    fn what_others_did_is_read_off_the_managed_fields() {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let scaled = |manager: &str| {
            standing(
                &json!({"manager": manager, "operation": "Update", "subresource": "scale", "fieldsV1": replicas}),
            )
        };
        assert!(scaled("kube-controller-manager").autoscaled && !scaled("kubectl").autoscaled);
        let kubectl = standing(&json!({"manager": "kubectl-client-side-apply", "operation": "Update"}));
        assert!(kubectl.client_side && kubectl.footprint.is_none());
        assert_eq!(kubectl.object.open(), json!({"kind": "X", "metadata": {"uid": "u"}}));
        assert!(standing(&json!({"manager": "us", "operation": "Apply", "time": "t"})).footprint.is_some());
    }
}
