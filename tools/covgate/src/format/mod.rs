//! The formats that reports come in, told from their content.

mod clover;
mod cobertura;
pub(crate) mod coverage_html;
mod coverage_json;
mod detect;
mod go_profile;
mod istanbul;
mod jacoco;
mod json;
mod lcov;
mod llvm_cov;
mod simplecov;
mod xml;

use crate::coverage::Coverage;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::Report;

/// A format of coverage reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// coverage.py's HTML: the index.html in htmlcov
    CoverageHtml,
    /// coverage.py's JSON
    CoverageJson,
    /// Cobertura XML, of coverage.py, istanbul, coverlet, gcovr, PHPUnit and many more
    Cobertura,
    /// JaCoCo's XML
    Jacoco,
    /// Clover XML, of Clover, OpenClover, PHPUnit and istanbul
    Clover,
    /// LCOV tracefile
    Lcov,
    /// Go's cover profile
    #[value(name = "go")]
    Go,
    /// `llvm-cov export` in JSON
    LlvmCov,
    /// istanbul's coverage-summary.json or coverage-final.json
    Istanbul,
    /// SimpleCov: its result set, its JSON formatter's coverage.json, or the last run
    #[value(name = "simplecov")]
    SimpleCov,
}

/// How much of a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every file and its lines.
    Files,
    /// What all files add up to.
    Counts,
    /// No more than the totals that it states, where they come first.
    Header,
}

impl Format {
    /// The name, as `--format` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoverageHtml => "coverage-html",
            Self::CoverageJson => "coverage-json",
            Self::Cobertura => "cobertura",
            Self::Jacoco => "jacoco",
            Self::Clover => "clover",
            Self::Lcov => "lcov",
            Self::Go => "go",
            Self::LlvmCov => "llvm-cov",
            Self::Istanbul => "istanbul",
            Self::SimpleCov => "simplecov",
        }
    }

    /// The format of a report that begins like this.
    pub fn of(head: &[u8]) -> Option<Self> {
        detect::format(head)
    }

    /// Whether a report of this format may state its totals before its files.
    pub const fn has_totals_first(self) -> bool {
        matches!(self, Self::Cobertura | Self::Clover)
    }

    /// Reads a report. With [`Depth::Counts`] its coverage may turn out not to be a union; then it has to be
    /// read again for its files.
    pub fn read(self, input: Input, depth: Depth) -> Result<Report, ReportError> {
        let mut report = Report::new(self);
        if depth == Depth::Counts {
            report.coverage = Coverage::of_counts();
        }
        match self {
            Self::CoverageHtml => coverage_html::read(input, &mut report),
            Self::CoverageJson => coverage_json::read(input, &mut report),
            Self::Cobertura => cobertura::read(input, depth, &mut report),
            Self::Jacoco => jacoco::read(input, &mut report),
            Self::Clover => clover::read(input, depth, &mut report),
            Self::Lcov => lcov::read(input, &mut report),
            Self::Go => go_profile::read(input, &mut report),
            Self::LlvmCov => llvm_cov::read(input, &mut report),
            Self::Istanbul => istanbul::read(input, &mut report),
            Self::SimpleCov => simplecov::read(input, &mut report),
        }?;
        report.header = report.header.known();
        report.by_part = report.by_part.known();
        Ok(report)
    }
}

/// The number of one to nine digits that the text begins with, and how many they are.
#[inline]
fn digits(text: &[u8]) -> Option<(u32, usize)> {
    let (mut number, mut length) = (0, 0);
    for digit in text.iter().take(9).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        number = number * 10 + u32::from(digit);
        length += 1;
    }
    (length > 0).then_some((number, length))
}
