//! Fields of an object, as Kubernetes' managed fields name them (`fieldsV1` of structured-merge-diff), and as its
//! messages write them (`.spec.containers[name="c"].image`).

use serde_json::{Map, Value};

/// The part of an object that these fields are.
pub fn extract(object: &Value, fields: &Value) -> Value {
    let Some(fields) = below(fields) else { return object.clone() };
    match object {
        Value::Object(values) => {
            let owned = fields.iter().filter_map(|(field, deeper)| {
                let key = field.strip_prefix("f:")?;
                Some((key.to_owned(), extract(values.get(key)?, deeper)))
            });
            Value::Object(owned.collect())
        }
        Value::Array(items) => {
            let owned = items.iter().filter_map(|item| {
                let (field, deeper) = fields.iter().find(|(field, _)| selects(field, item))?;
                let mut part = extract(item, deeper);
                // Which item it is, is said by fields that are its own only.
                if let (Some(part), Some(keys)) = (part.as_object_mut(), keys(field)) {
                    part.extend(keys);
                }
                Some(part)
            });
            Value::Array(owned.collect())
        }
        whole => whole.clone(),
    }
}

/// Takes these fields out of an object.
pub fn remove(object: &mut Value, fields: &Value) {
    let Some(fields) = below(fields) else { return };
    match object {
        Value::Object(values) => {
            for (field, deeper) in fields {
                let Some(key) = field.strip_prefix("f:") else { continue };
                let Some(value) = values.get_mut(key) else { continue };
                remove(value, deeper);
                if below(deeper).is_none() || is_empty(value) {
                    values.shift_remove(key);
                }
            }
        }
        Value::Array(items) => items.retain_mut(|item| {
            let Some((field, deeper)) = fields.iter().find(|(field, _)| selects(field, item)) else {
                return true;
            };
            remove(item, deeper);
            let keys = keys(field).unwrap_or_default();
            below(deeper).is_some()
                && item.as_object().is_none_or(|left| left.keys().any(|key| !keys.contains_key(key)))
        }),
        _ => {}
    }
}

/// Both sets of fields together.
pub fn union(fields: &mut Value, more: &Value) {
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else { return };
    for (field, deeper) in more {
        match fields.get_mut(field) {
            Some(known) => union(known, deeper),
            None => {
                fields.insert(field.clone(), deeper.clone());
            }
        }
    }
}

/// The fields of a set that another set has not.
pub fn difference(fields: &Value, less: &Value) -> Value {
    let (Some(all), Some(less)) = (fields.as_object(), less.as_object()) else { return fields.clone() };
    let rest = all.iter().filter_map(|(field, deeper)| {
        let Some(known) = less.get(field) else { return Some((field.clone(), deeper.clone())) };
        // A leaf, or what the other set has as a whole.
        below(deeper)?;
        below(known)?;
        let rest = difference(deeper, known);
        (!is_empty(&rest)).then(|| (field.clone(), rest))
    });
    Value::Object(rest.collect())
}

/// Takes the field out that a message of the server names; whether it was there.
pub fn remove_named(object: &mut Value, path: &str) -> bool {
    match object {
        Value::Object(fields) => {
            let Some(rest) = path.strip_prefix('.') else { return false };
            // A key may have dots itself, so the path can't be split at them.
            let mut keys: Vec<String> = fields.keys().filter(|key| rest.starts_with(*key)).cloned().collect();
            keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
            keys.iter().any(|key| match &rest[key.len()..] {
                "" => fields.shift_remove(key).is_some(),
                deeper => fields.get_mut(key).is_some_and(|value| remove_named(value, deeper)),
            })
        }
        Value::Array(items) => {
            let Some((selector, deeper)) = path.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            else {
                return false;
            };
            let Some(index) = items.iter().position(|item| is_named(item, selector)) else { return false };
            if deeper.is_empty() {
                items.remove(index);
                return true;
            }
            remove_named(&mut items[index], deeper)
        }
        _ => false,
    }
}

/// Whether `name="c"`, `port=80,protocol="TCP"` or `="value"` means this item.
fn is_named(item: &Value, selector: &str) -> bool {
    selector.split(',').all(|pair| {
        let Some((key, value)) = pair.split_once('=') else { return false };
        let found = if key.is_empty() { item } else { &item[key] };
        serde_json::from_str::<Value>(value).is_ok_and(|value| *found == value)
    })
}

/// The fields below a field; none where the field itself is meant, with all that it holds.
fn below(fields: &Value) -> Option<&Map<String, Value>> {
    fields.as_object().filter(|fields| !fields.is_empty())
}

/// The keys of `k:{"name":"c"}`.
fn keys(field: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(field.strip_prefix("k:")?).ok()
}

/// Whether `k:{…}` or `v:…` means this item of a list.
fn selects(field: &str, item: &Value) -> bool {
    if let Some(value) = field.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
    }
    keys(field).is_some_and(|keys| keys.iter().all(|(key, value)| item[key] == *value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "metadata": {"annotations": {"a.b/c": "1", "a": "2"}},
            "spec": {"replicas": 2, "containers": [{"name": "a", "image": "x", "ports": [{"port": 1}]}, {"name": "b", "image": "y"}]}
        })
    }

    #[test]
    fn owned_fields_are_taken_out_with_the_keys_of_their_items() {
        let fields = json!({"f:spec": {"f:containers": {r#"k:{"name":"a"}"#: {".": {}, "f:image": {}}}}});
        let owned = extract(&deployment(), &fields);
        assert_eq!(owned, json!({"spec": {"containers": [{"name": "a", "image": "x"}]}}));
        let mut rest = deployment();
        remove(&mut rest, &fields);
        assert_eq!(rest["spec"]["containers"][0], json!({"name": "a", "ports": [{"port": 1}]}));
        let set = json!({"f:finalizers": {r#"v:"mine""#: {}}});
        assert_eq!(
            extract(&json!({"finalizers": ["mine", "theirs"]}), &set),
            json!({"finalizers": ["mine"]})
        );
    }

    #[test]
    fn the_servers_paths_are_found() {
        for (path, left) in [
            (".metadata.annotations.a.b/c", json!({"a": "2"})),
            (".metadata.annotations.a", json!({"a.b/c": "1"})),
        ] {
            let mut object = deployment();
            assert!(remove_named(&mut object, path), "{path}");
            assert_eq!(object["metadata"]["annotations"], left);
        }
        let mut object = deployment();
        assert!(remove_named(&mut object, r#".spec.containers[name="a"].ports[port=1]"#));
        assert_eq!(object["spec"]["containers"][0]["ports"], json!([]));
        assert!(!remove_named(&mut object, r#".spec.containers[name="c"].image"#));
    }

    #[test]
    fn sets_are_taken_from_each_other() {
        let all =
            json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:spec": {"f:x": {}}, "f:whole": {"f:y": {}}});
        let less = json!({"f:data": {"f:a": {}}, "f:spec": {"f:x": {}}, "f:whole": {}});
        assert_eq!(difference(&all, &less), json!({"f:data": {".": {}, "f:b": {}}}));
        let mut object = json!({"data": {"a": "1", "b": "2"}});
        remove(&mut object, &difference(&all, &less));
        assert_eq!(object, json!({"data": {"a": "1"}}));
    }

    #[test]
    fn sets_are_united() {
        let mut fields = json!({"f:a": {"f:b": {}}});
        union(&mut fields, &json!({"f:a": {"f:c": {}}, "f:d": {}}));
        assert_eq!(fields, json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}));
    }
}
