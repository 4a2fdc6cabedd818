//! Lines for GitLab's `artifacts:reports:dotenv`.
//!
//! Limits from GitLab's `doc/ci/yaml/artifacts_reports.md`: keys of letters, digits and
//! underscores, no empty lines or comments, values without newlines, 5 KiB in all. This writer
//! also refuses spaces, which GitLab's older parsers cut at.

use std::fmt::Write as _;

use crate::{Failure, FailureKind};

const LIMIT: usize = 5 * 1024;

/// Why something can't be a dotenv report.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// The key has a character that GitLab refuses.
    #[error("dotenv key `{0}` is not made of A-Z, 0-9 and _")]
    Key(String),
    /// The value would be cut or refused.
    #[error(
        "the value of {0} has a space, a newline or a control character, which GitLab's dotenv reports can't carry"
    )]
    Value(String),
    /// The report would be refused whole.
    #[error("the dotenv report is over GitLab's limit of 5 KiB")]
    TooLong,
}

impl From<DotenvError> for Failure {
    fn from(error: DotenvError) -> Self {
        Self::new(FailureKind::Output, error).hint("use --output json")
    }
}

/// A report under construction.
#[derive(Debug, Default)]
pub struct Dotenv(String);

impl Dotenv {
    /// An empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `KEY=value`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<&mut Self, DotenvError> {
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if key.is_empty() || !key.chars().all(fits) {
            return Err(DotenvError::Key(key.to_owned()));
        }
        if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(DotenvError::Value(key.to_owned()));
        }
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{key}={value}");
        if self.0.len() > LIMIT { Err(DotenvError::TooLong) } else { Ok(self) }
    }

    /// The lines, each with its newline.
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gitlab_would_cut_is_refused() {
        let mut report = Dotenv::new();
        assert!(report.set("IMAGE_TAG", "4b1c9e2").is_ok());
        assert!(report.set("image", "x").is_err());
        assert!(report.set("IMAGE", "a b").is_err());
        assert!(report.set("IMAGE", &"x".repeat(6000)).is_err());
        assert!(report.text().starts_with("IMAGE_TAG=4b1c9e2\n"));
    }
}
