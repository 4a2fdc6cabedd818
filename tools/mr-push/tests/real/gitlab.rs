//! What GitLab answers, and what is made of it.

use std::io::Write;
use std::process::Stdio;

use crate::project::{Project, Ran, gitlab};

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
