//! The header of a report against its body.
//!
//! Generators contradict themselves: a header counts what the body leaves out, or the other way
//! round. Where both lead to the same verdict that is worth a warning; where they don't, neither is
//! believed.

use step::{Failure, FailureKind};

use crate::report::{Metric, Report};
use crate::rule::Rule;
use crate::verdict::{Count, Percent};

/// What a verdict is found from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// Integers.
    Exact(Count),
    /// A report that has nothing but a rounded percentage.
    Rounded(Percent),
}

impl Figure {
    /// The integers to compare; a rounded percentage as hundredths or smaller parts of itself.
    pub fn count(&self) -> Count {
        match self {
            Self::Exact(count) => *count,
            Self::Rounded(percent) => percent.as_count(),
        }
    }
}

/// How much contradiction is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// As long as the verdict is the same either way.
    SameVerdict,
    /// None.
    Strict,
    /// The header is believed, whatever the body says.
    Header,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Header and body give different verdicts, or `--strict` was given.
    #[error("{report} contradicts itself: its header says {header} {unit}, its body {body}")]
    Contradiction {
        /// The report's name.
        report: String,
        /// What is counted.
        unit: &'static str,
        /// The header's counts.
        header: Count,
        /// The body's.
        body: Count,
    },
    /// Nothing in it could have been covered.
    #[error("{report} has no {unit} to cover")]
    NothingToCover {
        /// The report's name.
        report: String,
        /// What is counted.
        unit: &'static str,
    },
    /// The report does not count what was asked for.
    #[error("{report} does not count {unit}")]
    NotCounted {
        /// The report's name.
        report: String,
        /// What is counted.
        unit: &'static str,
    },
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let hint = match error {
            AuditError::Contradiction { .. } => {
                "run the tests and the report again; --trust-header takes the header's word"
            }
            AuditError::NothingToCover { .. } => "did the tests run with coverage switched on for this code?",
            AuditError::NotCounted { .. } => {
                "another --metric, or the coverage tool's option that counts these (such as --branch)"
            }
        };
        Self::new(FailureKind::Input, error).hint(hint)
    }
}

/// What the audit found.
#[derive(Debug)]
pub struct Finding {
    /// The figure to decide on.
    pub figure: Figure,
    /// What a person should know of it.
    pub warning: Option<String>,
}

/// What is counted, in the plural.
pub const fn unit(report: &Report, metric: Metric) -> &'static str {
    match metric {
        Metric::Total => report.unit.plural(),
        Metric::Line => "lines",
        Metric::Branch => "branches",
        Metric::Function => "functions",
    }
}

/// Finds the figure of one metric.
pub fn audit(
    name: &str,
    report: &Report,
    metric: Metric,
    threshold: &Percent,
    rule: Rule,
    belief: Belief,
) -> Result<Finding, AuditError> {
    let unit = unit(report, metric);
    let (header, body) = (report.header.of(metric), report.body_totals().of(metric));
    let mut warning = None;
    let count = match (header, body) {
        (Some(header), _) if belief == Belief::Header => Some(header),
        (Some(header), Some(body)) if header != body => {
            let same = rule.passes(header, threshold) == rule.passes(body, threshold);
            if !same || belief == Belief::Strict {
                return Err(AuditError::Contradiction { report: name.to_owned(), unit, header, body });
            }
            // Adding up every class or record by itself is a way to count, not a contradiction.
            if report.by_part.of(metric) != Some(header) {
                warning = Some(format!(
                    "{name} contradicts itself: its header says {header} {unit}, its body {body}; the verdict is the same"
                ));
            }
            Some(body)
        }
        (header, body) => body.or(header),
    };
    match (count, &report.rounded) {
        (Some(Count { total: 0, .. }), _) => {
            Err(AuditError::NothingToCover { report: name.to_owned(), unit })
        }
        (Some(count), _) => Ok(Finding { figure: Figure::Exact(count), warning }),
        (None, Some(percent)) if matches!(metric, Metric::Total | Metric::Line) => Ok(Finding {
            figure: Figure::Rounded(percent.clone()),
            warning: Some(format!(
                "{name} has only a rounded figure, {percent}%, and no counts to compare exactly"
            )),
        }),
        (None, _) => Err(AuditError::NotCounted { report: name.to_owned(), unit }),
    }
}
