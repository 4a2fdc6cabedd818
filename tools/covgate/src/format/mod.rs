//! The formats that reports come in, told from their content.

mod coverage_html;
mod coverage_json;

use crate::verdict::Count;

/// What a report says in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// What the report's own total counts: lines, or lines and branches together.
    pub total: Count,
    /// Lines, where the report has them apart.
    pub line: Option<Count>,
    /// Branches, where the report counts them.
    pub branch: Option<Count>,
    /// Functions, where the report counts them.
    pub function: Option<Count>,
}

/// A format of coverage reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// coverage.py's HTML (its index.html)
    CoverageHtml,
    /// coverage.py's JSON
    CoverageJson,
}

impl Format {
    /// The format's name, as `--format` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoverageHtml => "coverage-html",
            Self::CoverageJson => "coverage-json",
        }
    }

    /// The format that the content has.
    pub fn of(content: &[u8]) -> Option<Self> {
        let start = content.iter().position(|c| !c.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(c))?;
        match content[start] {
            b'<' if coverage_html::fits(content) => Some(Self::CoverageHtml),
            b'{' if coverage_json::fits(content) => Some(Self::CoverageJson),
            _ => None,
        }
    }

    /// Reads a report; the error says what is missing or wrong.
    pub fn read(self, content: &[u8]) -> Result<Totals, String> {
        match self {
            Self::CoverageHtml => coverage_html::read(content),
            Self::CoverageJson => coverage_json::read(content),
        }
    }
}
