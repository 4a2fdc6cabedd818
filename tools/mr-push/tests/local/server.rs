//! A repository on this machine, and mr-push as it runs there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hermetic::{Home, Ran};
use serde_json::Value;

pub(crate) const VIEW: &str =
    r#"printf '\nView merge request for %s:\n  https://gitlab.test/g/p/-/merge_requests/7\n\n' "$branch""#;
pub(crate) const INVITE: &str = r#"printf '\nTo create a merge request for %s, visit:\n  https://gitlab.test/g/p/-/merge_requests/new?x=1\n\n' "$branch""#;
pub(crate) const WARNING: &str = r"cat <<'TEXT'

========================================================================

   WARNINGS: Error encountered with push options 'merge_request.create':
                     An unknown error occurred

========================================================================

TEXT";

/// A bare repository with the branches `main` and `demo`, and a clone of it.
pub(crate) struct Server {
    pub(crate) home: Home,
}

impl Server {
    pub(crate) fn new() -> Self {
        let server = Self { home: Home::new() };
        for directory in ["work/manifests", "work/other", "tmp"] {
            fs::create_dir_all(server.home.path().join(directory)).unwrap();
        }
        server.write("manifests/app.yml", "image: app:1\n");
        server.write("other/file", "x\n");
        server.git("work", &["init", "-q", "-b", "main"]);
        server.git("work", &["add", "."]);
        server.git("work", &["commit", "-q", "-m", "first"]);
        server.git("work", &["branch", "demo"]);
        server.git(".", &["clone", "-q", "--bare", "work", "bare"]);
        for setting in
            ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "receive.advertisePushOptions"]
        {
            server.git("bare", &["config", setting, "true"]);
        }
        server.git("work", &["remote", "add", "origin", server.url().to_str().unwrap()]);
        server.answers(VIEW);
        server
    }

    /// What the server says after a push; it also keeps the options.
    pub(crate) fn answers(&self, script: &str) {
        self.hook(
            "post-receive",
            &format!(
                "while read old new ref; do branch=${{ref#refs/heads/}}\n{script}\ndone\n\
                 env | grep ^GIT_PUSH_OPTION_ | sort >options\nexit 0"
            ),
        );
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.url().join("hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let file = self.home.path().join("work").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub(crate) fn url(&self) -> PathBuf {
        self.home.path().join("bare")
    }

    pub(crate) fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command = self.home.program("git");
        let output = command.current_dir(self.home.path().join(directory)).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// mr-push with the options, and the script as its COMMAND.
    pub(crate) fn command(&self, options: &[&str], script: &str) -> Command {
        let mut command = self.program(options);
        command.arg(self.url()).args(["--", "sh", "-c", script]);
        command
    }

    pub(crate) fn program(&self, options: &[&str]) -> Command {
        let mut command = self.home.spawnable("mr-push");
        command.env("TMPDIR", self.home.path().join("tmp")).stdin(Stdio::null());
        command.current_dir(self.home.path().join("tmp")).args(options);
        command
    }

    pub(crate) fn run(&self, options: &[&str], script: &str) -> Ran {
        Ran::of(&mut self.command(options, script))
    }

    pub(crate) fn demo(&self, branch: &str, script: &str) -> Ran {
        self.run(
            &["--forge", "gitlab", "--target", "demo", "--branch", branch, "--path", "manifests"],
            script,
        )
    }

    /// Commits all that the clone has, on `demo`.
    pub(crate) fn publish(&self, message: &str) {
        self.git("work", &["add", "."]);
        self.git("work", &["commit", "-qm", message]);
        self.push_demo();
    }

    /// Pushes the clone's commits to `demo`.
    pub(crate) fn push_demo(&self) {
        self.git("work", &["push", "-q", "origin", "HEAD:demo"]);
    }

    pub(crate) fn has_branch(&self, branch: &str) -> bool {
        self.git("bare", &["branch", "--list", branch]).contains(branch)
    }

    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        fs::read_dir(self.home.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// The result, as the schema says.
#[track_caller]
pub(crate) fn result(ran: &Ran) -> Value {
    ran.json(include_str!("../../schema/mr-push.v1.json"))
}

pub(crate) const BUMP: &str = "echo 'image: app:2' >manifests/app.yml";
