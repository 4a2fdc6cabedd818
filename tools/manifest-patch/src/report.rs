//! The result as JSON, dotenv lines and a unified diff.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use similar::TextDiff;
use step::{Dotenv, Failure, document};

use crate::gate::{Answer, Other};
use crate::patch::Change;
use crate::run::Patched;

/// The proof of each change, by the schema `manifest-patch/v1`.
pub fn json(patched: &[Patched], warnings: &[String]) -> String {
    let edits: Vec<Value> = patched.iter().flat_map(edits).collect();
    let unchanged: Vec<String> = patched.iter().filter(|file| !file.changed()).map(Patched::name).collect();
    let files: Vec<Value> = patched.iter().map(file).collect();
    let mut fields = Map::new();
    fields.insert("edits".to_owned(), Value::Array(edits));
    fields.insert("unchanged".to_owned(), json!(unchanged));
    fields.insert("files".to_owned(), Value::Array(files));
    fields.insert("warnings".to_owned(), json!(warnings));
    document("manifest-patch", fields)
}

fn edits(file: &Patched) -> impl Iterator<Item = Value> {
    file.outcome.changes.iter().map(|change| edit(&file.source.name, change))
}

fn edit(file: &str, change: &Change) -> Value {
    json!({
        "file": file,
        "document": change.document,
        "path": change.path,
        "line": change.position.line,
        "column": change.position.column,
        "byteRange": [change.bytes.start, change.bytes.end],
        "old": change.old,
        "new": change.new,
        "verified": change.verified,
    })
}

/// What `verify` found, by the same schema.
pub fn answer_json(answer: &Answer) -> String {
    let edits: Vec<Value> = answer.images.iter().map(|(file, change)| edit(file, change)).collect();
    let other = |other: &Other| json!({ "file": other.file, "line": other.line, "what": other.what });
    let others: Vec<Value> = answer.others.iter().map(other).collect();
    let mut fields = Map::new();
    fields.insert("onlyImages".to_owned(), Value::Bool(answer.only_images()));
    fields.insert("edits".to_owned(), Value::Array(edits));
    fields.insert("others".to_owned(), Value::Array(others));
    fields.insert("unchanged".to_owned(), json!(answer.unchanged));
    document("manifest-patch", fields)
}

/// What was read, where the result belongs, and the hashes of both.
fn file(file: &Patched) -> Value {
    json!({
        "read": file.source.name,
        "file": file.name(),
        "changed": file.changed(),
        "sha256Before": sha256(&file.source.bytes),
        "sha256After": sha256(file.after()),
    })
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether and how often something changed.
pub fn dotenv(patched: &[Patched]) -> Result<Dotenv, Failure> {
    let mut report = Dotenv::new();
    let changed = patched.iter().any(Patched::changed);
    let edits: usize = patched.iter().map(|file| file.outcome.changes.len()).sum();
    report.set("MANIFEST_CHANGED", if changed { "true" } else { "false" })?;
    report.set("MANIFEST_EDITS", &edits.to_string())?;
    Ok(report)
}

/// A unified diff that `patch -p1` and `git apply` take; empty where nothing changes.
pub fn diff(file: &Patched) -> String {
    if !file.changed() {
        return String::new();
    }
    let before = String::from_utf8_lossy(file.before().unwrap_or_default());
    let after = String::from_utf8_lossy(file.after());
    let name = file.name();
    let name = name.trim_start_matches("./").trim_start_matches('/');
    let old = if file.before().is_some() { format!("a/{name}") } else { "/dev/null".to_owned() };
    TextDiff::from_lines(before.as_ref(), after.as_ref())
        .unified_diff()
        .header(&old, &format!("b/{name}"))
        .to_string()
}
