//! What the ref list tells before any object is sent.

use git_remote::{Capabilities, RefList};
use git2::{Oid, Reference};
use step::{Failure, FailureKind};

/// Why a push can't end well.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The branch to merge into is not there.
    #[error("the target branch `{0}` does not exist in the repository")]
    NoTarget(String),
    /// The server has no default branch, or does not say which.
    #[error("the repository does not say which branch is its default")]
    NoDefault,
    /// Git refuses the name.
    #[error("`{0}` is not a branch name")]
    BadName(String),
    /// There would be nothing to merge.
    #[error("the branch and its target are both `{0}`")]
    Same(String),
    /// A branch `a` and a branch `a/b` can't both be.
    #[error("the branch `{branch}` can't be made where `{existing}` exists")]
    Clash {
        /// The wanted branch.
        branch: String,
        /// The branch in its way.
        existing: String,
    },
    /// The server would ignore what makes the merge request.
    #[error("the server takes no push options, so no merge request can be asked for")]
    NoPushOptions,
}

impl From<Obstacle> for Failure {
    fn from(obstacle: Obstacle) -> Self {
        let kind = match obstacle {
            Obstacle::BadName(_) | Obstacle::Same(_) => FailureKind::Usage,
            _ => FailureKind::Refused,
        };
        let hint = match &obstacle {
            Obstacle::NoTarget(_) | Obstacle::NoDefault => "--target names an existing branch",
            Obstacle::BadName(_) | Obstacle::Same(_) => "--branch names the branch that the change is put on",
            Obstacle::Clash { .. } => "choose another --branch, or delete the one in its way",
            Obstacle::NoPushOptions => {
                "the server's setting is receive.advertisePushOptions; --forge none pushes only"
            }
        };
        Self::new(kind, obstacle).hint(hint)
    }
}

/// Where the branches stand before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The target's commit.
    pub base: Oid,
    /// The branch's commit, where it exists.
    pub existing: Option<Oid>,
}

/// Checks the names, and finds both branches.
pub fn check(refs: &RefList, target: &str, branch: &str, may_be_same: bool) -> Result<Standing, Obstacle> {
    for name in [target, branch] {
        if !Reference::is_valid_name(&reference(name)) || name.starts_with('-') {
            return Err(Obstacle::BadName(name.to_owned()));
        }
    }
    if target == branch && !may_be_same {
        return Err(Obstacle::Same(branch.to_owned()));
    }
    let base = refs.get(&reference(target)).ok_or_else(|| Obstacle::NoTarget(target.to_owned()))?;
    let in_the_way = |existing: &&str| is_below(existing, branch) || is_below(branch, existing);
    if let Some(existing) = refs.branches().find(in_the_way) {
        return Err(Obstacle::Clash { branch: branch.to_owned(), existing: existing.to_owned() });
    }
    Ok(Standing { base, existing: refs.get(&reference(branch)) })
}

/// Checks that the server will see the push options.
pub fn check_options(capabilities: &Capabilities, options: &[String]) -> Result<(), Obstacle> {
    let heard = options.is_empty() || capabilities.has("push-options");
    if heard { Ok(()) } else { Err(Obstacle::NoPushOptions) }
}

/// The full name of a branch.
pub fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

fn is_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}
