//! Gitea, by its API and by pushes to `refs/for/`.

use crate::project::{Project, discreetly, gitea};

#[test]
fn gitea_opens_requests_by_api_and_by_push() {
    let project = Project::on_gitea();
    let token = &gitea()["FORGE_BOT_TOKEN"];
    let with_token = |branch: &str, options: &[&str]| {
        discreetly(project.command(&project.url, branch, options).env("GITEA_TOKEN", token))
    };
    let wishes = ["--description", "one\ntwo", "--assignee", &gitea()["FORGE_BOT_USER"]];
    let first = with_token("argocd/1", &wishes).ended(0);
    assert_eq!(with_token("argocd/1", &[]).ended(0).stdout, first.stdout);
    let pulls = project.gitea_api("GET", &format!("/repos/{}/pulls?state=open", project.name), "");
    assert_eq!(pulls.as_array().unwrap().len(), 1);
    let found = ["base", "head"].map(|side| pulls[0][side]["ref"].as_str().unwrap());
    assert_eq!(found, ["demo", "argocd/1"]);
    assert_eq!(pulls[0]["body"], "one\ntwo");
    assert_eq!(pulls[0]["html_url"], first.stdout.trim());
    with_token("argocd/2", &["--label", "no-such-label"]).ended(2).says("--label no-such-label");
    // Without a token: by a push to refs/for/demo.
    let pushed = project.run("topic", &[]).ended(0);
    assert!(pushed.stdout.contains("/pulls/"), "{}", pushed.stdout);
    // Another job for the same change.
    let again = |job: &str| discreetly(project.command(&project.url, "topic", &[]).env("CI_JOB_ID", job));
    again("1").ended(0);
    again("2").ended(0);
    project.run("other", &["--label", "x"]).ended(2).says("GITEA_TOKEN");
    // Over HTTP, where the token is the password as well.
    let http = format!("{}/{}.git", gitea()["FORGE_URL"], project.name);
    let mut command = project.command(&http, "argocd/3", &[]);
    assert!(discreetly(command.env("GITEA_TOKEN", token)).ended(0).stdout.contains("/pulls/"));
    discreetly(project.command(&http, "argocd/4", &[]).env("GITEA_TOKEN", "wrong")).ended(77);
}

#[test]
fn gitea_asks_for_a_review() {
    let project = Project::on_gitea();
    let person = &gitea()["FORGE_PERSON_USER"];
    let collaborator = format!("/repos/{}/collaborators/{person}", project.name);
    project.gitea_api("PUT", &collaborator, r#"{"permission":"write"}"#);
    let mut command = project.command(&project.url, "b", &["--reviewer", person, "--draft"]);
    discreetly(command.env("GITEA_TOKEN", &gitea()["FORGE_BOT_TOKEN"])).ended(0);
    let pulls = project.gitea_api("GET", &format!("/repos/{}/pulls?state=open", project.name), "");
    assert_eq!(pulls[0]["requested_reviewers"][0]["login"], person.as_str());
    assert_eq!((&pulls[0]["draft"], &pulls[0]["title"]), (&true.into(), &"WIP: Runner: 2".into()));
}
