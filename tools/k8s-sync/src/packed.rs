//! Objects as JSON text: a tree of values takes several times as much memory, and a sync keeps thousands of objects.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An object that is put away until it is needed; copies share it.
#[derive(Debug, Clone, PartialEq)]
pub enum Packed {
    /// As JSON.
    Text(Arc<str>),
    /// As it is: JSON's reader takes long fractions for their neighbours.
    Tree(Arc<Value>),
}

impl Packed {
    /// Puts an object away.
    pub fn of(object: &Value) -> Self {
        if has_fraction(object) {
            Self::Tree(Arc::new(object.clone()))
        } else {
            Self::Text(object.to_string().into())
        }
    }

    /// The object's annotations, where they are in an object: they are found in a text sooner than all of it is read.
    pub fn annotations(&self) -> Value {
        match self {
            Self::Text(text) => {
                let found: Annotated = serde_json::from_str(text).unwrap_or_default();
                json!({ "metadata": found.metadata.unwrap_or_default() })
            }
            Self::Tree(object) => Value::clone(object),
        }
    }

    /// The object.
    pub fn open(&self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(text).unwrap_or_default(),
            Self::Tree(object) => Value::clone(object),
        }
    }
}

#[derive(Deserialize, Default)]
struct Annotated {
    metadata: Option<Metadata>,
}

#[derive(Deserialize, Serialize, Default)]
struct Metadata {
    #[serde(default)]
    annotations: Value,
}

impl Default for Packed {
    fn default() -> Self {
        Self::of(&Value::Null)
    }
}

impl fmt::Display for Packed {
    /// As JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Tree(object) => object.fmt(f),
        }
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_as_it_was() {
        let long = [0.1 + 0.2, 1e-7 / 3.0, 8.41e21, 1.0, f64::MIN_POSITIVE];
        for object in [json!({"b": [1, -1, u64::MAX], "a": {"text": "\u{0}\n"}}), json!({"long": long})] {
            let packed = Packed::of(&object);
            assert_eq!((packed.open(), packed.to_string()), (object.clone(), object.to_string()));
        }
        assert_eq!(Packed::default().open(), Value::Null);
    }

    #[test]
    fn annotations_are_found_in_a_text() {
        for object in
            [json!({"a": [{}], "metadata": {"name": "n", "annotations": {"a": "\n"}}}), json!({"spec": 0.1})]
        {
            let found = Packed::of(&object).annotations();
            assert_eq!(found["metadata"]["annotations"], object["metadata"]["annotations"]);
        }
    }
}
