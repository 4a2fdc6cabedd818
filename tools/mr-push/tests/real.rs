//! Against real servers: openssh-server and HTTPS before repositories that answer as GitLab does, and Gitea.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hermetic::Home;

const BUMP: &str = "echo 'image: app:2' >manifests/app.yml";

fn service(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services").join(name)
}

/// The variables that a service prints when it is up.
fn up(name: &str) -> HashMap<String, String> {
    let output = Command::new(service(name)).arg("up").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

fn gitlab() -> &'static HashMap<String, String> {
    static SERVICE: OnceLock<HashMap<String, String>> = OnceLock::new();
    SERVICE.get_or_init(|| up("git-ssh"))
}

fn gitea() -> &'static HashMap<String, String> {
    static SERVICE: OnceLock<HashMap<String, String>> = OnceLock::new();
    SERVICE.get_or_init(|| up("forge"))
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("mr-push-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A repository with a branch `demo` on one of the servers, and who may push there.
struct Project {
    home: Home,
    name: String,
    url: String,
    key: String,
    known_hosts: String,
}

impl Project {
    /// On the server that answers as GitLab does.
    fn on_gitlab() -> Self {
        let service_variables = gitlab();
        let name = format!("team/{}", unique_name());
        let made =
            Command::new(service("git-ssh")).args(["create-repository", &name, "demo"]).output().unwrap();
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
    fn on_gitea() -> Self {
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

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
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

    fn temporary(&self) -> PathBuf {
        self.home.path().join("tmp")
    }

    /// The bare repository's directory on the server that plays GitLab.
    fn repository(&self) -> PathBuf {
        Path::new(&gitlab()["GIT_SSH_ROOT"]).join(format!("{}.git", self.name))
    }

    /// Sets a case of the server that plays GitLab.
    fn set(&self, key: &str, values: &[&str]) {
        let set =
            Command::new(service("git-ssh")).args(["set", &self.name, key]).args(values).status().unwrap();
        assert!(set.success());
    }

    fn requests(&self) -> serde_json::Value {
        let output = Command::new(service("git-ssh")).args(["requests", &self.name]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn gitea_api(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
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
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// mr-push with a key and host keys in variables, as a CI job has them.
    fn command(&self, url: &str, branch: &str, options: &[&str]) -> Command {
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
            .args(["--", "sh", "-c", BUMP]);
        command
    }

    fn run(&self, branch: &str, options: &[&str]) -> Ran {
        Ran::of(&mut self.command(&self.url, branch, options))
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(fs::read_dir(self.temporary()).unwrap().count(), 0);
    }

    fn branch(&self, branch: &str) -> Option<String> {
        let mut command = self.home.program("git");
        let output =
            command.arg("-C").arg(self.repository()).args(["rev-parse", "-q", "--verify", branch]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    fn ended(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn says(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "`{words}` is not in {}", self.stderr);
        self
    }
}

#[test]
fn gitlab_makes_one_request_however_often_it_is_asked() {
    let project = Project::on_gitlab();
    // The forge is told from its greeting.
    let first = project.run("b", &["--label", "a b", "--description", "one\ntwo"]);
    first.ended(0);
    assert!(first.stdout.ends_with("/-/merge_requests/1\n"), "{}", first.stdout);
    assert_eq!(project.run("b", &[]).ended(0).stdout, first.stdout);
    let requests = project.requests();
    assert_eq!(requests.as_array().unwrap().len(), 1);
    assert_eq!(requests[0]["title"], "Runner: 2");
    project.is_clean();
}

#[test]
fn gitlabs_refusals_are_failures() {
    let project = Project::on_gitlab();
    project.set("gitlab.banner", &["Maintenance on Sunday"]);
    project.set("gitlab.chunk", &["1"]);
    project.run("banner", &[]).ended(0);
    project.set("gitlab.fault", &["true"]);
    project.run("fault", &[]).ended(2).says("An unknown error occurred");
    project.set("gitlab.fault", &[]);
    project.set("gitlab.mergeRequests", &["false"]);
    project.run("off", &[]).ended(2).says("not enabled");
    project.set("gitlab.mergeRequests", &[]);
    project.set("gitlab.protectedBranch", &["protected/*"]);
    project.run("protected/b", &[]).ended(2).says("protected branches");
    assert_eq!(project.branch("protected/b"), None);
    project.set("gitlab.slowHook", &["500"]);
    project.run("slow", &[]).ended(0);
    project.set("receive.advertisePushOptions", &["false"]);
    project.run("options", &[]).ended(2).says("takes no push options");
    assert_eq!(project.branch("options"), None);
}

#[test]
fn where_no_link_is_printed_the_api_is_asked() {
    let project = Project::on_gitlab();
    project.set("gitlab.link", &["false"]);
    project.run("b", &[]).ended(0).says("printed no link");
    let mut command = project.command(&project.url, "b", &["--api-url", &gitlab()["GITLAB_API_URL"]]);
    let ran = Ran::of(command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]));
    assert!(ran.ended(0).stdout.ends_with("/-/merge_requests/1\n"), "{}", ran.stdout);
}

#[test]
fn https_with_a_private_authority_and_a_token() {
    let project = Project::on_gitlab();
    let url = format!("{}/{}.git", gitlab()["GIT_HTTPS_URL"], project.name);
    let token = &gitlab()["GITLAB_API_TOKEN"];
    let run = |token: &str, options: &[&str]| {
        Ran::of(project.command(&url, "b", options).env("GITLAB_TOKEN", token))
    };
    let ca = &gitlab()["GIT_HTTPS_CA"];
    run(token, &["--forge", "gitlab"]).ended(77).says("certificate verify failed").says("--ca-file");
    let wrong = run("glpat-wrong", &["--forge", "gitlab", "--ca-file", ca, "-vv"]);
    wrong.ended(77).says("the token is not accepted");
    assert!(!wrong.stderr.contains("glpat-wrong"));
    // Told from the API.
    let ran = run(token, &["--ca-file", ca, "-vv"]);
    assert!(ran.ended(0).stdout.contains("/-/merge_requests/"));
    assert!(!ran.stderr.contains(token.as_str()));
    // git's own setting for the same.
    project.git("work", &["config", "--global", "http.sslCAInfo", ca]);
    run(token, &["--forge", "gitlab"]).ended(0);
    let missing = url.replace(&project.name, "team/nothing");
    let mut command = project.command(&missing, "b", &["--forge", "gitlab"]);
    Ran::of(command.env("GITLAB_TOKEN", token)).ended(2).says("not found");
}

#[test]
fn a_credential_helper_knows_the_token() {
    let project = Project::on_gitlab();
    let helper =
        format!("!f() {{ echo username=oauth2; echo password={}; }}; f", gitlab()["GITLAB_API_TOKEN"]);
    project.git("work", &["config", "--global", "credential.helper", &helper]);
    let url = format!("{}/{}.git", gitlab()["GIT_HTTP_URL"], project.name);
    Ran::of(&mut project.command(&url, "b", &["--forge", "gitlab"])).ended(0);
}

/// A proxy that tunnels (RFC 9110, section 9.3.6) and counts.
fn tunnel() -> (u16, &'static AtomicU32) {
    static TUNNELS: AtomicU32 = AtomicU32::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let Some(to) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
                continue;
            };
            let mut server = TcpStream::connect(to).unwrap();
            TUNNELS.fetch_add(1, Ordering::Relaxed);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    (port, &TUNNELS)
}

#[test]
fn a_proxy_is_used_where_it_is_to_be() {
    let project = Project::on_gitlab();
    let (port, tunnels) = tunnel();
    let url = format!("{}/{}.git", gitlab()["GIT_HTTPS_URL"], project.name);
    let run = |no_proxy: &str| {
        let mut command =
            project.command(&url, "b", &["--forge", "gitlab", "--ca-file", &gitlab()["GIT_HTTPS_CA"]]);
        command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]).env("NO_PROXY", no_proxy);
        Ran::of(command.env("https_proxy", format!("http://127.0.0.1:{port}"))).ended(0);
        tunnels.load(Ordering::Relaxed)
    };
    assert_eq!(run("localhost,127.0.0.1"), 0);
    // Every request of the push goes through one kept-alive connection.
    assert_eq!(run("elsewhere.example"), 1);
}

#[test]
fn a_host_key_is_known_or_the_run_ends() {
    let project = Project::on_gitlab();
    let text = fs::read_to_string(&project.known_hosts).unwrap();
    let with = |hosts: &str, options: &[&str]| {
        let mut command = project.command(&project.url, "b", options);
        Ran::of(command.env("SSH_KNOWN_HOSTS", hosts))
    };
    with("# none\n", &[]).ended(77).says("is not known").says("ssh-keyscan");
    let ed25519 = text.lines().find(|line| line.contains("ssh-ed25519")).unwrap();
    with(&format!("{text}@revoked * {}\n", ed25519.split_once(' ').unwrap().1), &[])
        .ended(77)
        .says("revoked");
    let key = project.home.path().join("other");
    project
        .home
        .program("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    let other = fs::read_to_string(key.with_extension("pub")).unwrap();
    let host = ed25519.split(' ').next().unwrap();
    with(&format!("{host} {other}"), &[]).ended(77).says("has changed");
    assert_eq!(project.branch("b"), None);
    // Another of the server's keys is known.
    let ecdsa = text.lines().find(|line| line.contains("ecdsa")).unwrap();
    with(ecdsa, &[]).ended(0);
    // Hashed names.
    let hashed = project.home.path().join("hashed");
    fs::write(&hashed, ed25519).unwrap();
    project.home.program("ssh-keygen").args(["-q", "-H", "-f"]).arg(&hashed).output().unwrap();
    assert!(fs::read_to_string(&hashed).unwrap().starts_with("|1|"));
    with(hashed.to_str().unwrap(), &[]).ended(0);
    // A pinned key.
    let line = project.home.path().join("line");
    fs::write(&line, ed25519).unwrap();
    let listed = project.home.program("ssh-keygen").arg("-lf").arg(&line).output().unwrap();
    let fingerprint = String::from_utf8(listed.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
    with("# none\n", &["--host-key-fingerprint", &fingerprint]).ended(0);
    with(&text, &["--host-key-fingerprint", "SHA256:AAAA"]).ended(77).says("not the pinned");
}

#[test]
fn keys_are_taken_as_people_paste_them() {
    let project = Project::on_gitlab();
    let text = fs::read_to_string(&project.key).unwrap();
    let with = |key: &str, passphrase: &str| {
        let mut command = project.command(&project.url, "b", &["--forge", "gitlab", "-vv"]);
        Ran::of(command.env("SSH_PRIVATE_KEY", key).env("SSH_PRIVATE_KEY_PASSPHRASE", passphrase))
    };
    let pasted = with(text.replace('\n', "\r\n").trim_end(), "");
    pasted.ended(0);
    assert!(text.lines().filter(|line| !line.starts_with("---")).all(|line| !pasted.stderr.contains(line)));
    let encrypted = project.home.path().join("encrypted");
    fs::copy(&project.key, &encrypted).unwrap();
    let mut change = project.home.program("ssh-keygen");
    change.args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(&encrypted);
    assert!(change.status().unwrap().success());
    let path = encrypted.to_str().unwrap();
    with(path, "open sesame").ended(0);
    with(path, "").ended(77).says("it is encrypted");
    with(path, "wrong").ended(77).says("does not decrypt it");
    let stranger = project.home.path().join("stranger");
    project
        .home
        .program("ssh-keygen")
        .args(["-q", "-t", "rsa", "-N", "", "-f"])
        .arg(&stranger)
        .status()
        .unwrap();
    with(stranger.to_str().unwrap(), "").ended(77).says("accepts none of the keys: SSH_PRIVATE_KEY");
    with("", "").ended(77).says("no SSH key");
}

#[test]
fn an_agent_holds_the_key() {
    let project = Project::on_gitlab();
    let script = format!(
        "eval $(ssh-agent) >&2; ssh-add -q {}; unset SSH_PRIVATE_KEY; \"$@\"; status=$?; ssh-agent -k >&2; exit $status",
        project.key
    );
    let inner = project.command(&project.url, "b", &["--forge", "gitlab"]);
    let mut command = project.home.program("sh");
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env("SSH_KNOWN_HOSTS", &project.known_hosts).current_dir(project.temporary());
    Ran::of(&mut command).ended(0);
}

#[test]
fn a_signed_commit_verifies_and_is_the_same_again() {
    let project = Project::on_gitlab();
    for (kind, passphrase) in [("ed25519", ""), ("ecdsa", "open sesame")] {
        let key = project.home.path().join(kind);
        let mut make = project.home.program("ssh-keygen");
        make.args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(&key);
        assert!(make.status().unwrap().success());
        let options = ["--forge", "gitlab", "--sign-key", key.to_str().unwrap()];
        let run = || {
            let mut command = project.command(&project.url, kind, &options);
            Ran::of(command.env("MR_PUSH_SIGN_KEY_PASSPHRASE", passphrase))
        };
        run().ended(0);
        let first = project.branch(kind);
        run().ended(0);
        assert_eq!(project.branch(kind), first);
        let signers = project.home.path().join("signers");
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(&signers, format!("author@example.invalid {public}")).unwrap();
        let allowed = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let repository = project.repository();
        project.git("work", &["-c", &allowed, "-C", repository.to_str().unwrap(), "verify-commit", kind]);
    }
}

#[test]
fn ten_thousand_refs_are_no_obstacle() {
    let project = Project::on_gitlab();
    let commit = project.git("work", &["rev-parse", "HEAD"]);
    let mut update = project.home.program("git");
    update.arg("-C").arg(project.repository()).args(["update-ref", "--stdin"]).stdin(Stdio::piped());
    let mut child = update.spawn().unwrap();
    let lines: String =
        (0..10_000).fold(String::new(), |text, n| text + &format!("create refs/heads/x/{n} {commit}\n"));
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    project.run("b", &["--forge", "gitlab"]).ended(0);
    project.run("x", &["--forge", "gitlab"]).ended(2).says("can't be made");
}

/// A relay that cuts the connection after so many bytes from the server.
fn cutting_relay(to: u16, after: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            let mut left = after;
            let mut buffer = [0; 512];
            while let Ok(count @ 1..) = server.read(&mut buffer) {
                let count = count.min(left);
                left -= count;
                if client.write_all(&buffer[..count]).is_err() || left == 0 {
                    break;
                }
            }
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    });
    port
}

#[test]
fn a_connection_may_break_anywhere() {
    let project = Project::on_gitlab();
    let port: u16 = project.url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let known = fs::read_to_string(&project.known_hosts).unwrap();
    let mut whole = 0;
    for after in (10..).step_by(700).take(12).chain([100_000]) {
        let through = cutting_relay(port, after);
        let url = project.url.replace(&format!(":{port}/"), &format!(":{through}/"));
        let branch = format!("cut-{after}");
        let mut command = project.command(&url, &branch, &["--forge", "gitlab", "--attempts", "1"]);
        let known = known.replace(&format!("]:{port} "), &format!("]:{through} "));
        let ran = Ran::of(command.env("SSH_KNOWN_HOSTS", known));
        whole += u32::from(ran.status == Some(0));
        assert!(matches!(ran.status, Some(0 | 75)), "after {after} bytes: {:?} {}", ran.status, ran.stderr);
        project.is_clean();
        // Whatever was told, the branch is not there or whole, and the next run ends well.
        project.run(&branch, &["--forge", "gitlab"]).ended(0);
    }
    assert!(whole > 0, "the relay never let a whole run through");
    project.git("work", &["-C", project.repository().to_str().unwrap(), "fsck", "--strict"]);
}

#[test]
fn gitea_opens_requests_by_api_and_by_push() {
    let project = Project::on_gitea();
    let token = &gitea()["FORGE_BOT_TOKEN"];
    let with_token = |branch: &str, options: &[&str]| {
        Ran::of(project.command(&project.url, branch, options).env("GITEA_TOKEN", token))
    };
    let first =
        with_token("argocd/1", &["--description", "one\ntwo", "--assignee", &gitea()["FORGE_BOT_USER"]]);
    first.ended(0);
    assert_eq!(with_token("argocd/1", &[]).ended(0).stdout, first.stdout);
    let pulls = project.gitea_api("GET", &format!("/repos/{}/pulls?state=open", project.name), "");
    assert_eq!(pulls.as_array().unwrap().len(), 1);
    let found = ["base", "head"].map(|side| pulls[0][side]["ref"].as_str().unwrap());
    assert_eq!(found, ["demo", "argocd/1"]);
    assert_eq!(pulls[0]["body"], "one\ntwo");
    assert_eq!(pulls[0]["html_url"], first.stdout.trim());
    with_token("argocd/2", &["--label", "no-such-label"]).ended(2).says("no label `no-such-label`");
    // Without a token: by a push to refs/for/demo.
    let pushed = project.run("topic", &[]);
    assert!(pushed.ended(0).stdout.contains("/pulls/"), "{}", pushed.stdout);
    project.run("topic", &[]).ended(0);
    project.run("other", &["--label", "x"]).ended(2).says("GITEA_TOKEN");
    // Over HTTP, where the token is the password as well.
    let http = format!("{}/{}.git", gitea()["FORGE_URL"], project.name);
    let mut command = project.command(&http, "argocd/3", &[]);
    assert!(Ran::of(command.env("GITEA_TOKEN", token)).ended(0).stdout.contains("/pulls/"));
    Ran::of(project.command(&http, "argocd/4", &[]).env("GITEA_TOKEN", "wrong")).ended(77);
}
