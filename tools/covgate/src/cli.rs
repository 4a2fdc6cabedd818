//! The command line of covgate, and the only place that reads the environment.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use step::{Dotenv, ExitStatus, Failure, Io, Preferences, Program, Talk, document};

use crate::error::ReportError;
use crate::format::Format;
use crate::report::{self, Report};
use crate::verdict::{Count, Percent};

const EXAMPLES: &str = "\
Examples:
  covgate htmlcov                            the report in a folder, against 80 %
  covgate --fail-under 92.5 coverage.json    decimals are compared exactly
  covgate --metric branch -o json htmlcov    the counts, as JSON

GitLab reads the printed line with `coverage: '/^TOTAL (\\d+\\.\\d+)%/'`.";

/// Coverage report to verdict: any format, exact, in one pass
#[derive(Debug, clap::Parser)]
#[command(name = "covgate", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// The report, a folder that holds it, or - for stdin
    #[arg(value_name = "REPORT", default_value = "-")]
    report: PathBuf,

    /// The least percentage that passes; decimals are allowed
    #[arg(long, value_name = "PCT", default_value = "80", env = "COVGATE_FAIL_UNDER")]
    fail_under: Percent,

    /// The report's format, where its content does not tell it
    #[arg(long, value_name = "FORMAT", value_enum, env = "COVGATE_FORMAT")]
    format: Option<Format>,

    /// What has to reach the percentage
    #[arg(long, value_name = "METRIC", value_enum, default_value_t, env = "COVGATE_METRIC")]
    metric: Metric,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, env = "COVGATE_OUTPUT")]
    output: step::Format,

    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Metric {
    /// What the report's own total counts
    #[default]
    Total,
    /// Lines
    Line,
    /// Branches
    Branch,
    /// Functions
    Function,
}

impl Metric {
    const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Line => "line",
            Self::Branch => "branch",
            Self::Function => "function",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Total | Self::Line => "lines",
            Self::Branch => "branches",
            Self::Function => "functions",
        }
    }

    fn of(self, report: &Report) -> Result<Count, ReportError> {
        let totals = report.totals;
        let count = match self {
            Self::Total => Some(totals.total),
            Self::Line => totals.line,
            Self::Branch => totals.branch,
            Self::Function => totals.function,
        };
        let path = || report.path.clone();
        match count {
            None => Err(ReportError::NoSuchMetric {
                path: path(),
                format: report.format.name(),
                metric: self.plural(),
            }),
            Some(Count { total: 0, .. }) => {
                Err(ReportError::NothingToCover { path: path(), metric: self.plural() })
            }
            Some(count) => Ok(count),
        }
    }
}

impl Program for Cli {
    const NAME: &'static str = "covgate";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: self.output == step::Format::Json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        let report = report::read(&self.report, self.format)?;
        let count = self.metric.of(&report)?;
        let pass = count.reaches(&self.fail_under);
        let Count { covered, total } = count;
        let (percent, verdict) = (count.percent(), if pass { "reaches" } else { "is below" });
        io.console.note(format!(
            "{percent}% ({covered} of {total} {}) {verdict} {}%",
            self.metric.plural(),
            self.fail_under
        ));
        match self.output {
            step::Format::Text => io.out.line(format!("TOTAL {percent}%"))?,
            step::Format::Json => io.out.line(document(Self::NAME, self.fields(&report, count, pass)))?,
            step::Format::Dotenv => {
                io.out.bytes(Dotenv::new().set("COVERAGE", &percent)?.text().as_bytes())?;
            }
        }
        Ok(if pass { ExitStatus::Done } else { ExitStatus::No })
    }
}

impl Cli {
    fn fields(&self, report: &Report, count: Count, pass: bool) -> Map<String, Value> {
        let part = |count: Option<Count>| {
            count.map(|Count { covered, total }| json!({ "covered": covered, "total": total }))
        };
        let Value::Object(fields) = json!({
            "pass": pass,
            "format": report.format.name(),
            "metric": self.metric.name(),
            "covered": count.covered,
            "total": count.total,
            "percent": count.percent(),
            "failUnder": self.fail_under.to_string(),
            "line": part(report.totals.line),
            "branch": part(report.totals.branch),
            "function": part(report.totals.function),
        }) else {
            return Map::new();
        };
        fields
    }
}
