//! A directory with manifests, and the tool run in it.

use std::path::PathBuf;

use assert_cmd::assert::Assert;
use hermetic::Home;

/// A digest that an image may have.
pub(crate) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A deployment with comments, blank lines and aligned values that every re-emission loses.
pub(crate) const DEPLOYMENT: &str = "\
# The front door.
apiVersion: apps/v1
kind: Deployment
metadata:
  name:      web   # aligned

spec:
  template:
    spec:
      initContainers:
      - {name: migrate, image: 'r.test/team/migrate:7'}
      containers:
      - name:  app
        image: r.test/team/app:1   # set by CI

        args: [ \"--mode\",   \"0644\" ]
        securityContext: {runAsUser: 0x10}
      - name: sidecar
        image: \"docker.io/library/envoy:1.2\"
";

/// A home that is also the working directory.
pub(crate) struct Place {
    home: Home,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { home: Home::new() }
    }

    /// A place with one file.
    pub(crate) fn with(name: &str, text: &str) -> Self {
        let place = Self::new();
        place.write(name, text);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names of all files there.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.home.tool("manifest-patch");
        command.current_dir(self.home.path()).args(arguments);
        command
    }

    /// The same, for what needs a stdout of its own.
    pub(crate) fn spawnable(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.spawnable("manifest-patch");
        command.current_dir(self.home.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Assert {
        self.command(arguments).assert()
    }

    pub(crate) fn pipe(&self, stdin: &str, arguments: &[&str]) -> Assert {
        self.command(arguments).write_stdin(stdin.as_bytes()).assert()
    }
}

/// What a command printed.
pub(crate) fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// What a command said to people.
pub(crate) fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// The object of `--output json` is as the schema has it.
pub(crate) fn assert_schema(object: &serde_json::Value) {
    hermetic::schema::check(include_str!("../../schema/manifest-patch.v1.json"), object);
}
