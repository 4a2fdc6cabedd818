//! Changes on their way: commits, branches, requests and refusals.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use hermetic::Ran;

use crate::server::{BUMP, INVITE, Server, WARNING, result};

#[test]
fn a_change_becomes_a_branch_a_commit_and_a_request() {
    let server = Server::new();
    let options = ["--forge", "gitlab", "--target", "demo", "--branch", "argocd/2", "--title", "Runner: 2"];
    let mut command = server.command(&[&options[..], &["--path", "manifests"]].concat(), BUMP);
    let ran = Ran::of(command.env("CI_COMMIT_SHA", "4b1c9e2").env("CI_JOB_URL", "https://gitlab.test/job/1"))
        .ended(0);
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
fn the_author_is_who_the_job_runs_for() {
    let server = Server::new();
    let author = |branch: &str, variables: &[(&str, &str)], options: &[&str]| {
        let mut command =
            server.command(&[&["--forge", "none", "--branch", branch][..], options].concat(), BUMP);
        for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
            command.env_remove(name);
        }
        let ran = Ran::of(command.envs(variables.iter().copied()));
        if ran.status != Some(0) {
            return ran.stderr;
        }
        server.git("bare", &["log", "-1", "--format=%an <%ae> %cn", branch])
    };
    assert!(author("nobody", &[], &[]).contains("the commit has no author"));
    let gitlab = [("GITLAB_USER_NAME", "Ann O."), ("GITLAB_USER_EMAIL", "ann@gitlab.test")];
    assert_eq!(author("gitlab", &gitlab, &[]), "Ann O. <ann@gitlab.test> Ann O.");
    let github = [("GITHUB_ACTOR", "ann")];
    assert_eq!(author("github", &github, &[]), "ann <ann@users.noreply.github.com> ann");
    let git = [gitlab[0], gitlab[1], ("GIT_AUTHOR_NAME", "Bob"), ("GIT_AUTHOR_EMAIL", "bob@git.test")];
    assert_eq!(author("git", &git, &[]), "Bob <bob@git.test> Bob");
    assert_eq!(author("named", &git, &["--author", "Eve <eve@x.test>"]), "Eve <eve@x.test> Eve");
}

#[test]
fn a_retried_job_makes_the_same_commit() {
    let server = Server::new();
    let commit = |branch: &str, job: &str, options: &[&str]| {
        let all =
            [&["--forge", "none", "--branch", branch, "-m", "Bump", "-o", "json"][..], options].concat();
        let mut command = server.command(&all, BUMP);
        // The application's clone, in which a job runs: its commit's time is the change's.
        command
            .current_dir(server.home.path().join("work"))
            .env("CI_COMMIT_SHA", "4b1c9e2")
            .env("CI_JOB_ID", job);
        result(&Ran::of(&mut command).ended(0))["commit"].clone()
    };
    assert_eq!(commit("one", "1", &[]), commit("two", "1", &[]));
    // The trailers of another job are others, but not where they are left out.
    assert_ne!(commit("three", "1", &[]), commit("four", "2", &[]));
    assert_eq!(commit("five", "1", &["--no-trailers"]), commit("six", "2", &["--no-trailers"]));
    let times = server.git("bare", &["log", "-1", "--format=%at %ct", "one"]);
    let source = server.git("work", &["log", "-1", "--format=%ct"]);
    assert_eq!(times, format!("{source} {source}"));
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
    let result = result(&again.ended(0));
    assert_eq!(
        (&result["changed"], &result["url"]),
        (&false.into(), &"https://gitlab.test/g/p/-/merge_requests/7".into())
    );
    assert_eq!(result["commit"], first.as_str());
    // A retried job of GitLab has another URL, and the target may have moved on.
    server.write("other/file", "y\n");
    server.git("work", &["commit", "-qam", "unrelated"]);
    server.push_demo();
    server.demo("b", BUMP).ended(0);
    assert_eq!(server.git("bare", &["rev-parse", "b"]), first);
}

#[test]
fn nothing_to_change_is_nothing_done() {
    let server = Server::new();
    let ran = server.demo("b", "true").ended(0);
    assert_eq!(ran.stdout, "");
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
    let ran = server.demo("silent", BUMP).ended(0).says("printed no link");
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
    let ran = gitlab(&["--branch", "b"]).ended(2).says("takes no push options");
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
fn a_lease_is_on_what_this_run_has_seen() {
    let server = Server::new();
    server.demo("b", BUMP).ended(0);
    let seen = server.git("bare", &["rev-parse", "b"]);
    // Somebody pushes while the command runs.
    let colleague = format!(
        "cd {home}/work && git checkout -q -B b {seen} && git commit -q --allow-empty -m colleague && \
         git push -q origin b && cd - && echo 'image: app:3' >manifests/app.yml",
        home = server.home.path().display()
    );
    let options = ["--forge", "gitlab", "--target", "demo", "--branch", "b", "--path", "manifests"];
    server.git("work", &["fetch", "-q", "origin"]);
    server
        .run(&[&options[..], &["--force-with-lease"]].concat(), &colleague)
        .ended(75)
        .says("moved by somebody else");
    assert_eq!(server.git("bare", &["log", "-1", "--format=%s", "b"]), "colleague");
    // A branch that is not there is not at the commit that the lease names.
    let at = format!("--force-with-lease={seen}");
    let absent = ["--forge", "none", "--target", "demo", "--branch", "gone", &at];
    server.run(&absent, BUMP).ended(2).says("is not there");
    assert!(!server.has_branch("gone"));
}

#[test]
fn the_same_change_is_the_same_content() {
    let server = Server::new();
    let run = |title: &str, source: &str, script: &str| {
        let options =
            ["--forge", "none", "--target", "demo", "--branch", "b", "--path", "manifests", "--title", title];
        Ran::of(server.command(&options, script).env("CI_COMMIT_SHA", source))
    };
    run("One", "1", "echo 2 >manifests/a; echo 2 >manifests/b").ended(0);
    let first = server.git("bare", &["rev-parse", "b"]);
    // Another commit of the application, and other words.
    run("Two", "2", "echo 2 >manifests/a; echo 2 >manifests/b").ended(0);
    assert_eq!(server.git("bare", &["rev-parse", "b"]), first);
    // Less than what is there, and more.
    run("One", "1", "echo 2 >manifests/a").ended(2).says("other content");
    run("One", "1", "echo 2 >manifests/a; echo 2 >manifests/b; echo 2 >manifests/c").ended(2);
    // On a target that has moved, what is there can only be told by what it was made on.
    server.write("other/file", "y\n");
    server.git("work", &["commit", "-qam", "unrelated"]);
    server.push_demo();
    run("One", "3", "echo 2 >manifests/a; echo 2 >manifests/b").ended(0);
    run("One", "3", "echo 2 >manifests/a").ended(2).says("other content");
    assert_eq!(server.git("bare", &["rev-parse", "b"]), first);
}

#[test]
fn what_is_left_empty_is_no_wish() {
    let server = Server::new();
    let options = ["--forge", "gitlab", "--target", "demo", "--branch", "b", "-m", "\n\nFirst\n\nSecond"];
    let empty = ["--title", "", "--description", "", "--label", "", "--assignee", " ", "--milestone", ""];
    server.run(&[&options[..], &empty].concat(), BUMP).ended(0);
    let sent = fs::read_to_string(server.url().join("options")).unwrap();
    assert!(sent.contains("merge_request.title=First\n"), "{sent}");
    for option in ["description", "label", "assign", "milestone"] {
        assert!(!sent.contains(&format!("merge_request.{option}")), "{sent}");
    }
    assert_eq!(server.git("bare", &["log", "-1", "--format=%s", "b"]), "First");
    server.run(&["--forge", "none", "--target", "demo", "--branch", "c", "-m", ""], BUMP).ended(0);
    assert_eq!(server.git("bare", &["log", "-1", "--format=%s", "c"]), "Update manifests/app.yml");
}

#[test]
fn a_target_that_moves_is_built_on() {
    let server = Server::new();
    // The first run of the command moves the target, and takes longer than a ref list is taken for fresh (2 s).
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
        let ran = Ran::from(job.wait_with_output().unwrap()).ended(0);
        assert_eq!(ran.stdout, "https://gitlab.test/g/p/-/merge_requests/7\n");
    }
    assert_eq!(server.git("bare", &["rev-list", "--count", "demo..b"]), "1");
}

#[test]
fn a_dry_run_sends_nothing() {
    let server = Server::new();
    server.hook("pre-receive", "touch pushed");
    let options = ["--forge", "gitlab", "--branch", "b", "--dry-run", "-o", "json"];
    let result = result(&server.run(&options, "echo 2 >manifests/new").ended(0));
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
    let ran =
        server.run(&["--forge", "gitlab", "--branch", "b", "-o", "json"], "echo 2 >manifests/new").ended(2);
    let result = result(&ran);
    assert_eq!((&result["branch"], &result["error"]["kind"]), (&"b".into(), &"refused".into()));
    assert_eq!(result["commit"], server.git("bare", &["rev-parse", "b"]).as_str());
}
