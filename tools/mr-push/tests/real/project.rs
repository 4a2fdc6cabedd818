//! A repository on one of the servers, and mr-push as a CI job runs it there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hermetic::{Home, Ran, Variables, service, variables};

pub(crate) const BUMP: &str = "echo 'image: app:2' >manifests/app.yml";

pub(crate) fn gitlab() -> &'static Variables {
    static SERVICE: OnceLock<Variables> = OnceLock::new();
    SERVICE.get_or_init(|| variables(service("git-ssh").arg("up")))
}

pub(crate) fn gitea() -> &'static Variables {
    static SERVICE: OnceLock<Variables> = OnceLock::new();
    SERVICE.get_or_init(|| variables(service("forge").arg("up")))
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("mr-push-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A repository with a branch `demo` on one of the servers, and who may push there.
pub(crate) struct Project {
    pub(crate) home: Home,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) known_hosts: String,
}

impl Project {
    /// On the server that answers as GitLab does.
    pub(crate) fn on_gitlab() -> Self {
        let service_variables = gitlab();
        let name = format!("team/{}", unique_name());
        let made = service("git-ssh").args(["create-repository", &name, "demo"]).output().unwrap();
        assert!(made.status.success());
        let project = Self {
            home: Home::new(),
            url: format!("{}/{name}.git", service_variables["GIT_SSH_URL"]),
            key: service_variables["GIT_SSH_KEY"].clone(),
            known_hosts: service_variables["GIT_SSH_KNOWN_HOSTS"].clone(),
            name,
        };
        project.fill(&project.repository());
        project
    }

    /// On Gitea, as the robot's.
    pub(crate) fn on_gitea() -> Self {
        let service_variables = gitea();
        let short = unique_name();
        let name = format!("{}/{short}", service_variables["FORGE_BOT_USER"]);
        let project = Self {
            home: Home::new(),
            url: format!("{}/{name}.git", service_variables["FORGE_SSH"]),
            key: service_variables["FORGE_BOT_KEY"].clone(),
            known_hosts: service_variables["FORGE_KNOWN_HOSTS"].clone(),
            name,
        };
        project.gitea_api("POST", "/user/repos", &format!(r#"{{"name":"{short}","default_branch":"main"}}"#));
        project.fill(Path::new(&project.url));
        project
    }

    fn fill(&self, url: &Path) {
        let work = self.home.path().join("work");
        fs::create_dir_all(work.join("manifests")).unwrap();
        fs::create_dir(self.temporary()).unwrap();
        fs::write(work.join("manifests/app.yml"), "image: app:1\n").unwrap();
        fs::write(work.join("other"), "x\n").unwrap();
        self.git("work", &["init", "-q", "-b", "main"]);
        self.git("work", &["add", "."]);
        self.git("work", &["commit", "-q", "-m", "first"]);
        let url = url.to_str().unwrap();
        self.git("work", &["push", "-q", url, "main", "main:demo"]);
    }

    pub(crate) fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let ssh = format!(
            "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes",
            self.key, self.known_hosts
        );
        let mut command = self.home.program("git");
        command.env("GIT_SSH_COMMAND", ssh).current_dir(self.home.path().join(directory)).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.home.path().join("tmp")
    }

    /// The bare repository's directory on the server that plays GitLab.
    pub(crate) fn repository(&self) -> PathBuf {
        Path::new(&gitlab()["GIT_SSH_ROOT"]).join(format!("{}.git", self.name))
    }

    /// Sets a case of the server that plays GitLab.
    pub(crate) fn set(&self, key: &str, values: &[&str]) {
        let set = service("git-ssh").args(["set", &self.name, key]).args(values).status().unwrap();
        assert!(set.success());
    }

    pub(crate) fn requests(&self) -> serde_json::Value {
        let output = service("git-ssh").args(["requests", &self.name]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// As a person does who wants none of it.
    pub(crate) fn close_requests(&self) {
        let kept = self.repository().with_extension("requests.json");
        let text = fs::read_to_string(&kept).unwrap().replace("\"opened\"", "\"closed\"");
        fs::write(kept, text).unwrap();
    }

    pub(crate) fn gitea_api(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let service_variables = gitea();
        let output = Command::new("curl")
            .args([
                "-sS",
                "--fail-with-body",
                "-X",
                method,
                "-H",
                "Content-Type: application/json",
                "--data",
                body,
            ])
            .args(["-H", &format!("Authorization: token {}", service_variables["FORGE_BOT_TOKEN"])])
            .arg(format!("{}/api/v1{path}", service_variables["FORGE_URL"]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// mr-push with a key and host keys in variables, as a CI job has them.
    pub(crate) fn command(&self, url: &str, branch: &str, options: &[&str]) -> Command {
        self.command_that(url, branch, options, BUMP)
    }

    /// The same with another change.
    pub(crate) fn command_that(&self, url: &str, branch: &str, options: &[&str], change: &str) -> Command {
        let mut command = self.home.spawnable("mr-push");
        command
            .env("TMPDIR", self.temporary())
            .env("SSH_PRIVATE_KEY", &self.key)
            .env("SSH_KNOWN_HOSTS", &self.known_hosts)
            .current_dir(self.temporary())
            .stdin(Stdio::null())
            .args(["--target", "demo", "--branch", branch, "--title", "Runner: 2", "--path", "manifests"])
            .args(options)
            .arg(url)
            .args(["--", "sh", "-c", change]);
        command
    }

    pub(crate) fn run(&self, branch: &str, options: &[&str]) -> Ran {
        discreetly(&mut self.command(&self.url, branch, options))
    }

    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert_eq!(fs::read_dir(self.temporary()).unwrap().count(), 0);
    }

    pub(crate) fn branch(&self, branch: &str) -> Option<String> {
        let mut command = self.home.program("git");
        let output =
            command.arg("-C").arg(self.repository()).args(["rev-parse", "-q", "--verify", branch]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

/// Runs it. Whatever it prints, no secret of its variables and files may be in it.
#[track_caller]
pub(crate) fn discreetly(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    discreet(output, &secrets(command))
}

/// What was printed, with none of the secrets in it.
#[track_caller]
pub(crate) fn discreet(output: Output, secrets: &[String]) -> Ran {
    let ran = Ran::from(output);
    for secret in secrets {
        let told = ran.stdout.contains(secret.as_str()) || ran.stderr.contains(secret.as_str());
        assert!(!told, "a secret was printed: {secret}\n{}\n{}", ran.stdout, ran.stderr);
    }
    ran
}

/// The secrets that a command knows, each word or line of them that nothing else would hold.
pub(crate) fn secrets(command: &Command) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in command.get_envs() {
        let (name, value) = (name.to_str().unwrap(), value.unwrap_or_default().to_str().unwrap());
        if name.contains("TOKEN") || name.contains("PASSPHRASE") {
            found.push(value.to_owned());
        } else if name.contains("KEY") {
            let text = fs::read_to_string(value).unwrap_or_else(|_| value.to_owned());
            found.extend(
                text.lines().filter(|line| !line.starts_with("---")).map(|line| line.trim().to_owned()),
            );
        }
    }
    found.retain(|secret| secret.len() >= 5);
    found
}
