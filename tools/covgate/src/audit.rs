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

    /// The integers, where there are any.
    pub const fn exact(&self) -> Option<Count> {
        match self {
            Self::Exact(count) => Some(*count),
            Self::Rounded(_) => None,
        }
    }

    /// The figure in words, of things that are named in the plural: `5 of 6 lines`, `about 83.33% of lines`.
    pub fn of(&self, unit: &str) -> String {
        match self {
            Self::Exact(count) => format!("{count} {unit}"),
            Self::Rounded(percent) => format!("about {percent}% of {unit}"),
        }
    }

    /// Whether the body may have this count; a rounded figure is as exact as it was written.
    fn agrees_with(&self, body: Count) -> bool {
        match self {
            Self::Exact(header) => *header == body,
            Self::Rounded(percent) => body.rounds_to(percent),
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
    #[error("{report} contradicts itself: its header says {header}, its body {body}")]
    Contradiction {
        /// The report's name.
        report: String,
        /// The header's figure, and of what.
        header: String,
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
    let rate = || report.rate(metric).cloned().map(Figure::Rounded);
    let header = report.header.of(metric).map(Figure::Exact).or_else(rate);
    let body = report.body_totals().of(metric);
    let mut warning = None;
    let figure = match (header, body) {
        // A rate of nothing is any number.
        (Some(Figure::Rounded(_)), Some(body @ Count { total: 0, .. })) => Some(Figure::Exact(body)),
        (Some(header), _) if belief == Belief::Header => Some(header),
        (Some(header), Some(body)) if !header.agrees_with(body) => {
            let same = rule.passes(header.count(), threshold) == rule.passes(body, threshold);
            if !same || belief == Belief::Strict {
                return Err(AuditError::Contradiction {
                    report: name.to_owned(),
                    header: header.of(unit),
                    body,
                });
            }
            // Adding up every class or record by itself is a way to count, not a contradiction.
            if !report.by_part.of(metric).is_some_and(|by_part| header.agrees_with(by_part)) {
                warning = Some(format!(
                    "{name} contradicts itself: its header says {}, its body {body}; the verdict is the same",
                    header.of(unit)
                ));
            }
            Some(Figure::Exact(body))
        }
        (header, body) => body.map(Figure::Exact).or(header),
    };
    match figure {
        Some(Figure::Exact(Count { total: 0, .. })) => {
            Err(AuditError::NothingToCover { report: name.to_owned(), unit })
        }
        Some(Figure::Rounded(percent)) => {
            let whose = if body.is_some() { "'s header" } else { "" };
            warning = Some(format!(
                "{name}{whose} has only a rounded figure, {percent}%, and no counts to compare exactly"
            ));
            Ok(Finding { figure: Figure::Rounded(percent), warning })
        }
        Some(figure) => Ok(Finding { figure, warning }),
        None => Err(AuditError::NotCounted { report: name.to_owned(), unit }),
    }
}
