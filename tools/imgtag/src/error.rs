//! Why there is no tag.

use step::{Failure, FailureKind};

/// What can be wrong with a repository, a revision or a request.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// There is no repository at or above the folder.
    #[error("{folder}: no Git repository here or in a folder above ({reason})")]
    NoRepository {
        /// Where it was looked for.
        folder: String,
        /// What was found instead.
        reason: String,
    },
    /// HEAD names a branch without a commit.
    #[error("the branch `{0}` has no commit yet")]
    Unborn(String),
    /// The revision names nothing.
    #[error("`{revision}` is not a revision of this clone: {reason}")]
    Revision {
        /// As given.
        revision: String,
        /// What is wrong.
        reason: String,
        /// Whether the clone is shallow, and may lack it for that.
        shallow: bool,
    },
    /// A full id of which there is no object.
    #[error("this clone has no object {0}")]
    NoObject(String),
    /// An abbreviated id that several objects share.
    #[error("`{prefix}` is ambiguous; it may be {candidates}")]
    Ambiguous {
        /// The id's first characters.
        prefix: String,
        /// The objects, described.
        candidates: String,
    },
    /// The path is in no commit that can be reached.
    #[error("no commit before `{revision}` has touched {path}")]
    NeverTouched {
        /// Where the search began.
        revision: String,
        /// What was looked for.
        path: String,
    },
    /// The path is not in the revision's tree.
    #[error("`{revision}` has no {path}")]
    NoPath {
        /// Whose tree.
        revision: String,
        /// What was looked for.
        path: String,
    },
    /// A word after --path that is no path.
    #[error("`{word}` is no path of `{revision}` but a revision: --path takes every word that follows it")]
    RevisionAsPath {
        /// The word.
        word: String,
        /// Where it was looked for.
        revision: String,
    },
    /// The path leads out of the work tree.
    #[error("{0} is outside of the work tree")]
    Outside(String),
    /// The history ends before an answer, because the clone is shallow.
    #[error("the clone is shallow, and ends before the commit that touched {path}")]
    TooShallow {
        /// What was looked for.
        path: String,
    },
    /// A tag names no commit that is here, because the clone is shallow.
    #[error("the clone is shallow, and the commit that `{0}` names may be before its end")]
    BeforeTheEnd(String),
    /// core.abbrev has a value that git refuses too.
    #[error("core.abbrev is `{0}`; git takes `auto`, `no` or a number from 4 to the length of an id")]
    Abbrev(String),
    /// --prefix or --dirty make it something that no registry takes.
    #[error("`{0}` is not an image tag (letters, digits, _ . -, at most 128, not starting with . or -)")]
    NotATag(String),
    /// --image is not a repository.
    #[error("`{0}` is not an image repository")]
    NotARepository(String),
    /// The objects can't be read.
    #[error("can't read the repository: {0}")]
    Unreadable(String),
    /// A bare repository has no files to compare.
    #[error("a bare repository has no work tree that could be dirty")]
    NoWorkTree,
    /// A work tree whose references are in reftable format.
    #[error("whether files differ can't be told where references are in reftable format")]
    DirtyInTables,
}

impl TagError {
    /// What the Git library says, and why.
    #[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
    pub(crate) fn library(error: gix::Error) -> Self {
        let mut reasons: Vec<String> = error.iter_errors().map(ToString::to_string).collect();
        reasons.dedup();
        Self::Unreadable(reasons.join(": ").replace('\n', " "))
    }

    /// Wraps what the system says.
    pub(crate) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::Unreadable(error.to_string())
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRepository { .. } => "run it in a clone, or name one with -C DIR",
            Self::Unborn(_) => "commit first",
            Self::Revision { shallow: true, .. }
            | Self::TooShallow { .. }
            | Self::BeforeTheEnd(_)
            | Self::NoObject(_) => {
                "a shallow clone has not every revision: fetch more, in GitLab with GIT_DEPTH: 0"
            }
            Self::Revision { .. } => {
                "`git for-each-ref` lists what there is; the clone of a job has other branches as origin/BRANCH"
            }
            Self::RevisionAsPath { .. } => "the revision stands in front: imgtag REV --path PATH…",
            Self::Ambiguous { .. } => "write more of the id's characters",
            Self::Unreadable(_) => "`git fsck` tells what is broken; a partial clone has not every object",
            _ => return None,
        })
    }
}

impl From<TagError> for Failure {
    fn from(error: TagError) -> Self {
        let hint = error.hint();
        let kind = match error {
            TagError::NotATag(_) | TagError::NotARepository(_) | TagError::RevisionAsPath { .. } => {
                FailureKind::Usage
            }
            _ => FailureKind::Input,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
