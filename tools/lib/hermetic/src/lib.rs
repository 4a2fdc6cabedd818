//! A tool run in a test: its own `HOME`, none of the machine's variables; what it printed, and the services it needs.
//!
//! Tests that inherit `CI_*`, `DOCKER_*` or a `KUBECONFIG` change their meaning inside a CI job, so
//! a command starts from an empty environment with `PATH` and a temporary `HOME`.

mod ran;
pub mod schema;
mod service;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub use ran::Ran;
pub use service::{Variables, service, variables};

/// A home directory of a test's own, removed when the value is dropped.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// An empty home.
    ///
    /// # Panics
    /// Where the system has no room for a temporary directory.
    #[expect(
        clippy::new_without_default,
        clippy::expect_used,
        reason = "a test that has no home can't go on"
    )]
    pub fn new() -> Self {
        Self(TempDir::with_prefix("home-").expect("a temporary directory"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The tool, built by cargo for this test, in this home.
    pub fn tool(&self, name: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin(name));
        command.env_clear().envs(self.variables());
        command
    }

    /// The same as [`Self::tool`], for tests that need pipes, signals or a process that goes on.
    pub fn spawnable(&self, name: &str) -> Command {
        self.program(assert_cmd::cargo::cargo_bin(name))
    }

    /// Another program (git, sh) in this home.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.variables());
        command
    }

    #[expect(clippy::disallowed_methods, reason = "PATH is what lets a test find git")]
    fn variables(&self) -> [(&'static str, std::ffi::OsString); 8] {
        let identity = "Test Author";
        let address = "author@example.invalid";
        [
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", self.path().as_os_str().to_owned()),
            ("LC_ALL", "C.UTF-8".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_AUTHOR_NAME", identity.into()),
            ("GIT_AUTHOR_EMAIL", address.into()),
            ("GIT_COMMITTER_NAME", identity.into()),
            ("GIT_COMMITTER_EMAIL", address.into()),
        ]
    }
}
