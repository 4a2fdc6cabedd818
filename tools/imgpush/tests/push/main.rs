//! imgpush, through its binary, against registries and engines in this process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that has no server can't go on")]

mod archives;
mod engine;
mod faults;
mod images;
mod login;
mod progress;
mod server;

use std::path::PathBuf;
use std::process::Output;

use hermetic::Home;
use serde_json::Value;

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        self
    }

    /// What was printed, as one record.
    #[track_caller]
    pub(crate) fn record(&self) -> &str {
        let record = self.stdout.strip_suffix('\n').unwrap();
        assert!(!record.contains('\n'), "{record}");
        record
    }

    /// The digest in the one record.
    #[track_caller]
    pub(crate) fn digest(&self) -> &str {
        self.record().rsplit_once('@').unwrap().1
    }

    /// The document, which has the fields that the schema names, of its types, and no others.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        let schema: Value = serde_json::from_str(include_str!("../../schema/imgpush.v1.json")).unwrap();
        fits(&value, &schema, "");
        value
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// As much of JSON Schema as ours needs.
#[track_caller]
fn fits(value: &Value, schema: &Value, place: &str) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    assert!(
        types.is_null() || types == kind || types.as_array().is_some_and(|all| all.contains(&kind.into())),
        "{place} is {kind}"
    );
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], place);
    }
    if let Some(fields) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(required.as_str().unwrap()), "{place} lacks {required}");
        }
        for (name, field) in fields {
            let declared = &schema["properties"][name];
            assert!(declared.is_object(), "{place}.{name} is not in the schema");
            fits(field, declared, name);
        }
    }
}

/// A home with files, where imgpush runs.
pub(crate) struct Desk {
    pub(crate) home: Home,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { home: Home::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.home.tool("imgpush");
        command.current_dir(self.home.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}
