//! Which objects are an application's own: an ApplySet (KEP-3659), so that kubectl can take over.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::SyncError;
use crate::manifest::{GroupKind, annotation};
use crate::proof::{Digest, Proofs};

/// The label by which members are found.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// The keys of the parent's data.
const PROOFS: &str = "proofs";
const RUN: &str = "run";

/// The kinds and namespaces in which an application has objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The kinds.
    pub kinds: BTreeSet<GroupKind>,
    /// The namespaces; the empty one stands for objects of the cluster.
    pub namespaces: BTreeSet<String>,
}

impl Scope {
    /// Both scopes together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            kinds: self.kinds.union(&other.kinds).cloned().collect(),
            namespaces: self.namespaces.union(&other.namespaces).cloned().collect(),
        }
    }
}

/// What the parent in the cluster says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The kinds and namespaces, which may hold objects that Git no longer has.
    pub scope: Scope,
    /// What is proved of the objects.
    pub proofs: Proofs,
    /// The run that is writing, or that was cut off.
    pub run: Option<String>,
    /// The parent's own version.
    pub version: String,
}

/// The parent object of an application's ApplySet: a ConfigMap.
#[derive(Debug, Clone)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Where the parent is.
    pub namespace: String,
}

impl Parent {
    /// The parent of an application. Applications often have a ConfigMap of their own name, so the parent has another.
    pub fn of(application: &str, namespace: &str) -> Self {
        Self { name: format!("k8s-sync.{application}"), namespace: namespace.to_owned() }
    }

    /// The ApplySet's id: `applyset-<base64url(sha256(NAME.NAMESPACE.KIND.GROUP))>-v1`.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(format!("{}.{}.ConfigMap.", self.name, self.namespace));
        let encoded = base64_url(&digest);
        format!("applyset-{encoded}-v1")
    }

    /// Its path in the API.
    pub fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{}", self.namespace, self.name)
    }

    /// The parent as it should be for a record; written over that version only, where the record has one.
    pub fn object(&self, record: &Record) -> Value {
        let join = |words: Vec<String>| words.join(",");
        let scope = &record.scope;
        let namespaces =
            scope.namespaces.iter().filter(|name| !name.is_empty() && **name != self.namespace).cloned();
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": { ID: self.id() },
                "annotations": {
                    TOOLING: concat!("k8s-sync/v", env!("CARGO_PKG_VERSION")),
                    GROUP_KINDS: join(scope.kinds.iter().map(ToString::to_string).collect()),
                    NAMESPACES: join(namespaces.collect()),
                },
            },
            "data": { PROOFS: record.proofs.text() },
        });
        if let Some(run) = &record.run {
            object["data"][RUN] = Value::from(run.as_str());
        }
        if !record.version.is_empty() {
            object["metadata"]["resourceVersion"] = Value::from(record.version.as_str());
        }
        object
    }

    /// What the parent in the cluster says; refused where another tool has taken the set over.
    pub fn read(&self, live: &Value) -> Result<Record, SyncError> {
        let tooling = annotation(live, TOOLING).unwrap_or_default();
        if !tooling.is_empty() && !tooling.starts_with("k8s-sync/") {
            let parent = format!("ConfigMap {}/{}", self.namespace, self.name);
            return Err(SyncError::TakenOver { parent, tooling: tooling.to_owned() });
        }
        let words = |name: &str| -> Vec<String> {
            let text = annotation(live, name).unwrap_or_default();
            text.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
        };
        let mut namespaces: BTreeSet<String> = words(NAMESPACES).into_iter().collect();
        namespaces.insert(self.namespace.clone());
        namespaces.insert(String::new());
        let kinds = words(GROUP_KINDS).iter().map(|kind| GroupKind::parse(kind)).collect();
        Ok(Record {
            scope: Scope { kinds, namespaces },
            proofs: Proofs::parse(live["data"][PROOFS].as_str().unwrap_or_default()),
            run: live["data"][RUN].as_str().map(ToOwned::to_owned),
            version: live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// Bytes as they may stand in a label's value.
pub fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The set that an object says it is a member of.
pub fn membership(object: &Value) -> Option<&str> {
    object["metadata"]["labels"][PART_OF].as_str().filter(|id| !id.is_empty())
}

/// What an object records of a manager's last apply.
///
/// A label alone proves nothing: controllers copy labels, from a Service to its Endpoints for one.
pub fn entry<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    entries.iter().find(|entry| {
        entry["manager"] == manager && entry["operation"] == "Apply" && entry["subresource"].is_null()
    })
}

/// What an object says of a manager's last apply: the fields, and when they were applied.
///
/// Anybody who takes one of these fields takes it out of the entry; status and others' fields don't touch it.
pub fn footprint(object: &Value, manager: &str) -> Option<Digest> {
    let entry = entry(object, manager)?;
    let mut fields = String::new();
    write_sorted(&entry["fieldsV1"], &mut fields);
    Some(Digest::of(&[&fields, &entry["time"].as_str().unwrap_or_default()]))
}

/// Fields by their names: an answer to an apply has them in another order than a list has.
fn write_sorted(fields: &Value, into: &mut String) {
    let Some(fields) = fields.as_object() else { return };
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    into.push('{');
    for (name, below) in sorted {
        // With its length, so that no name looks like two.
        into.push_str(&name.len().to_string());
        into.push_str(name);
        write_sorted(below, into);
    }
    into.push('}');
}

/// Marks an object as a member.
pub fn join(object: &mut Value, id: &str) {
    label(object, PART_OF, id);
}

/// Sets a label.
pub fn label(object: &mut Value, name: &str, value: &str) {
    let metadata = &mut object["metadata"];
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    metadata["labels"][name] = Value::from(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_tells_its_record_back() {
        let parent = Parent::of("app", "hello");
        let kinds = ["ConfigMap", "Deployment.apps"].map(GroupKind::parse).into();
        let namespaces = ["", "hello", "other"].map(ToOwned::to_owned).into();
        let scope = Scope { kinds, namespaces };
        let record =
            Record { scope, run: Some("r".to_owned()), version: "1".to_owned(), ..Record::default() };
        let mut object = parent.object(&record);
        assert_eq!(object["metadata"]["annotations"][GROUP_KINDS], "ConfigMap,Deployment.apps");
        assert_eq!(parent.read(&object).unwrap(), record);
        object["metadata"]["annotations"][TOOLING] = Value::from("kubectl/v1.36.3");
        assert!(parent.read(&object).unwrap_err().to_string().contains("kubectl"));
        assert!(parent.id().starts_with("applyset-") && parent.id().ends_with("-v1"));
    }

    #[test]
    fn a_copied_label_is_no_proof() {
        let with = |entries: Value| json!({"metadata": {"labels": {PART_OF: "a"}, "managedFields": entries}});
        let copied = with(json!([{"manager": "endpoint-controller", "operation": "Update"}]));
        let applied = with(json!([{"manager": "k8s-sync/app", "operation": "Apply"}]));
        assert_eq!(membership(&copied), Some("a"));
        assert!(entry(&copied, "k8s-sync/app").is_none());
        assert!(entry(&applied, "k8s-sync/app").is_some() && entry(&applied, "k8s-sync/other").is_none());
    }
}
