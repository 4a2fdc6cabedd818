//! The one table of exit statuses.
//!
//! GitLab acts on them (`allow_failure: exit_codes`, `retry: exit_codes`), so they are an interface.

use std::process::ExitCode;

/// How a tool ended. See the table in the top-level README; a test compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done, or nothing to do.
    Done = 0,
    /// The answer is no: below the threshold, would change, differs, not in sync.
    No = 1,
    /// Trouble that a retry can't mend: usage, bad input, refused request, internal error.
    Trouble = 2,
    /// Trouble that a retry may mend (`EX_TEMPFAIL` of sysexits.h).
    TryAgain = 75,
    /// Credentials missing, wrong or not allowed (`EX_NOPERM` of sysexits.h).
    NotAllowed = 77,
}

impl ExitStatus {
    /// All statuses a tool returns by itself; 130 and 143 belong to SIGINT and SIGTERM.
    pub const ALL: [Self; 5] = [Self::Done, Self::No, Self::Trouble, Self::TryAgain, Self::NotAllowed];

    /// The number that the shell sees in `$?`.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the status means, as `--help` and the man page say it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to do",
            Self::No => "the answer is no: below the threshold, would change, differs, not in sync",
            Self::Trouble => {
                "trouble that a retry can't mend: usage, bad input, refused request, internal error"
            }
            Self::TryAgain => "trouble that a retry may mend: network, time-out, 429 or 5xx, a lost race",
            Self::NotAllowed => "credentials missing, wrong or not allowed",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../../../../README.md");
        for status in ExitStatus::ALL {
            let row = format!("| {} | {} |", status.code(), status.meaning());
            assert!(readme.contains(&row), "the README lacks: {row}");
        }
    }
}
