//! coverage.py's JSON report, formats 1 to 3: `files`, each with its lines, and `totals` last.

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::json::{self, Items, Members, Object, skip};
use crate::coverage::FileCoverage;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    report.by_coverage_py = true;
    report.unit = TotalUnit::LinesAndBranches;
    report.body = Body { lines: true, ..Body::default() };
    let mut top = Top { report, totals: None };
    json::read(input, &mut top)?;
    let totals = top.totals.ok_or_else(|| ReportError::malformed("it has no `totals`"))?;
    report.header = totals.counts()?;
    Ok(())
}

/// The counts of the report, a file, or a function.
#[derive(Debug, Deserialize)]
struct Summary {
    covered_lines: u64,
    num_statements: u64,
    covered_branches: Option<u64>,
    num_branches: Option<u64>,
}

impl Summary {
    /// How many of a file's covered lines are not statements, if all that are missed are.
    fn surplus_in(&self, listed: Count) -> Option<u64> {
        let missed = self.num_statements.checked_sub(self.covered_lines)?;
        (listed.total - listed.covered == missed).then(|| listed.covered.checked_sub(self.covered_lines))?
    }

    fn counts(&self) -> Result<Totals, ReportError> {
        let count = |what, covered, total| {
            Count::new(covered, total).ok_or_else(|| ReportError::count(what, covered, total))
        };
        let line = count("lines", self.covered_lines, self.num_statements)?;
        let branch = match (self.covered_branches, self.num_branches) {
            (Some(covered), Some(total)) => Some(count("branches", covered, total)?),
            _ => None,
        };
        let total = [line, branch.unwrap_or_default()].into_iter().sum();
        Ok(Totals { total: Some(total), line: Some(line), branch, function: None })
    }
}

struct Top<'a> {
    report: &'a mut Report,
    totals: Option<Summary>,
}

impl Members for Top<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "files" => map.next_value_seed(Object(&mut Files(self.report))),
            "totals" => {
                self.totals = Some(map.next_value()?);
                Ok(())
            }
            _ => skip(map),
        }
    }
}

struct Files<'a>(&'a mut Report);

impl Members for Files<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, path: &str, map: &mut A) -> Result<(), A::Error> {
        let mut file = File { coverage: FileCoverage::new(path), ..File::default() };
        map.next_value_seed(Object(&mut file))?;
        let File { mut coverage, excluded, branches, summary, functions } = file;
        // The executed lines are all that ran: before coverage.py 6 excluded ones and lines of files without
        // statements too, and before 7.13 the docstrings of modules and classes.
        for line in excluded {
            coverage.no_line(line);
        }
        if summary.as_ref().is_some_and(|summary| summary.num_statements == 0) {
            coverage.no_lines();
        }
        if let Some(surplus) = summary.as_ref().and_then(|summary| summary.surplus_in(coverage.lines())) {
            coverage.discount(surplus);
        }
        let stated = summary.map(|summary| summary.counts()).transpose().map_err(A::Error::custom)?;
        let stated = stated.and_then(|counts| counts.branch);
        if let (None, Some(count)) = (branches, stated) {
            // Before coverage.py 6.5 a file's branches are only counted.
            coverage.branch_count(0, count);
        }
        self.0.body.branches |= branches.is_some() || stated.is_some();
        self.0.body.functions |= functions;
        self.0.coverage.add(coverage);
        Ok(())
    }
}

#[derive(Default)]
struct File {
    coverage: FileCoverage,
    excluded: Vec<u32>,
    branches: Option<()>,
    summary: Option<Summary>,
    functions: bool,
}

impl Members for File {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let Self { coverage, excluded, branches, .. } = self;
        match key {
            "executed_lines" | "missing_lines" => map.next_value_seed(Items::each(|line| {
                coverage.line(line, key == "executed_lines");
                Ok(())
            })),
            "excluded_lines" => map.next_value_seed(Items::each(|line| {
                excluded.push(line);
                Ok(())
            })),
            "executed_branches" | "missing_branches" => {
                *branches = Some(());
                map.next_value_seed(Items::each(|(from, to): (i64, i64)| {
                    let line =
                        u32::try_from(from.unsigned_abs()).map_err(|_| format!("a branch of line {from}"))?;
                    coverage.branch(line, to, key == "executed_branches");
                    Ok(())
                }))
            }
            "summary" => {
                self.summary = Some(map.next_value()?);
                Ok(())
            }
            "functions" => {
                self.functions = true;
                map.next_value_seed(Object(&mut Functions(coverage)))
            }
            _ => skip(map),
        }
    }
}

struct Functions<'a>(&'a mut FileCoverage);

impl Members for Functions<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Function {
            summary: Summary,
        }
        let Function { summary } = map.next_value()?;
        // The nameless one is the code outside of all functions.
        if !name.is_empty() && summary.num_statements > 0 {
            self.0.function(name, summary.covered_lines > 0);
        }
        Ok(())
    }
}
