//! What came out otherwise than it was applied: a server that changes objects on their way in says so by nothing but its
//! answer.
//!
//! What the server itself writes in other words (`1000m` is `1`, empty fields are left out, a Secret's `stringData` is
//! `data`) is no change.

use serde_json::Value;

use crate::diff;
use crate::fields;
use crate::inventory;
use crate::manifest::Identity;

/// What came out otherwise of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The fields, as the server writes them: `.spec.containers[name="c"].image`.
    pub fields: Vec<String>,
    /// What they are and what was asked for, as a unified diff, with secrets' values masked.
    pub difference: String,
    /// Who does it, where that could be found out.
    pub by: Option<String>,
}

impl Altered {
    /// In words, of an object.
    pub fn told(&self, identity: &Identity) -> String {
        let fields = self.fields.join(", ");
        match &self.by {
            Some(by) => format!("{identity} is changed on its way in by {by}: {fields}"),
            None => format!(
                "{identity} comes out otherwise than it is applied ({fields}); whether a webhook does it is not known, as \
                 the account may not list mutatingwebhookconfigurations"
            ),
        }
    }
}

/// What of an object that was asked for is otherwise in the server's answer.
pub fn of(asked: &Value, answer: &Value, manager: &str) -> Option<Altered> {
    // Where no more than metadata was asked for, nothing is known of the rest.
    if answer["kind"] == "PartialObjectMetadata" {
        return None;
    }
    let asked = as_stored(asked);
    // Beside ours, lists have items of others, and objects have fields of others.
    let ours = inventory::entry(answer, manager);
    let mut found = ours.map_or_else(|| answer.clone(), |entry| fields::extract(answer, &entry["fieldsV1"]));
    for field in ["apiVersion", "kind", "metadata"] {
        if found.get(field).is_none() {
            found[field] = answer[field].clone();
        }
    }
    let mut fields = Vec::new();
    for (key, value) in asked.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for part in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    let path = format!(".metadata.{part}");
                    compare(&value[part], &found["metadata"][part], path, &mut fields);
                }
            }
            _ => compare(value, &found[key], format!(".{key}"), &mut fields),
        }
    }
    if fields.is_empty() {
        return None;
    }
    let difference = diff::unified(&Identity::of(&asked), Some(&found), Some(&asked)).unwrap_or_default();
    Some(Altered { fields, difference, by: None })
}

/// A Secret as the server keeps it.
fn as_stored(object: &Value) -> Value {
    use base64::Engine as _;
    let mut object = object.clone();
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return object;
    }
    for value in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
        if let Some(text) = value.as_str() {
            // Long ones are often written on several lines.
            *value = Value::from(text.split_ascii_whitespace().collect::<String>());
        }
    }
    let plain = object.as_object_mut().and_then(|fields| fields.shift_remove("stringData"));
    for (key, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        object["data"][key] = Value::from(base64::engine::general_purpose::STANDARD.encode(value));
    }
    object
}

/// Collects the paths below which something is otherwise.
fn compare(asked: &Value, found: &Value, path: String, fields: &mut Vec<String>) {
    match (asked, found) {
        (Value::Null, _) => {}
        (asked, Value::Null) if is_nothing(asked) => {}
        (Value::Object(asked), Value::Object(found)) => {
            for (key, value) in asked {
                compare(value, found.get(key).unwrap_or(&Value::Null), format!("{path}.{key}"), fields);
            }
        }
        (Value::Array(asked), Value::Array(found)) if asked.len() == found.len() => {
            for (index, value) in asked.iter().enumerate() {
                let name = value.get("name").filter(|name| name.is_string());
                let namesake = name.and_then(|name| found.iter().find(|item| item["name"] == *name));
                let path = name
                    .filter(|_| namesake.is_some())
                    .map_or_else(|| format!("{path}[{index}]"), |name| format!("{path}[name={name}]"));
                compare(value, namesake.unwrap_or(&found[index]), path, fields);
            }
        }
        (asked, found) if asked == found || is_same_quantity(asked, found) => {}
        _ => fields.push(path),
    }
}

/// Whether the server may leave it out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// Whether both are the same amount, such as of CPU or memory (Kubernetes' resource.Quantity).
fn is_same_quantity(asked: &Value, found: &Value) -> bool {
    let (Some(asked), Some(found)) = (quantity(asked), quantity(found)) else { return false };
    (asked - found).abs() <= asked.abs() * 1e-9
}

fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text.trim(),
        _ => return None,
    };
    // `1E` is an exabyte, `1E3` a thousand.
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(image: &str, cpu: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "1"}, "annotations": {}},
            "spec": {"hostNetwork": false, "containers": [{"name": "c", "image": image, "args": ["-v"],
                "resources": {"limits": {"cpu": cpu, "memory": "1024Mi"}}}]}})
    }

    fn answer(mut object: Value, change: impl FnOnce(&mut Value)) -> Value {
        let fields = json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:hostNetwork": {}, "f:containers": {
            r#"k:{"name":"c"}"#: {".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}}}}}});
        object["metadata"]["managedFields"] =
            json!([{"manager": "us", "operation": "Apply", "fieldsV1": fields}]);
        change(&mut object);
        object
    }

    #[test]
    fn the_servers_own_words_are_no_change() {
        let asked = pod("app:1", "1000m");
        let stored = answer(asked.clone(), |object| {
            object["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "1", "memory": "1Gi"});
            object["spec"].as_object_mut().unwrap().remove("hostNetwork");
            object["metadata"].as_object_mut().unwrap().remove("annotations");
            // Of others: a field and a container.
            object["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
            object["spec"]["containers"].as_array_mut().unwrap().insert(0, json!({"name": "sidecar"}));
        });
        assert_eq!(of(&asked, &stored, "us"), None);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}, "data": {"c": "ZA\n=="}});
        let stored = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg==", "c": "ZA=="}});
        assert_eq!(of(&secret, &stored, "us"), None);
    }

    #[test]
    fn what_was_changed_is_named() {
        let asked = pod("app:1", "1");
        let image =
            answer(asked.clone(), |object| object["spec"]["containers"][0]["image"] = json!("mirror/app:1"));
        let altered = of(&asked, &image, "us").unwrap();
        assert_eq!(altered.fields, [r#".spec.containers[name="c"].image"#]);
        assert!(
            altered.difference.contains("-  - name: c")
                || altered.difference.contains("-    image: mirror/app:1")
        );
        let label = answer(asked.clone(), |object| object["metadata"]["labels"] = json!({}));
        assert_eq!(of(&asked, &label, "us").unwrap().fields, [".metadata.labels.a"]);
        let args =
            answer(asked.clone(), |object| object["spec"]["containers"][0]["args"] = json!(["-v", "-x"]));
        assert_eq!(of(&asked, &args, "us").unwrap().fields, [r#".spec.containers[name="c"].args"#]);
    }

    #[test]
    fn amounts() {
        for (a, b) in [("0.5", "500m"), ("1Ki", "1024"), ("1E", "1000P"), ("1e3", "1k"), ("100n", "0.1u")] {
            assert!(is_same_quantity(&json!(a), &json!(b)), "{a} {b}");
        }
        assert!(is_same_quantity(&json!(2), &json!("2")) && !is_same_quantity(&json!("a"), &json!("b")));
    }
}
