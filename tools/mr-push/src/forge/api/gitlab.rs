//! GitLab's API beside its push options: what those can't ask for, whether they came to anything, and a request that a
//! push did not make.
//!
//! GitLab drops a milestone, an assignee or a key that it does not know without a word
//! (`app/services/merge_requests/push_options_handler_service.rb`).

use serde_json::json;
use step::Failure;

use super::{Api, ApiError, Opened, encoded, missing, none_left_out, without_at};
use crate::forge::Wishes;

impl Api {
    /// Opens the request that a push would have made, if it had moved the branch.
    pub fn open_on_gitlab(&self, branch: &str, target: &str, wishes: &Wishes) -> Result<Opened, Failure> {
        let title = wishes.title.as_deref().or(wishes.subject.as_deref()).unwrap_or(branch);
        let mut body = json!({
            "source_branch": branch,
            "target_branch": target,
            "title": format!("{}{title}", if wishes.draft { "Draft: " } else { "" }),
            "description": wishes.description,
            "labels": wishes.labels.join(","),
            "squash": wishes.squash,
            "remove_source_branch": wishes.remove_source_branch,
        });
        if !wishes.assignees.is_empty() {
            body["assignee_ids"] = json!(self.users(&wishes.assignees)?);
        }
        if let Some(title) = &wishes.milestone {
            let path = format!("{}/milestones?state=active&title={}", self.project_path(), encoded(title));
            let found = self.get(&path)?;
            let unknown = || ApiError::Unknown { what: "open milestone", name: title.clone() };
            body["milestone_id"] = json!(found[0]["id"].as_u64().ok_or_else(unknown)?);
        }
        let path = format!("{}/merge_requests", self.project_path());
        self.opened(&self.send("POST", &path, &body)?, &path, true)
    }

    fn users(&self, names: &[String]) -> Result<Vec<u64>, Failure> {
        let id = |name| {
            let found = self.get(&format!("/users?username={}", encoded(name)))?;
            let unknown = || ApiError::Unknown { what: "user", name: name.to_owned() }.into();
            found[0]["id"].as_u64().ok_or_else(unknown)
        };
        without_at(names).into_iter().map(id).collect()
    }

    /// Asks for reviews of a request that a push has made.
    pub fn set_reviewers(&self, number: u64, wishes: &Wishes) -> Result<(), Failure> {
        let ids = self.users(&wishes.reviewers)?;
        let now = self.send("PUT", &self.request_path(number), &json!({ "reviewer_ids": ids }))?;
        // Some editions keep one reviewer only.
        none_left_out(&missing("--reviewer", &now["reviewers"], "username", &wishes.reviewers))
    }

    /// The options that a push asked for in vain.
    pub fn left_out(&self, number: u64, wishes: &Wishes) -> Result<Vec<String>, Failure> {
        let now = self.get(&self.request_path(number))?;
        let mut left_out = missing("--label", &now["labels"], "name", &wishes.labels);
        left_out.extend(missing("--assignee", &now["assignees"], "username", &wishes.assignees));
        let milestone = wishes.milestone.as_ref().filter(|title| now["milestone"]["title"] != ***title);
        left_out.extend(milestone.map(|title| format!("--milestone {title}")));
        let is = |fields: &[&str]| fields.iter().any(|field| now[*field] == true);
        let switches = [
            (wishes.draft, "--draft", is(&["draft"])),
            (wishes.squash, "--squash", is(&["squash", "squash_on_merge"])),
            (
                wishes.remove_source_branch,
                "--remove-source-branch",
                is(&["force_remove_source_branch", "should_remove_source_branch"]),
            ),
            (wishes.auto_merge, "--auto-merge", is(&["merge_when_pipeline_succeeds"])),
        ];
        // One that is merged already has nothing left to wait for.
        let open = now["state"] == "opened";
        let off = switches.into_iter().filter(|(wanted, _, is_on)| open && *wanted && !is_on);
        left_out.extend(off.map(|(_, option, _)| option.to_owned()));
        Ok(left_out)
    }

    fn request_path(&self, number: u64) -> String {
        format!("{}/merge_requests/{number}", self.project_path())
    }
}
