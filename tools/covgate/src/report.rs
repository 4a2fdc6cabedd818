//! A report that was read: what its header claims and what its body adds up to.

use crate::coverage::Coverage;
use crate::format::Format;
use crate::verdict::{Count, Percent};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Metric {
    /// What the report's own total counts
    #[default]
    Total,
    /// Lines
    Line,
    /// Branches
    Branch,
    /// Functions or methods
    Function,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Total, Self::Line, Self::Branch, Self::Function];

    /// The name that `--metric` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Line => "line",
            Self::Branch => "branch",
            Self::Function => "function",
        }
    }
}

/// What a format's own total counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TotalUnit {
    /// Lines.
    #[default]
    Lines,
    /// Lines and branches, as coverage.py adds them up.
    LinesAndBranches,
    /// Statements, each counted once, however many share a line.
    Statements,
    /// Bytecode instructions.
    Instructions,
    /// Statements, conditionals and methods, as Clover adds them up.
    Elements,
}

impl TotalUnit {
    /// What is counted, in the plural.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::LinesAndBranches => "lines and branches",
            Self::Statements => "statements",
            Self::Instructions => "instructions",
            Self::Elements => "elements",
        }
    }
}

/// Counts by metric, where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// The format's own total.
    pub total: Option<Count>,
    /// Lines.
    pub line: Option<Count>,
    /// Branches; unknown where there are none, since reports without branch coverage write zeros.
    pub branch: Option<Count>,
    /// Functions; unknown where there are none.
    pub function: Option<Count>,
}

impl Totals {
    /// The counts of one metric.
    pub const fn of(&self, metric: Metric) -> Option<Count> {
        match metric {
            Metric::Total => self.total,
            Metric::Line => self.line,
            Metric::Branch => self.branch,
            Metric::Function => self.function,
        }
    }

    /// Without the counts of things that there are none of, save lines.
    #[must_use]
    pub fn known(self) -> Self {
        let some = |count: Option<Count>| count.filter(|count| count.total > 0);
        Self { branch: some(self.branch), function: some(self.function), ..self }
    }
}

/// Percentages as a report states them, which are rounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// Of lines.
    pub line: Option<Percent>,
    /// Of branches.
    pub branch: Option<Percent>,
}

/// What the body of a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column that a report has or lacks")]
pub struct Body {
    /// Lines.
    pub lines: bool,
    /// Branches.
    pub branches: bool,
    /// Functions.
    pub functions: bool,
    /// Statements, instructions or elements.
    pub units: bool,
}

/// A report that was read.
#[derive(Debug)]
pub struct Report {
    /// Its format.
    pub format: Format,
    /// What its own total counts.
    pub unit: TotalUnit,
    /// What it says of itself.
    pub header: Totals,
    /// Counts of its body as some generators add them up, where that is not the union: every class
    /// or record by itself.
    pub by_part: Totals,
    /// What its body has.
    pub body: Body,
    /// What it states without counts.
    pub rates: Rates,
    /// Whether coverage.py made it.
    pub by_coverage_py: bool,
    /// The folders below which its relative paths may lie, as Cobertura names them.
    pub sources: Vec<String>,
    /// Its files.
    pub coverage: Coverage,
}

impl Report {
    /// A report of which nothing is known yet.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            unit: TotalUnit::default(),
            header: Totals::default(),
            by_part: Totals::default(),
            body: Body::default(),
            rates: Rates::default(),
            by_coverage_py: false,
            sources: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    /// What it states of one metric without counts. There is no rate of lines and branches together.
    pub fn rate(&self, metric: Metric) -> Option<&Percent> {
        let has_branches = self.body_totals().branch.or(self.header.branch).is_some();
        match (metric, self.unit) {
            (Metric::Branch, _) => self.rates.branch.as_ref(),
            (Metric::Total, TotalUnit::LinesAndBranches) if has_branches => None,
            (Metric::Line, _) | (Metric::Total, TotalUnit::Lines | TotalUnit::LinesAndBranches) => {
                self.rates.line.as_ref()
            }
            _ => None,
        }
    }

    /// What the body adds up to, each line counted once.
    pub fn body_totals(&self) -> Totals {
        let Self { body, coverage, .. } = self;
        let line = body.lines.then(|| coverage.lines());
        let branch = body.branches.then(|| coverage.branches());
        let function = body.functions.then(|| coverage.functions());
        let total = match self.unit {
            TotalUnit::Lines => line,
            TotalUnit::LinesAndBranches => {
                let knows_branches = body.branches || self.header.branch.is_none();
                line.filter(|_| knows_branches)
                    .map(|line| [line, branch.unwrap_or_default()].into_iter().sum())
            }
            TotalUnit::Statements | TotalUnit::Instructions | TotalUnit::Elements => {
                body.units.then(|| coverage.units())
            }
        };
        Totals { total, line, branch, function }.known()
    }

    /// Adds another report to this one. The total of reports that count different things is in lines. Answers with the
    /// other's files that could be several of this one's.
    pub fn merge(&mut self, other: Self) -> Vec<String> {
        // Clover's elements have no names by which they could be united.
        if self.unit != other.unit || self.unit == TotalUnit::Elements {
            self.unit = TotalUnit::Lines;
        }
        self.header = Totals::default();
        self.by_part = Totals::default();
        self.rates = Rates::default();
        self.by_coverage_py &= other.by_coverage_py;
        self.body = Body {
            lines: self.body.lines && other.body.lines,
            branches: self.body.branches || other.body.branches,
            functions: self.body.functions || other.body.functions,
            units: self.body.units && other.body.units,
        };
        self.sources.clear();
        self.coverage.unite(other.coverage)
    }
}
