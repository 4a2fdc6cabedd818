//! istanbul's JSON, as nyc, c8, Jest, Vitest and Karma write it: `coverage-summary.json`, which has
//! counts, and `coverage-final.json`, which has maps of statements, functions and branches and how
//! often each was hit. A line is hit as often as the most hit statement that begins on it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::json::{self, Hits, Members, Object, skip};
use crate::coverage::{FileCoverage, Summary};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    report.unit = TotalUnit::Statements;
    report.body = Body { lines: true, branches: true, functions: true, units: true };
    json::read(input, &mut Files(report))
}

struct Files<'a>(&'a mut Report);

impl Members for Files<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, path: &str, map: &mut A) -> Result<(), A::Error> {
        let mut file = File::default();
        map.next_value_seed(Object(&mut file))?;
        if path == "total" && file.is_summary() {
            let Summary { lines, branches, functions, units } = file.summary;
            self.0.header = Totals { total: units, line: lines, branch: branches, function: functions };
            return Ok(());
        }
        if !file.is_summary() && file.statement_hits.is_none() {
            return Err(A::Error::custom(format!("`{path}` has neither counts nor maps of statements")));
        }
        self.0.coverage.add(file.coverage(path));
        Ok(())
    }
}

#[derive(Default)]
struct File {
    summary: Summary,
    statements: HashMap<String, Span>,
    functions: HashMap<String, Function>,
    branches: HashMap<String, Branch>,
    statement_hits: Option<HashMap<String, Hits>>,
    function_hits: HashMap<String, Hits>,
    branch_hits: HashMap<String, Vec<Hits>>,
}

#[derive(Debug, Deserialize)]
struct Counted {
    total: u64,
    covered: u64,
}

impl Counted {
    fn count<E: Error>(&self) -> Result<Option<Count>, E> {
        let count = Count::new(self.covered, self.total);
        count.map(Some).ok_or_else(|| E::custom(ReportError::count("a summary", self.covered, self.total)))
    }
}

#[derive(Debug, Default, Deserialize)]
struct Span {
    #[serde(default)]
    start: Position,
}

/// A source map may leave positions empty.
#[derive(Debug, Default, Deserialize)]
struct Position {
    line: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Branch {
    line: Option<u32>,
    #[serde(default)]
    loc: Span,
    #[serde(default)]
    locations: Vec<Span>,
}

impl Branch {
    fn line(&self) -> u32 {
        let first = self.locations.first().and_then(|span| span.start.line);
        self.loc.start.line.or(self.line).or(first).unwrap_or(0)
    }
}

impl Members for File {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "lines" => self.summary.lines = map.next_value::<Counted>()?.count()?,
            "statements" => self.summary.units = map.next_value::<Counted>()?.count()?,
            "branches" => self.summary.branches = map.next_value::<Counted>()?.count()?,
            "functions" => self.summary.functions = map.next_value::<Counted>()?.count()?,
            "statementMap" => self.statements = map.next_value()?,
            "fnMap" => self.functions = map.next_value()?,
            "branchMap" => self.branches = map.next_value()?,
            "s" => self.statement_hits = Some(map.next_value()?),
            "f" => self.function_hits = map.next_value()?,
            "b" => self.branch_hits = map.next_value()?,
            // Old Karma wraps a file's maps once more.
            "data" => map.next_value_seed(Object(self))?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl File {
    fn is_summary(&self) -> bool {
        self.summary.lines.is_some() || self.summary.units.is_some()
    }

    fn coverage(self, path: &str) -> FileCoverage {
        let mut file = FileCoverage::new(path);
        if self.is_summary() {
            file.summarize(self.summary);
            return file;
        }
        let one = |covered: bool| Count { covered: u64::from(covered), total: 1 };
        for (id, Hits(hits)) in self.statement_hits.into_iter().flatten() {
            let covered = hits.unwrap_or(false);
            file.unit(crate::coverage::hash(&id), one(covered));
            if let Some(line) = self.statements.get(&id).and_then(|span| span.start.line) {
                file.line(line, covered);
            }
        }
        for (id, Hits(hits)) in self.function_hits {
            let name = self.functions.get(&id).and_then(|function| function.name.as_deref());
            file.function((&id, name), hits.unwrap_or(false));
        }
        for (id, outcomes) in self.branch_hits {
            let line = self.branches.get(&id).map_or(0, Branch::line);
            for (outcome, Hits(hits)) in outcomes.into_iter().enumerate() {
                file.branch(line, (&id, outcome), hits.unwrap_or(false));
            }
        }
        file
    }
}
