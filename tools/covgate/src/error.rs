//! Why a report has no verdict.

use step::{Failure, FailureKind};

/// What can be wrong with a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It can't be opened or read.
    #[error("can't read {path}: {cause}")]
    Unreadable {
        /// Which report.
        path: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A folder without a report in it.
    #[error("{0} has no coverage report in it")]
    EmptyFolder(String),
    /// The content fits no format.
    #[error("{0} is not a coverage report of a known format")]
    UnknownFormat(String),
    /// The content breaks its format's rules or ends too early.
    #[error("{path}: not a whole {format} report: {reason}")]
    Malformed {
        /// Which report.
        path: String,
        /// What it was read as.
        format: &'static str,
        /// What is missing or wrong.
        reason: String,
    },
    /// Nothing in it could have been covered.
    #[error("{path}: the report has no {metric} to cover")]
    NothingToCover {
        /// Which report.
        path: String,
        /// What was to be counted.
        metric: &'static str,
    },
    /// The format does not count what was asked for.
    #[error("{path}: a {format} report does not count {metric}")]
    NoSuchMetric {
        /// Which report.
        path: String,
        /// What it was read as.
        format: &'static str,
        /// What was to be counted.
        metric: &'static str,
    },
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let hint = match &error {
            ReportError::Unreadable { .. } | ReportError::EmptyFolder(_) => {
                "did the job that writes the report run, and was its report copied?"
            }
            ReportError::UnknownFormat(_) => "--format names the format; --help lists them",
            ReportError::Malformed { .. } => "the job that wrote it may have been cut off: run it again",
            ReportError::NothingToCover { .. } => {
                "did the tests run with coverage switched on for this code?"
            }
            ReportError::NoSuchMetric { .. } => "choose another --metric",
        };
        Self::new(FailureKind::Input, error).hint(hint)
    }
}
