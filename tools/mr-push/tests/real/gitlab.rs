//! What GitLab answers, and what is made of it.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use hermetic::Ran;

use crate::project::{Project, discreetly, gitlab};

/// mr-push with a token for the API.
fn with_token(project: &Project, branch: &str, options: &[&str]) -> Ran {
    let options = [options, &["--api-url", &gitlab()["GITLAB_API_URL"]]].concat();
    let mut command = project.command(&project.url, branch, &options);
    discreetly(command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]))
}

#[test]
fn gitlab_makes_one_request_however_often_it_is_asked() {
    let project = Project::on_gitlab();
    // The forge is told from its greeting.
    let first = project.run("b", &["--label", "a b", "--description", "one\ntwo"]).ended(0);
    assert!(first.stdout.ends_with("/-/merge_requests/1\n"), "{}", first.stdout);
    assert_eq!(project.run("b", &[]).ended(0).stdout, first.stdout);
    let requests = project.requests();
    assert_eq!(requests.as_array().unwrap().len(), 1);
    assert_eq!(requests[0]["title"], "Runner: 2");
    assert_eq!(requests[0]["description"], "one\ntwo");
    // The branch is right; what the request says changes.
    assert_eq!(project.run("b", &["--description", "three", "--draft"]).ended(0).stdout, first.stdout);
    let requests = project.requests();
    assert_eq!(requests.as_array().unwrap().len(), 1);
    assert_eq!((&requests[0]["description"], &requests[0]["draft"]), (&json!("three"), &json!(true)));
    project.is_clean();
}

#[test]
fn every_wish_reaches_gitlab_whatever_its_version() {
    let project = Project::on_gitlab();
    project.set("gitlab.milestone", &["1.0"]);
    project.set("gitlab.member", &["ann", "bob"]);
    project.set("gitlab.version", &["17.10"]);
    let wishes = [
        "--label",
        "bump",
        "--label",
        "image",
        "--assignee",
        "@ann",
        "--assignee",
        "bob",
        "--milestone",
        "1.0",
        "--draft",
        "--auto-merge",
        "--remove-source-branch",
        "--squash",
        "--push-option",
        "merge_request.unlabel=image",
    ];
    project.run("b", &wishes).ended(0);
    let request = &project.requests()[0];
    let expected = json!({
        "source_branch": "b", "target_branch": "demo", "title": "Draft: Runner: 2", "labels": ["bump"],
        "assignees": ["robot", "ann", "bob"], "milestone": "1.0", "draft": true, "merge_when_pipeline_succeeds": true,
        "force_remove_source_branch": true, "squash": true,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&request[field], value, "{field}");
    }
    // All of it confirmed, and a review asked for, through the API.
    with_token(&project, "b", &[&wishes[..14], &["--reviewer", "bob"]].concat()).ended(0);
    assert_eq!(project.requests()[0]["reviewers"], json!(["bob"]));
}

#[test]
fn what_gitlab_drops_without_a_word_is_told() {
    let project = Project::on_gitlab();
    project.set("gitlab.milestone", &["1.0"]);
    project.set("gitlab.member", &["ann"]);
    let wishes = ["--milestone", "2.0", "--assignee", "eve", "-o", "json"];
    // Without a token nobody can see it.
    project.run("b", &wishes).ended(0).says("GITLAB_TOKEN");
    let ran = with_token(&project, "b", &wishes).ended(2);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(told["url"].as_str().unwrap().ends_with("/-/merge_requests/1"), "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("--assignee eve, --milestone 2.0"), "{message}");
    with_token(&project, "b", &["--milestone", "1.0", "--assignee", "ann"]).ended(0);
    with_token(&project, "b", &["--reviewer", "eve"]).ended(2).says("--reviewer eve");
}

#[test]
fn gitlabs_refusals_are_failures() {
    let project = Project::on_gitlab();
    project.set("gitlab.banner", &["Maintenance on Sunday"]);
    project.set("gitlab.chunk", &["1"]);
    project.run("banner", &[]).ended(0);
    // The box of the banner comes before the one of the warning.
    project.set("gitlab.fault", &["true"]);
    let variable = ["--push-option", "ci.variable=PASSWORD=open-sesame", "-v"];
    let fault = project
        .run("fault", &variable)
        .ended(2)
        .says("An unknown error occurred")
        .says("ci.variable=PASSWORD=***");
    assert!(!fault.stderr.contains("open-sesame"), "{}", fault.stderr);
    project.set("gitlab.fault", &[]);
    // The same again, once the server can.
    project.run("fault", &variable).ended(0);
    project.set("gitlab.chunk", &[]);
    project
        .run("astray", &["--push-option", "mr.target=gone"])
        .ended(2)
        .says("Target branch")
        .says("gone does not exist");
    project.run("astray", &[]).ended(0);
    project.set("gitlab.mergeRequests", &["false"]);
    project.run("off", &[]).ended(2).says("not enabled");
    project.set("gitlab.mergeRequests", &[]);
    project.run("other", &["--target-project", "other/app"]).ended(2).says("not in the same network");
    project.set("gitlab.user", &[""]);
    project.run("nobody", &[]).ended(2).says("User is required");
    project.set("gitlab.user", &[]);
    project.set("gitlab.protectedBranch", &["protected/*"]);
    project.run("protected/b", &[]).ended(2).says("protected branches");
    assert_eq!(project.branch("protected/b"), None);
    project.set("gitlab.refuse", &["Commit message does not follow the pattern '^JIRA-'"]);
    project.run("rule", &[]).ended(2).says("does not follow the pattern");
    project.set("gitlab.refuse", &[]);
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
    let ran = with_token(&project, "b", &[]).ended(0);
    assert!(ran.stdout.ends_with("/-/merge_requests/1\n"), "{}", ran.stdout);
    let mut command = project.command(&project.url, "b", &["--api-url", &gitlab()["GITLAB_API_URL"]]);
    discreetly(command.env("GITLAB_TOKEN", "glpat-for-git-alone")).ended(0).says("can't be looked up");
    // A server that runs no hooks for a push that moves nothing.
    project.set("gitlab.milestone", &["1.0"]);
    project.set("gitlab.unmoved", &["ignore"]);
    project.close_requests();
    let wishes = ["--label", "bump", "--milestone", "1.0", "--assignee", "robot", "--draft", "--squash"];
    let ran = with_token(&project, "b", &wishes).ended(0);
    assert!(ran.stdout.ends_with("/-/merge_requests/2\n"), "{}", ran.stdout);
    assert_eq!(project.requests()[1]["title"], "Draft: Runner: 2");
}

#[test]
fn a_closed_request_is_followed_by_another() {
    let project = Project::on_gitlab();
    project.run("b", &[]).ended(0);
    project.close_requests();
    // The branch is there and right.
    let again = project.run("b", &[]).ended(0);
    assert!(again.stdout.ends_with("/-/merge_requests/2\n"), "{}", again.stdout);
    let states: Vec<_> =
        project.requests().as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["closed", "opened"]);
}

#[test]
fn a_server_that_filters_nothing_sends_one_commit_whole() {
    let project = Project::on_gitlab();
    project.set("uploadpack.allowFilter", &["false"]);
    let ran = project.run("b", &["-o", "json"]).ended(0);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["transfer"], "shallow");
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
