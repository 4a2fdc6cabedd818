//! What differs between an object as it is and as it would be.

use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;

use crate::decryption::ENCRYPTED;
use crate::manifest::{Identity, annotation};
use crate::standing::LAST_APPLIED;

/// Fields that the server keeps for itself and that say nothing of what was asked for.
const NOISE: [&str; 5] = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"];

/// A unified diff of an object, or none where nothing differs. Values of Secrets, and what was encrypted, are masked.
pub fn unified(identity: &Identity, live: Option<&Value>, wanted: Option<&Value>) -> Option<String> {
    let (mut before, mut after) = (live.map(quiet), wanted.map(quiet));
    if before == after {
        return None;
    }
    mask(before.as_mut(), after.as_mut());
    let text = |object: Option<&Value>| {
        object.map_or_else(String::new, |object| serde_yaml::to_string(object).unwrap_or_default())
    };
    let (before, after) = (text(before.as_ref()), text(after.as_ref()));
    let name =
        |side: &str, there: bool| if there { format!("{side}/{identity}") } else { "/dev/null".to_owned() };
    let diff = TextDiff::from_lines(&before, &after);
    Some(
        diff.unified_diff().header(&name("live", live.is_some()), &name("git", wanted.is_some())).to_string(),
    )
}

/// Whether two states of an object are the same in all that was asked for.
pub fn same(live: &Value, would_be: &Value) -> bool {
    quiet(live) == quiet(would_be)
}

/// An object without what the server keeps for itself; a Secret's values stay out of client-side apply's copy too.
pub fn quiet(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !NOISE.contains(&field.as_str()));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
    }
    sort_fields(&mut object);
    object
}

/// The server returns fields in an order of its own for each kind of request.
fn sort_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort_fields);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_fields),
        _ => {}
    }
}

/// Replaces values that nobody may see by stars; values that differ stay different.
fn mask<'a>(mut before: Option<&'a mut Value>, mut after: Option<&'a mut Value>) {
    let fields: BTreeSet<String> =
        [&before, &after].into_iter().flatten().flat_map(|object| hidden_fields(object)).collect();
    for field in fields {
        let old = before.as_ref().map(|object| object[&field].clone());
        let new = after.as_ref().map(|object| object[&field].clone());
        for (object, other, changed) in
            [(&mut before, &new, "*** (before)"), (&mut after, &old, "*** (after)")]
        {
            let Some(value) = object.as_deref_mut().and_then(|object| object.get_mut(&field)) else {
                continue;
            };
            if field == "metadata" {
                for part in ["annotations", "labels"] {
                    if let Some(value) = value.get_mut(part) {
                        stars(value, other.as_ref().map(|other| &other[part]), changed);
                    }
                }
            } else {
                stars(value, other.as_ref(), changed);
            }
        }
    }
}

/// A Secret's values, and whatever was encrypted in Git.
fn hidden_fields(object: &Value) -> Vec<String> {
    let is_secret = object["kind"] == "Secret" && object["apiVersion"] == "v1";
    let secret = ["data", "stringData"].into_iter().filter(|_| is_secret);
    let encrypted =
        annotation(object, ENCRYPTED).unwrap_or_default().split(',').filter(|field| !field.is_empty());
    secret.chain(encrypted).map(ToOwned::to_owned).collect()
}

/// The values of an object that nobody may see, as texts, the longest first.
pub(crate) fn hidden_values(object: &Value) -> Vec<String> {
    let mut values = Vec::new();
    for field in hidden_fields(object) {
        if field == "metadata" {
            for part in ["annotations", "labels"] {
                texts(&object["metadata"][part], &mut values);
            }
        } else {
            texts(&object[&field], &mut values);
        }
    }
    values.sort_by_key(|text| std::cmp::Reverse(text.len()));
    values
}

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        Value::Array(items) => items.iter().for_each(|value| texts(value, into)),
        Value::String(text) => into.push(text.clone()),
        Value::Null => {}
        value => into.push(value.to_string()),
    }
}

/// Replaces all that is in a value, but for what it is called.
fn stars(value: &mut Value, other: Option<&Value>, changed: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                stars(value, other.and_then(|other| other.get(name)), changed);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter_mut().enumerate() {
                stars(value, other.and_then(|other| other.get(index)), changed);
            }
        }
        Value::Null => {}
        value => {
            *value = Value::from(if other.is_some_and(|other| other == value) { "***" } else { changed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn noise_is_no_difference() {
        let live = json!({"kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}, "data": {"a": "1"}});
        let wanted = json!({"kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "2"}, "data": {"a": "1"}});
        assert_eq!(unified(&Identity::of(&live), Some(&live), Some(&wanted)), None);
    }

    #[test]
    fn a_secrets_values_are_never_shown() {
        let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": value, "same": "c2FtZQ=="}});
        let (mut live, wanted) = (secret("b2xk"), secret("bmV3"));
        live["metadata"]["annotations"][LAST_APPLIED] = Value::from(live.to_string());
        let diff = unified(&Identity::of(&live), Some(&live), Some(&wanted)).unwrap();
        assert!(diff.contains("-  k: '*** (before)'") && diff.contains("+  k: '*** (after)'"), "{diff}");
        for value in ["b2xk", "bmV3", "c2FtZQ=="] {
            assert!(!diff.contains(value), "{diff}");
        }
    }

    #[test]
    fn what_was_encrypted_is_never_shown() {
        let object = |password: &str, port: u16| {
            json!({
                "apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t", "annotations": {ENCRYPTED: "spec"}},
                "spec": {"users": [{"name": "root", "password": password}], "port": port},
            })
        };
        let (live, wanted) = (object("old-password", 17), object("new-password", 17));
        let diff = unified(&Identity::of(&live), Some(&live), Some(&wanted)).unwrap();
        assert!(diff.contains("password: '*** (before)'") && diff.contains("port: '***'"), "{diff}");
        for value in ["old-password", "new-password", "root", "17"] {
            assert!(!diff.contains(value), "{diff}");
        }
    }
}
