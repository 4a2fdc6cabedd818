//! The servers that make merge requests, each in its own way.

mod answer;
mod api;
mod detect;
mod push_options;

pub use answer::{Answer, server_words, without_variables};
pub use api::{Api, ApiError, Opened, none_left_out};
pub use detect::{after_login, before_login};
pub use push_options::{agit, gitlab};

/// How a server makes merge requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Forge {
    /// By push options.
    Gitlab,
    /// By its API where there is a token, else by a push to `refs/for/TARGET` (Forgejo too).
    Gitea,
    /// By its API.
    Github,
    /// Not at all: plain Git.
    None,
}

impl Forge {
    /// The name as `--forge` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Github => "github",
            Self::None => "none",
        }
    }
}

/// What a merge request is to be like.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a request")]
pub struct Wishes {
    /// One line.
    pub title: Option<String>,
    /// What the commit says in a line, for a request that needs a title and has none.
    pub subject: Option<String>,
    /// May have several lines.
    pub description: Option<String>,
    /// Labels to add.
    pub labels: Vec<String>,
    /// User names.
    pub assignees: Vec<String>,
    /// User names; through an API only.
    pub reviewers: Vec<String>,
    /// The milestone's title.
    pub milestone: Option<String>,
    /// Not to be merged yet.
    pub draft: bool,
    /// To be merged when its pipeline succeeds.
    pub auto_merge: bool,
    /// The branch goes when it is merged.
    pub remove_source_branch: bool,
    /// Its commits become one when it is merged.
    pub squash: bool,
    /// The project to merge into, where it is another.
    pub target_project: Option<String>,
    /// Push options as they are, `KEY` or `KEY=VALUE`.
    pub push_options: Vec<String>,
}

impl Wishes {
    /// The options set that only GitLab's push options or an API can fulfil, by name.
    fn beyond_title_and_description(&self) -> Vec<&'static str> {
        let set = [
            (!self.labels.is_empty(), "--label"),
            (!self.assignees.is_empty(), "--assignee"),
            (!self.reviewers.is_empty(), "--reviewer"),
            (self.milestone.is_some(), "--milestone"),
            (self.auto_merge, "--auto-merge"),
            (self.remove_source_branch, "--remove-source-branch"),
            (self.squash, "--squash"),
            (self.target_project.is_some(), "--target-project"),
        ];
        set.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect()
    }

    /// The options set that this way of making a request has no form for.
    pub fn not_possible(&self, way: Way) -> Vec<&'static str> {
        let mut beyond = self.beyond_title_and_description();
        match way {
            Way::GitlabOptions => Vec::new(),
            Way::GiteaApi | Way::GithubApi => {
                let settings_of_merging =
                    ["--squash", "--target-project", "--remove-source-branch", "--auto-merge"];
                beyond.retain(|name| settings_of_merging.contains(name));
                beyond
            }
            Way::Agit => beyond,
            Way::Plain => {
                beyond.extend(self.draft.then_some("--draft"));
                beyond
            }
        }
    }
}

impl Wishes {
    /// Whether GitLab may drop one of them without a word.
    pub const fn can_be_dropped(&self) -> bool {
        !self.labels.is_empty()
            || !self.assignees.is_empty()
            || self.milestone.is_some()
            || self.draft
            || self.squash
            || self.remove_source_branch
            || self.auto_merge
    }
}

/// The way a merge request comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Push options on a branch.
    GitlabOptions,
    /// A branch, then Gitea's API.
    GiteaApi,
    /// A branch, then GitHub's API.
    GithubApi,
    /// A push to `refs/for/TARGET`.
    Agit,
    /// A branch, and nothing else.
    Plain,
}

impl Way {
    /// Whether the request is asked for by the push itself, so that a branch that is right already is
    /// pushed once more.
    pub const fn is_by_push(self) -> bool {
        matches!(self, Self::GitlabOptions)
    }

    /// Whether the branch can be looked at before a push. Where it can't (Gitea keeps the one of an `AGit` push to
    /// itself), the same change must get the same commit in every job.
    pub const fn shows_branches(self) -> bool {
        !matches!(self, Self::Agit)
    }
}
