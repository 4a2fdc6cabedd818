//! imgpush, through its binary, against registries and engines in this process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that has no server can't go on")]

mod archives;
mod choice;
mod engine;
mod faults;
mod images;
mod login;
mod progress;
mod server;
mod storage;

use std::path::PathBuf;

use hermetic::{Home, Ran};
use serde_json::Value;

/// What a run printed.
pub(crate) trait Printed {
    /// As one record.
    fn record(&self) -> &str;

    /// The digest in the one record.
    #[track_caller]
    fn digest(&self) -> &str {
        self.record().rsplit_once('@').unwrap().1
    }

    /// The document, which is as the schema says.
    fn document(&self) -> Value;
}

impl Printed for Ran {
    #[track_caller]
    fn record(&self) -> &str {
        let record = self.stdout.strip_suffix('\n').unwrap();
        assert!(!record.contains('\n'), "{record}");
        record
    }

    #[track_caller]
    fn document(&self) -> Value {
        self.json(include_str!("../../schema/imgpush.v1.json"))
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
