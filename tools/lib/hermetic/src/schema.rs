//! As much of JSON Schema as the tools' own schemas need.

use serde_json::Value;

/// Holds a document against a schema: what is required is there, and all that is there is declared, of its type, and one of
/// the values that are allowed.
///
/// # Panics
/// Where it is not as the schema says.
#[track_caller]
#[expect(clippy::expect_used, reason = "a test that has no schema can't go on")]
pub fn check(schema: &str, document: &Value) {
    let schema: Value = serde_json::from_str(schema).expect("a schema in JSON");
    conforms(&schema, &schema, document, "$");
}

#[track_caller]
#[expect(clippy::panic, reason = "a document that is not as its schema says has failed its test")]
fn conforms(root: &Value, rule: &Value, value: &Value, at: &str) {
    if let Some(reference) = rule["$ref"].as_str() {
        let referred = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return conforms(
            root,
            referred.unwrap_or_else(|| panic!("{reference} is not in the schema")),
            value,
            at,
        );
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &rule["type"] {
        Value::String(wanted) => assert_eq!(wanted, kind, "{at}: {value}"),
        Value::Array(wanted) => assert!(wanted.contains(&kind.into()), "{at} is {kind}: {value}"),
        _ => assert!(rule.get("const").is_some() || rule.get("enum").is_some(), "{at} has no rule"),
    }
    if let Some(only) = rule.get("const") {
        assert_eq!(only, value, "{at}");
    }
    if let Some(allowed) = rule["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        conforms(root, &rule["items"], item, &format!("{at}[{index}]"));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let declared =
            rule["properties"].get(name).unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
        conforms(root, declared, member, &format!("{at}.{name}"));
    }
    for name in rule["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(!value.is_object() || value.get(name).is_some(), "{at} lacks {name}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r##"{"type": "object", "required": ["schema"], "properties": {
        "schema": {"const": "t/v1"}, "count": {"$ref": "#/$defs/count"},
        "kinds": {"type": "array", "items": {"enum": ["a", "b"]}}},
        "$defs": {"count": {"type": ["integer", "null"]}}}"##;

    #[test]
    fn a_document_is_as_the_schema_says() {
        check(SCHEMA, &json!({"schema": "t/v1", "count": null, "kinds": ["a", "b"]}));
        for wrong in [
            json!({}),
            json!({"schema": "t/v2"}),
            json!({"schema": "t/v1", "count": "1"}),
            json!({"schema": "t/v1", "kinds": ["c"]}),
            json!({"schema": "t/v1", "more": 1}),
            json!([]),
        ] {
            assert!(std::panic::catch_unwind(|| check(SCHEMA, &wrong)).is_err(), "{wrong}");
        }
    }
}
