//! What one run is asked to do.

use std::path::PathBuf;

use git_remote::{RemoteUrl, Settings};
use git2::Oid;
use step::Secret;

use crate::commit::Identity;
use crate::forge::{Forge, Wishes};
use crate::local_clone::LocalClone;
use crate::signing::Signer;

/// Everything a run is asked to do.
pub struct Job {
    /// The repository to push to.
    pub url: RemoteUrl,
    /// How to reach it.
    pub settings: Settings,
    /// Where the change comes from.
    pub source: Source,
    /// The branch to merge into; the repository's default branch where none is named.
    pub target: Option<String>,
    /// The branch for the change; named after the change where none is given.
    pub branch: Option<String>,
    /// The only directory that is checked out and may change; empty for all.
    pub path: PathBuf,
    /// The commit's message; made from the files where there is none.
    pub message: Option<String>,
    /// Lines for the message's end.
    pub trailers: Vec<(String, String)>,
    /// Who made the change.
    pub author: Identity,
    /// Who commits it.
    pub committer: Identity,
    /// When, in seconds since 1970; the target's time where the source has none.
    pub time: Option<i64>,
    /// Signs the commit.
    pub signer: Option<Signer>,
    /// What the merge request is to be like.
    pub wishes: Wishes,
    /// The forge, where it is not to be told from the server.
    pub forge: Option<Forge>,
    /// The host of the GitLab whose job this is.
    pub gitlab_host: Option<String>,
    /// The forge's API.
    pub api_url: Option<String>,
    /// Tokens by forge.
    pub tokens: Tokens,
    /// What may become of a branch with other content.
    pub lease: Lease,
    /// Do everything but the push.
    pub dry_run: bool,
    /// The most times to start from the server's refs, at least 1.
    pub attempts: u32,
}

/// Where a change comes from.
pub enum Source {
    /// A command that makes it in a checkout of the target.
    Command(Vec<String>),
    /// The work tree of a local clone.
    Clone(LocalClone),
}

/// A token goes to the forge that its variable names, and to no other.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Meant for this program, whatever the forge.
    pub any: Option<Secret>,
    /// For GitLab.
    pub gitlab: Option<Secret>,
    /// For Gitea and Forgejo.
    pub gitea: Option<Secret>,
    /// For GitHub.
    pub github: Option<Secret>,
}

impl Tokens {
    /// The token for this forge.
    pub fn for_forge(&self, forge: Forge) -> Option<&Secret> {
        let own = match forge {
            Forge::Gitlab => &self.gitlab,
            Forge::Gitea => &self.gitea,
            Forge::Github => &self.github,
            Forge::None => &None,
        };
        self.any.as_ref().or(own.as_ref())
    }
}

/// What may become of a branch that has other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It stays.
    Keep,
    /// It is replaced if it is still where this run has seen it.
    Seen,
    /// It is replaced if it is at this commit.
    At(Oid),
}
