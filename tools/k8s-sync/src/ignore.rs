//! Differences that are not to be seen: `ignoreDifferences` as Argo CD has it, by pointer, jq path and manager.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SyncError;
use crate::fields;
use crate::jq::{self, Place};
use crate::manifest::{GroupKind, Identity, annotation};

/// An object's own paths that are ignored: a line each, a pointer or a jq path.
const ANNOTATION: &str = "k8s-sync/ignore-differences";

/// Which differences of which objects are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The API group, empty for the core group; `*` for all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    group: String,
    /// The kind; `*` for all.
    kind: String,
    /// Only objects of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Only objects of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    json_pointers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    jq_path_expressions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    managed_fields_managers: Vec<String>,
}

/// What of one object is ignored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ignored {
    paths: Vec<Path>,
    managers: Vec<String>,
}

/// What means places of an object.
#[derive(Debug, Clone, PartialEq)]
enum Path {
    /// The place that a JSON pointer means.
    Pointer(Place),
    /// The places that a path expression of jq means.
    Jq(String),
}

/// Reads rules: a list as `spec.ignoreDifferences` of an Argo CD Application has it, or the Application itself.
pub fn rules(text: &str, file: &str) -> Result<Vec<Rule>, SyncError> {
    let wrong = |problem: String| SyncError::Manifest { place: file.to_owned(), problem };
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let list = value.get("spec").unwrap_or(&value);
    let list = list.get("ignoreDifferences").unwrap_or(list);
    let rules: Vec<Rule> = serde_yaml::from_value(list.clone()).map_err(|error| {
        wrong(format!("not a list of ignoreDifferences, nor an Application that has one: {error}"))
    })?;
    for rule in &rules {
        rule.paths().map_err(wrong)?;
    }
    Ok(rules)
}

impl Rule {
    fn means(&self, identity: &Identity) -> bool {
        let GroupKind { group, kind } = &identity.kind;
        let fits = |wanted: &str, found: &str| wanted == "*" || wanted == found;
        fits(&self.group, group)
            && fits(&self.kind, kind)
            && self.name.as_ref().is_none_or(|name| *name == identity.name)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == identity.namespace)
    }

    fn paths(&self) -> Result<Vec<Path>, String> {
        let pointers = self.json_pointers.iter().map(|pointer| read_pointer(pointer));
        pointers.chain(self.jq_path_expressions.iter().map(|path| read_jq(path))).collect()
    }
}

impl Ignored {
    /// What the rules and the object's own annotation say of it.
    pub fn of(identity: &Identity, object: &Value, rules: &[Rule]) -> Result<Self, SyncError> {
        let wrong = |problem: String| SyncError::Manifest { place: identity.to_string(), problem };
        let mut ignored = Self::default();
        for rule in rules.iter().filter(|rule| rule.means(identity)) {
            ignored.paths.extend(rule.paths().map_err(wrong)?);
            ignored.managers.extend(rule.managed_fields_managers.iter().cloned());
        }
        let own = annotation(object, ANNOTATION).unwrap_or_default().lines().map(str::trim);
        for path in own.filter(|path| !path.is_empty()) {
            let read = if path.starts_with('/') { read_pointer(path) } else { read_jq(path) };
            ignored.paths.push(read.map_err(wrong)?);
        }
        Ok(ignored)
    }

    /// Whether all differences count.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.managers.is_empty()
    }

    /// Makes an object as it is in the cluster, where that is ignored.
    pub fn keep_live(&self, object: &mut Value, live: &Value) {
        for path in &self.paths {
            let (ours, theirs) = (path.places(object), path.places(live));
            for place in ours.iter().rev().filter(|place| !theirs.contains(place)) {
                take(object, place);
            }
            for place in theirs {
                if let Some(value) = find(live, &place) {
                    put(object, &place, value.clone());
                }
            }
        }
        let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
        let theirs = entries.filter(|entry| {
            entry["manager"].as_str().is_some_and(|name| self.managers.iter().any(|m| m == name))
        });
        for entry in theirs {
            fields::remove(object, &entry["fieldsV1"]);
            merge(object, fields::extract(live, &entry["fieldsV1"]));
        }
    }
}

/// Fills in what is not there; items of a list are told by their `name`, or their place.
fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (key, value) in more {
                match fields.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => {
                        fields.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(more)) => {
            for value in more {
                let same = |item: &&mut Value| !value["name"].is_null() && item["name"] == value["name"];
                match items.iter_mut().find(same) {
                    Some(known) => merge(known, value),
                    None => items.push(value),
                }
            }
        }
        _ => {}
    }
}

impl Path {
    /// All places of an object that are meant and there.
    fn places(&self, object: &Value) -> Vec<Place> {
        let mut places = match self {
            Self::Pointer(place) => vec![place.clone()],
            // Where it does not go through, there is nothing to be ignored.
            Self::Jq(path) => jq::places(path, object).unwrap_or_default(),
        };
        places.retain(|place| find(object, place).is_some());
        places
    }
}

fn find<'a>(value: &'a Value, place: &[String]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, word| match value {
        Value::Array(items) => items.get(word.parse::<usize>().ok()?),
        value => value.get(word),
    })
}

fn find_mut<'a>(value: &'a mut Value, place: &[String]) -> Option<&'a mut Value> {
    place.iter().try_fold(value, |value, word| match value {
        Value::Array(items) => items.get_mut(word.parse::<usize>().ok()?),
        value => value.get_mut(word),
    })
}

fn take(object: &mut Value, place: &[String]) {
    let Some((last, parents)) = place.split_last() else { return };
    match find_mut(object, parents) {
        Some(Value::Object(fields)) => {
            fields.shift_remove(last);
        }
        Some(Value::Array(items)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

/// Puts a value where its parent is there.
fn put(object: &mut Value, place: &[String], value: Value) {
    let Some((last, parents)) = place.split_last() else { return };
    match find_mut(object, parents) {
        Some(Value::Object(fields)) => {
            fields.insert(last.clone(), value);
        }
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => items[index] = value,
            Ok(index) if index == items.len() => items.push(value),
            _ => {}
        },
        _ => {}
    }
}

/// A JSON pointer (RFC 6901).
fn read_pointer(pointer: &str) -> Result<Path, String> {
    let Some(words) = pointer.strip_prefix('/') else {
        return Err(format!("`{pointer}` is not a JSON pointer: it does not begin with /"));
    };
    let word = |word: &str| word.replace("~1", "/").replace("~0", "~");
    Ok(Path::Pointer(words.split('/').map(word).collect()))
}

fn read_jq(path: &str) -> Result<Path, String> {
    jq::check(path).map(|()| Path::Jq(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(rule: &str, ours: &Value, live: &Value) -> Value {
        let rules = rules(&format!("[{{group: '*', kind: '*', {rule}}}]"), "f").unwrap();
        let ignored = Ignored::of(&Identity::of(live), ours, &rules).unwrap();
        let mut object = ours.clone();
        ignored.keep_live(&mut object, live);
        object
    }

    #[test]
    fn ignored_places_are_as_in_the_cluster() {
        let ours = json!({"a": {"b/c": 1, "gone": 1}, "l": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]});
        let live = json!({"a": {"b/c": 2, "new": 2}, "l": [{"name": "x", "v": 2}, {"name": "y", "v": 2}]});
        for (rule, place, value) in [
            ("jsonPointers: [/a/b~1c]", "/a/b~1c", json!(2)),
            ("jsonPointers: [/a/gone]", "/a", json!({"b/c": 1})),
            ("jsonPointers: [/a/new]", "/a/new", json!(2)),
            ("jsonPointers: [/l/1/v]", "/l/1/v", json!(2)),
            (r#"jqPathExpressions: ['.a."b/c"']"#, "/a/b~1c", json!(2)),
            (r#"jqPathExpressions: ['.a["b/c"]']"#, "/a/b~1c", json!(2)),
            ("jqPathExpressions: ['.l[]?.v']", "/l/0/v", json!(2)),
            (r#"jqPathExpressions: ['.l[] | select(.name == "y") | .v']"#, "/l/1/v", json!(2)),
            (r#"jqPathExpressions: ['.l[] | select(.name == "y").v']"#, "/l/0/v", json!(1)),
            (r#"jqPathExpressions: ['.l[] | select(.name != "y").v']"#, "/l/0/v", json!(2)),
            (r#"jqPathExpressions: ['.l[] | select(.name | test("^x")) | .v']"#, "/l/0/v", json!(2)),
            (r#"jqPathExpressions: ['.l[] | select(.name | test("^x")) | .v']"#, "/l/1/v", json!(1)),
            ("jqPathExpressions: ['.nothing[].v, .a[\"b/c\"]']", "/a/b~1c", json!(1)),
            ("jqPathExpressions: ['.nothing[]?.v, .a[\"b/c\"]']", "/a/b~1c", json!(2)),
            ("jqPathExpressions: ['.. | .v? // empty']", "/l/1/v", json!(2)),
        ] {
            assert_eq!(kept(rule, &ours, &live).pointer(place), Some(&value), "{rule}");
        }
    }

    #[test]
    fn a_managers_fields_are_as_in_the_cluster() {
        let fields = json!({"f:l": {r#"k:{"name":"x"}"#: {"f:v": {}}}, "f:n": {}});
        let live = json!({"metadata": {"managedFields": [{"manager": "them", "fieldsV1": fields}]}, "n": 2,
            "l": [{"name": "x", "v": 2}]});
        let ours = json!({"l": [{"name": "x", "v": 1, "w": 1}], "n": 1, "o": 1});
        let object = kept("managedFieldsManagers: [them]", &ours, &live);
        assert_eq!(object, json!({"l": [{"name": "x", "w": 1, "v": 2}], "o": 1, "n": 2}));
    }

    #[test]
    fn an_application_has_rules_too_and_they_mean_their_objects() {
        let text = "kind: Application\nspec:\n  ignoreDifferences:\n  - {group: apps, kind: Deployment, name: web, jsonPointers: [/spec/replicas]}\n";
        let rules = rules(text, "f").unwrap();
        let object = |kind: &str, name: &str| json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}});
        let ignored =
            |object: Value| !Ignored::of(&Identity::of(&object), &object, &rules).unwrap().is_empty();
        assert!(ignored(object("Deployment", "web")));
        assert!(!ignored(object("Deployment", "other")) && !ignored(object("StatefulSet", "web")));
        let mut own = object("X", "x");
        own["metadata"]["annotations"] = json!({ANNOTATION: "/spec/a\n.spec.b\n"});
        assert!(ignored(own));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for path in [".a |", "a", ".a | nonsense(1)"] {
            assert!(read_jq(path).unwrap_err().contains(path), "{path}");
        }
        assert!(read_pointer("spec/replicas").is_err());
        assert!(rules("[{kind: X, jsonPointer: [/a]}]", "f").is_err());
    }
}
