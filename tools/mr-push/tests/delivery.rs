//! Changes delivered to a repository on this machine, whose hook plays the forge.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hermetic::Home;
use serde_json::Value;

const VIEW: &str =
    r#"printf '\nView merge request for %s:\n  https://gitlab.test/g/p/-/merge_requests/7\n\n' "$branch""#;
const INVITE: &str = r#"printf '\nTo create a merge request for %s, visit:\n  https://gitlab.test/g/p/-/merge_requests/new?x=1\n\n' "$branch""#;
const WARNING: &str = r"cat <<'TEXT'

========================================================================

   WARNINGS: Error encountered with push options 'merge_request.create':
                     An unknown error occurred

========================================================================

TEXT";

/// A bare repository with the branches `main` and `demo`, and a clone of it.
struct Server {
    home: Home,
}

impl Server {
    fn new() -> Self {
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
    fn answers(&self, script: &str) {
        self.hook(
            "post-receive",
            &format!(
                "while read old new ref; do branch=${{ref#refs/heads/}}\n{script}\ndone\n\
                 env | grep ^GIT_PUSH_OPTION_ | sort >options\nexit 0"
            ),
        );
    }

    fn hook(&self, name: &str, script: &str) {
        let path = self.url().join("hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.home.path().join("work").join(path), content).unwrap();
    }

    fn url(&self) -> PathBuf {
        self.home.path().join("bare")
    }

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command = self.home.program("git");
        let output = command.current_dir(self.home.path().join(directory)).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// mr-push with the options, and the script as its COMMAND.
    fn command(&self, options: &[&str], script: &str) -> Command {
        let mut command = self.program(options);
        command.arg(self.url()).args(["--", "sh", "-c", script]);
        command
    }

    fn program(&self, options: &[&str]) -> Command {
        let mut command = self.home.spawnable("mr-push");
        command.env("TMPDIR", self.home.path().join("tmp")).stdin(Stdio::null());
        command.current_dir(self.home.path().join("tmp")).args(options);
        command
    }

    fn run(&self, options: &[&str], script: &str) -> Ran {
        Ran::of(&mut self.command(options, script))
    }

    fn demo(&self, branch: &str, script: &str) -> Ran {
        self.run(
            &["--forge", "gitlab", "--target", "demo", "--branch", branch, "--path", "manifests"],
            script,
        )
    }

    fn has_branch(&self, branch: &str) -> bool {
        self.git("bare", &["branch", "--list", branch]).contains(branch)
    }

    fn left_behind(&self) -> Vec<PathBuf> {
        fs::read_dir(self.home.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
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

    /// The result, checked against the schema.
    #[track_caller]
    fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        let schema: Value = serde_json::from_str(include_str!("../schema/mr-push.v1.json")).unwrap();
        for (name, field) in value.as_object().unwrap() {
            let declared = &schema["properties"][name];
            assert!(declared.is_object(), "{name} is not in the schema");
            if let Some(types) = declared.get("type") {
                let is = match field {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                assert!(
                    types == is || types.as_array().is_some_and(|all| all.contains(&is.into())),
                    "{name}"
                );
            }
            if let Some(allowed) = declared.get("enum").and_then(Value::as_array) {
                assert!(allowed.contains(field), "{name}: {field}");
            }
        }
        assert_eq!(value["schema"], "mr-push/v1");
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

const BUMP: &str = "echo 'image: app:2' >manifests/app.yml";

#[test]
fn a_change_becomes_a_branch_a_commit_and_a_request() {
    let server = Server::new();
    let options = ["--forge", "gitlab", "--target", "demo", "--branch", "argocd/2", "--title", "Runner: 2"];
    let mut command = server.command(&[&options[..], &["--path", "manifests"]].concat(), BUMP);
    let ran = Ran::of(command.env("CI_COMMIT_SHA", "4b1c9e2").env("CI_JOB_URL", "https://gitlab.test/job/1"));
    ran.ended(0);
    assert_eq!(ran.stdout, "https://gitlab.test/g/p/-/merge_requests/7\n");
    let message = server.git("bare", &["log", "-1", "--format=%B", "argocd/2"]);
    assert_eq!(message.trim(), "Runner: 2\n\nSource-Commit: 4b1c9e2\nSource-Job: https://gitlab.test/job/1");
    assert_eq!(server.git("bare", &["show", "argocd/2:manifests/app.yml"]), "image: app:2");
    assert_eq!(server.git("bare", &["diff", "--name-only", "demo", "argocd/2"]), "manifests/app.yml");
    assert_eq!(server.git("bare", &["rev-parse", "argocd/2^"]), server.git("bare", &["rev-parse", "demo"]));
    let sent = fs::read_to_string(server.url().join("options")).unwrap();
    for option in ["merge_request.create", "merge_request.target=demo", "merge_request.title=Runner: 2"] {
        assert!(sent.lines().any(|line| line.ends_with(&format!("={option}"))), "{sent}");
    }
    server.git("bare", &["fsck", "--strict"]);
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_second_run_changes_nothing_and_finds_the_request() {
    let server = Server::new();
    server.demo("b", BUMP).ended(0);
    let first = server.git("bare", &["rev-parse", "b"]);
    let again = server.run(
        &["--forge", "gitlab", "--target", "demo", "--branch", "b", "--path", "manifests", "-o", "json"],
        BUMP,
    );
    let result = again.ended(0).json();
    assert_eq!(
        (&result["changed"], &result["url"]),
        (&false.into(), &"https://gitlab.test/g/p/-/merge_requests/7".into())
    );
    assert_eq!(result["commit"], first.as_str());
    // A retried job of GitLab has another URL, and the target may have moved on.
    server.write("other/file", "y\n");
    server.git("work", &["commit", "-qam", "unrelated"]);
    server.git("work", &["push", "-q", "origin", "HEAD:demo"]);
    server.demo("b", BUMP).ended(0);
    assert_eq!(server.git("bare", &["rev-parse", "b"]), first);
}

#[test]
fn nothing_to_change_is_nothing_done() {
    let server = Server::new();
    let ran = server.demo("b", "true");
    assert_eq!(ran.ended(0).stdout, "");
    assert!(!server.has_branch("b"));
}

#[test]
fn a_green_job_means_that_the_request_is_there() {
    let server = Server::new();
    server.answers(WARNING);
    server.demo("warned", BUMP).ended(2).says("An unknown error occurred");
    server.answers(INVITE);
    server.demo("invited", BUMP).ended(2).says("opened no merge request").says("merge_requests/new");
    server.answers(":");
    let ran = server.demo("silent", BUMP);
    ran.ended(0).says("printed no link");
    assert!(ran.stdout.contains(" silent "), "{}", ran.stdout);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let server = Server::new();
    server.hook(
        "pre-receive",
        "echo 'GitLab: You are not allowed to push code to protected branches.' >&2; exit 1",
    );
    server.demo("b", BUMP).ended(2).says("pre-receive hook declined").says("protected branches");
    assert!(!server.has_branch("b"));
}

#[test]
fn what_cant_end_well_is_refused_before_anything_is_sent() {
    let server = Server::new();
    server.git("bare", &["branch", "taken", "main"]);
    server.hook("pre-receive", "touch pushed");
    let gitlab = |options: &[&str]| {
        server.run(&[&["--forge", "gitlab"][..], options].concat(), "touch manifests/new; echo ran >&2")
    };
    gitlab(&["--target", "gone", "--branch", "b"]).ended(2).says("`gone` does not exist");
    gitlab(&["--branch", "taken/b"]).ended(2).says("`taken` exists");
    gitlab(&["--branch", "main"]).ended(2).says("both `main`");
    gitlab(&["--branch", "a..b"]).ended(2).says("not a branch name");
    gitlab(&["--branch", "b", "--push-option", "merge_request.reviewer=ann"])
        .ended(2)
        .says("not one that GitLab knows");
    gitlab(&["--branch", "b", "--reviewer", "ann"]).ended(77).says("GITLAB_TOKEN");
    server.git("bare", &["config", "receive.advertisePushOptions", "false"]);
    let ran = gitlab(&["--branch", "b"]);
    ran.ended(2).says("takes no push options");
    assert!(!ran.stderr.contains("ran\n"));
    assert!(!server.url().join("pushed").exists());
}

#[test]
fn other_peoples_commits_stay_unless_there_is_a_lease() {
    let server = Server::new();
    server.git("work", &["checkout", "-q", "-b", "b"]);
    server.write("manifests/app.yml", "by hand\n");
    server.git("work", &["commit", "-qam", "by hand"]);
    server.git("work", &["push", "-q", "origin", "b"]);
    let theirs = server.git("bare", &["rev-parse", "b"]);
    server.demo("b", BUMP).ended(2).says("other content");
    assert_eq!(server.git("bare", &["rev-parse", "b"]), theirs);
    let lease = |lease: &str| {
        server.run(
            &["--forge", "gitlab", "--target", "demo", "--branch", "b", "--path", "manifests", lease],
            BUMP,
        )
    };
    let elsewhere = server.git("bare", &["rev-parse", "main"]);
    lease(&format!("--force-with-lease={elsewhere}")).ended(2).says(&theirs);
    lease(&format!("--force-with-lease={theirs}")).ended(0);
    assert_eq!(server.git("bare", &["show", "b:manifests/app.yml"]), "image: app:2");
}

#[test]
fn a_target_that_moves_is_built_on() {
    let server = Server::new();
    // The first run of the command moves the target, and takes its time.
    let script = format!(
        "if [ ! -e {home}/moved ]; then touch {home}/moved; cd {home}/work && git commit -q --allow-empty -m moved && \
         git push -q origin HEAD:demo && sleep 2.1 && cd -; fi; {BUMP}",
        home = server.home.path().display()
    );
    server.demo("b", &script).ended(0).says("has moved");
    assert_eq!(server.git("bare", &["log", "-1", "--format=%s", "b^"]), "moved");
}

#[test]
fn two_jobs_for_the_same_change_both_end_well() {
    let server = Server::new();
    let options = ["--forge", "gitlab", "--target", "demo", "--branch", "b", "--path", "manifests"];
    let start = || {
        let mut command = server.command(&options, BUMP);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let jobs: Vec<_> = (0..4).map(|_| start()).collect();
    for job in jobs {
        let ran = Ran::from(job.wait_with_output().unwrap());
        ran.ended(0);
        assert_eq!(ran.stdout, "https://gitlab.test/g/p/-/merge_requests/7\n");
    }
    assert_eq!(server.git("bare", &["rev-list", "--count", "demo..b"]), "1");
}

#[test]
fn the_command_has_stdin_and_a_checkout_of_its_directory() {
    let server = Server::new();
    server.answers(":");
    let mut command = server.command(
        &["--forge", "none", "--target", "demo", "--branch", "b", "--path", "manifests"],
        "ls; read image; echo \"image: $image\" >manifests/app.yml",
    );
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"app:3\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.ended(0).says("manifests\n");
    assert!(!ran.stderr.contains("other"));
    let commit = server.git("bare", &["rev-parse", "b"]);
    assert_eq!(ran.stdout, format!("{} b {commit}\n", server.url().display()));
    assert_eq!(server.git("bare", &["show", "b:manifests/app.yml"]), "image: app:3");
}

#[test]
fn modes_links_and_removals_are_kept_and_ignored_files_are_not() {
    let server = Server::new();
    server.write("manifests/.gitignore", "*.bak\n");
    server.git("work", &["add", "."]);
    let main = server.git("work", &["rev-parse", "main"]);
    server.git("work", &["update-index", "--add", "--cacheinfo", &format!("160000,{main},manifests/sub")]);
    server.git("work", &["commit", "-qm", "submodule"]);
    server.git("work", &["push", "-q", "origin", "HEAD:demo"]);
    let script = "cd manifests && rm app.yml && echo 1 >run && chmod +x run && ln -s run link && echo >x.bak && mkdir -p a/b && echo 2 >a/b/c";
    server.demo("b", script).ended(0);
    let files = server.git("bare", &["ls-tree", "-r", "--format=%(objectmode) %(path)", "b", "manifests"]);
    assert_eq!(
        files,
        "100644 manifests/.gitignore\n100644 manifests/a/b/c\n120000 manifests/link\n100755 manifests/run\n160000 manifests/sub"
    );
}

#[test]
fn a_command_that_fails_or_strays_pushes_nothing() {
    let server = Server::new();
    server.demo("b", "echo out; exit 3").ended(2).says("out\n").says("exit status: 3");
    server
        .demo("b", "mkdir other && echo 1 >other/new")
        .ended(2)
        .says("other/new, which is outside --path manifests");
    let ran = Ran::of(
        server
            .program(&["--branch", "b", "--forge", "none"])
            .arg(server.url())
            .args(["--", "no-such-program"]),
    );
    ran.ended(2).says("can't run no-such-program");
    assert!(!server.has_branch("b"));
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_signal_ends_the_command_and_leaves_nothing() {
    let server = Server::new();
    let started = server.home.path().join("started");
    let script = format!("echo $$ >{}; exec sleep 60", started.display());
    let mut command = server.command(&["--forge", "none", "--branch", "b"], &script);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while !fs::read_to_string(&started).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    let pid = fs::read_to_string(&started).unwrap();
    server.home.program("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
    assert!(!server.has_branch("b"));
    // Ended by the same signal; it may take a moment to go.
    while server
        .home
        .program("kill")
        .args(["-0", pid.trim()])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
    {
        std::thread::yield_now();
    }
}

#[test]
fn a_dry_run_sends_nothing() {
    let server = Server::new();
    server.hook("pre-receive", "touch pushed");
    let options = ["--forge", "gitlab", "--branch", "b", "--dry-run", "-o", "json"];
    let result = server.run(&options, "echo 2 >manifests/new").ended(0).json();
    assert_eq!(
        (&result["dryRun"], &result["changed"], &result["url"]),
        (&true.into(), &true.into(), &Value::Null)
    );
    assert_eq!(result["files"], serde_json::json!(["manifests/new"]));
    assert!(!server.url().join("pushed").exists() && !server.has_branch("b"));
}

#[test]
fn a_failure_is_told_as_json_with_what_is_known() {
    let server = Server::new();
    server.answers(WARNING);
    let ran = server.run(&["--forge", "gitlab", "--branch", "b", "-o", "json"], "echo 2 >manifests/new");
    let result = ran.ended(2).json();
    assert_eq!((&result["branch"], &result["error"]["kind"]), (&"b".into(), &"refused".into()));
    assert_eq!(result["commit"], server.git("bare", &["rev-parse", "b"]).as_str());
}

#[test]
fn the_work_tree_of_a_clone_is_a_change_too() {
    let server = Server::new();
    server.write("manifests/app.yml", "image: app:9\n");
    server.write("manifests/new", "new\n");
    let clone = server.home.path().join("work");
    let deliver = |options: &[&str]| Ran::of(server.program(options).arg(&clone));
    let ran = deliver(&["--forge", "gitlab", "--target", "demo", "-m", "By hand", "-o", "dotenv"]);
    ran.ended(0);
    let branch = ran.stdout.lines().find_map(|line| line.strip_prefix("MR_BRANCH=")).unwrap();
    assert_eq!(
        server.git("bare", &["diff", "--name-only", "demo", branch]),
        "manifests/app.yml\nmanifests/new"
    );
    // The clone stays as it is.
    assert_eq!(server.git("work", &["status", "--porcelain"]), " M manifests/app.yml\n?? manifests/new");
    // The same file, changed on the target meanwhile.
    server.git("bare", &["update-ref", "refs/heads/demo", branch_commit(&server, branch).as_str()]);
    server.write("manifests/app.yml", "image: app:10\n");
    deliver(&["--forge", "gitlab", "--target", "demo", "--branch", "late"])
        .ended(2)
        .says("manifests/app.yml");
    Ran::of(server.program(&[]).arg("https://gitlab.test/g/p.git")).ended(2).says("COMMAND");
}

fn branch_commit(server: &Server, branch: &str) -> String {
    server.git("bare", &["rev-parse", branch])
}

#[test]
fn a_server_that_cant_leave_things_out_sends_them() {
    let server = Server::new();
    let options = ["--forge", "none", "--branch", "b", "--path", "manifests", "-o", "json"];
    assert_eq!(server.run(&options, BUMP).ended(0).json()["transfer"], "blobless");
    server.git("bare", &["branch", "-D", "b"]);
    server.git("bare", &["config", "uploadpack.allowFilter", "false"]);
    assert_eq!(server.run(&options, BUMP).ended(0).json()["transfer"], "shallow");
    server.git("bare", &["config", "uploadpack.allowFilter", "true"]);
    server.git("bare", &["branch", "-D", "b"]);
    // One that speaks version 0: all refs at once, one pack a conversation.
    let old = server.home.path().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("git"), "#!/bin/sh\nunset GIT_PROTOCOL\nPATH=${PATH#*:} exec git \"$@\"\n").unwrap();
    fs::set_permissions(old.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = server.command(&options, BUMP);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
    let path = [old.as_os_str(), &path].join(std::ffi::OsStr::new(":"));
    assert_eq!(Ran::of(command.env("PATH", path)).ended(0).json()["transfer"], "blobless");
}
