//! `--output`: what a result looks like.

use serde_json::{Map, Value};

/// The three formats that every tool offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// One record a line.
    #[default]
    Text,
    /// One object with the fields of the tool's schema.
    Json,
    /// `KEY=value` lines for GitLab's `artifacts:reports:dotenv`.
    Dotenv,
}

/// The object of `--output json`: the schema's name, then the fields.
pub fn document(tool: &str, fields: Map<String, Value>) -> String {
    let mut object = Map::with_capacity(fields.len() + 1);
    object.insert("schema".to_owned(), Value::String(format!("{tool}/v1")));
    object.extend(fields);
    Value::Object(object).to_string()
}
