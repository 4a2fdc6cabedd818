//! Why there is no verdict.

use std::io;

use step::{Failure, FailureKind};

use crate::verdict::MAX_COUNT;

/// What can be wrong inside a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The system can't read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is cut off.
    #[error("it ends too early: {0}")]
    Truncated(String),
    /// It breaks its format's rules.
    #[error("{0}")]
    Malformed(String),
    /// It is larger or deeper than any real report.
    #[error("{0}")]
    Limit(String),
    /// XML that declares entities can be made to grow without bounds.
    #[error("it declares entities (<!ENTITY …>), which no coverage tool writes")]
    Entities,
    /// The format is known, but not this kind of file of it.
    #[error("{0}")]
    Unsupported(String),
}

impl ReportError {
    /// A rule of the format that is broken, and where.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }

    /// A number that is no count.
    pub fn count(what: &str, covered: u64, total: u64) -> Self {
        if total > MAX_COUNT || covered > MAX_COUNT {
            Self::Malformed(format!("{what}: {} is more than can be counted", covered.max(total)))
        } else {
            Self::Malformed(format!("{what}: {covered} covered of {total} is more than there is"))
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "did the job that writes the report run, and was its report copied here?",
            Self::Truncated(_) => "the job that wrote it, or the copy of it, was cut off: run it again",
            Self::Malformed(_) => {
                "is it the report that the coverage tool wrote, unedited? --format names another format"
            }
            Self::Limit(_) | Self::Entities => "only reports that a coverage tool wrote are read",
            Self::Unsupported(_) => "see `covgate --help` for the files that are read",
        }
    }

    /// The failure that ends the run, for the report of this name.
    pub fn of(self, report: &str) -> Failure {
        let hint = self.hint();
        Failure::new(FailureKind::Input, self).hint(hint).context(format!("can't read {report}"))
    }
}

impl From<serde_json::Error> for ReportError {
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        match error.classify() {
            Category::Eof => Self::Truncated(error.to_string()),
            Category::Io => Self::Io(error.into()),
            Category::Syntax | Category::Data => Self::Malformed(error.to_string()),
        }
    }
}
