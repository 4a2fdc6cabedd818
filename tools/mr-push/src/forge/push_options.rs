//! Merge requests by push options.
//!
//! GitLab: `doc/topics/git/commit.md`, "Push options". GitLab drops keys that it does not know
//! without a word, so they are refused here. Gitea's `AGit`: `services/agit/agit.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use step::{Failure, FailureKind};

use super::Wishes;

/// What GitLab's parser takes as keys of its `merge_request.` (or `mr.`) namespace.
const MERGE_REQUEST_KEYS: [&str; 15] = [
    "create",
    "target",
    "target_project",
    "title",
    "description",
    "draft",
    "milestone",
    "label",
    "unlabel",
    "assign",
    "unassign",
    "remove_source_branch",
    "squash",
    "auto_merge",
    "merge_when_pipeline_succeeds",
];

/// Git's pkt-line holds 65,520 bytes with its length.
const LONGEST: usize = 65_516;

/// The options that make or update a merge request on GitLab.
pub fn gitlab(wishes: &Wishes, target: &str) -> Result<Vec<String>, Failure> {
    let mut options = vec!["merge_request.create".to_owned(), format!("merge_request.target={target}")];
    let mut value = |key: &str, value: &str| options.push(format!("merge_request.{key}={}", escaped(value)));
    if let Some(title) = &wishes.title {
        value("title", title);
    }
    if let Some(description) = &wishes.description {
        value("description", description);
    }
    for label in &wishes.labels {
        value("label", label);
    }
    for assignee in &wishes.assignees {
        value("assign", assignee.trim_start_matches('@'));
    }
    if let Some(milestone) = &wishes.milestone {
        value("milestone", milestone);
    }
    if let Some(project) = &wishes.target_project {
        value("target_project", project);
    }
    let switches = [
        (wishes.draft, "draft"),
        (wishes.remove_source_branch, "remove_source_branch"),
        (wishes.squash, "squash"),
        (wishes.auto_merge, "auto_merge"),
        // Servers before 17.11 know auto_merge by this name only; later ones take both.
        (wishes.auto_merge, "merge_when_pipeline_succeeds"),
    ];
    for (_, key) in switches.into_iter().filter(|(wanted, _)| *wanted) {
        options.push(format!("merge_request.{key}"));
    }
    options.extend(wishes.push_options.iter().cloned());
    checked(options)
}

/// The options that make or update a pull request on Gitea by a push to `refs/for/TARGET`.
pub fn agit(wishes: &Wishes, topic: &str, force: bool) -> Result<Vec<String>, Failure> {
    let mut options = vec![format!("topic={topic}")];
    // A draft is one by its title.
    let title = wishes.title.as_ref().or(wishes.subject.as_ref().filter(|_| wishes.draft));
    if let Some(title) = title {
        let draft = if wishes.draft { "WIP: " } else { "" };
        options.push(format!("title={draft}{title}"));
    }
    if let Some(description) = &wishes.description {
        // Its other form can't hold several lines.
        options.push(format!("description={{base64}}{}", STANDARD.encode(description)));
    }
    if force {
        options.push("force-push=true".to_owned());
    }
    options.extend(wishes.push_options.iter().cloned());
    checked(options)
}

/// GitLab turns the two characters `\n` into a newline; a real one would end the value.
fn escaped(value: &str) -> String {
    value.replace("\r\n", "\n").trim().replace('\n', "\\n")
}

fn checked(options: Vec<String>) -> Result<Vec<String>, Failure> {
    for option in &options {
        let key = option.split('=').next().unwrap_or_default();
        let refuse =
            |what: &str| Err(Failure::message(FailureKind::Usage, format!("the push option `{key}` {what}")));
        if option.contains(['\n', '\0']) {
            return refuse("has a newline, which push options can't carry");
        }
        if option.len() > LONGEST {
            return refuse("is over Git's limit of 65,516 bytes");
        }
        let merge_request = key.strip_prefix("merge_request.").or_else(|| key.strip_prefix("mr."));
        if merge_request.is_some_and(|key| !MERGE_REQUEST_KEYS.contains(&key)) {
            return refuse("is not one that GitLab knows, and it would drop it without a word");
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes { title: Some("Runner: 4b1c9e2".to_owned()), ..Wishes::default() }
    }

    #[test]
    fn every_wish_is_an_option() {
        let wishes = Wishes {
            description: Some("one\r\ntwo\n".to_owned()),
            labels: vec!["a".to_owned(), "b c".to_owned()],
            assignees: vec!["@ann".to_owned()],
            milestone: Some("v1".to_owned()),
            draft: true,
            auto_merge: true,
            remove_source_branch: true,
            squash: true,
            push_options: vec!["ci.skip".to_owned()],
            ..wishes()
        };
        let options = gitlab(&wishes, "demo").unwrap();
        let expected = [
            "merge_request.create",
            "merge_request.target=demo",
            "merge_request.title=Runner: 4b1c9e2",
            "merge_request.description=one\\ntwo",
            "merge_request.label=a",
            "merge_request.label=b c",
            "merge_request.assign=ann",
            "merge_request.milestone=v1",
            "merge_request.draft",
            "merge_request.remove_source_branch",
            "merge_request.squash",
            "merge_request.auto_merge",
            "merge_request.merge_when_pipeline_succeeds",
            "ci.skip",
        ];
        assert_eq!(options, expected);
    }

    #[test]
    fn what_the_server_would_drop_is_refused() {
        let with =
            |option: &str| gitlab(&Wishes { push_options: vec![option.to_owned()], ..wishes() }, "demo");
        assert!(with("merge_request.reviewer=ann").is_err());
        assert!(with("mr.label=x").is_ok());
        assert!(with("merge_request.title=a\nb").is_err());
        assert!(with(&format!("ci.variable={}", "x".repeat(66_000))).is_err());
    }

    #[test]
    fn agit_keeps_lines_in_base64() {
        let wishes = Wishes { description: Some("a\nb".to_owned()), ..wishes() };
        let options = agit(&wishes, "argocd/1", true).unwrap();
        let expected =
            ["topic=argocd/1", "title=Runner: 4b1c9e2", "description={base64}YQpi", "force-push=true"];
        assert_eq!(options, expected);
    }
}
