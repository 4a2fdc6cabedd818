//! What differs between an object as it is and as it would be.

use serde_json::Value;
use similar::TextDiff;

use crate::manifest::Identity;
use crate::standing::LAST_APPLIED;

/// Fields that the server keeps for itself and that say nothing of what was asked for.
const NOISE: [&str; 5] = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"];

/// A unified diff of an object, or none where nothing differs. Secrets' values are masked.
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

/// Replaces a Secret's values by stars; values that differ stay different.
fn mask(before: Option<&mut Value>, after: Option<&mut Value>) {
    let is_secret = |object: &Option<&mut Value>| {
        object.as_ref().is_some_and(|object| object["kind"] == "Secret" && object["apiVersion"] == "v1")
    };
    if !is_secret(&before) && !is_secret(&after) {
        return;
    }
    let old = before.as_ref().map(|object| (**object).clone());
    let stars = |object: &mut Value, other: Option<&Value>, changed: &str| {
        for field in ["data", "stringData"] {
            for (key, value) in object[field].as_object_mut().into_iter().flatten() {
                let same = other.is_some_and(|other| other[field][key] == *value);
                *value = Value::from(if same { "***" } else { changed });
            }
        }
    };
    if let Some(before) = before {
        stars(before, after.as_deref(), "*** (before)");
    }
    if let Some(after) = after {
        stars(after, old.as_ref(), "*** (after)");
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
}
