//! Clover XML, of Clover, OpenClover, PHPUnit and istanbul.
//!
//! The project's `metrics` have the totals: before its files in Clover, after them in PHPUnit. Tests'
//! own code stands in a `testproject`, which counts for nothing.

use super::Depth;
use super::xml::{Kind, Tag, Tags};
use crate::coverage::{Coverage, FileCoverage};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

pub(super) fn read(input: Input, depth: Depth, report: &mut Report) -> Result<(), ReportError> {
    let mut tags = Tags::new(input);
    let mut reading = Reading { coverage: std::mem::take(&mut report.coverage), ..Reading::default() };
    while tags.advance()? {
        let within_project = tags.is_within(&["coverage", "project", "metrics"])
            || tags.tag().kind == Kind::Empty && tags.is_within(&["coverage", "project"]);
        reading.take(tags.tag(), within_project)?;
        if depth == Depth::Header && reading.header.total.is_some() {
            break;
        }
    }
    report.unit = if reading.header.total.is_some() { TotalUnit::Elements } else { TotalUnit::Lines };
    report.body = Body { lines: true, branches: false, functions: true, units: false };
    report.header = reading.header;
    report.by_part = reading.by_entry;
    report.coverage = reading.coverage;
    Ok(())
}

#[derive(Default)]
struct Reading {
    header: Totals,
    /// Every `line` element by itself: several statements may share a line.
    by_entry: Totals,
    coverage: Coverage,
    in_test_project: bool,
    file: Option<FileCoverage>,
}

impl Reading {
    fn take(&mut self, tag: &Tag, within_project: bool) -> Result<(), ReportError> {
        match (tag.kind, tag.name()) {
            (Kind::Start, "testproject") => self.in_test_project = true,
            (Kind::End, "testproject") => self.in_test_project = false,
            _ if self.in_test_project => {}
            (Kind::Start | Kind::Empty, "metrics") if within_project => self.header = metrics(tag)?,
            (Kind::Start, "file") => {
                let path = match tag.value("path")? {
                    Some(path) if !path.is_empty() => path,
                    _ => tag.required("name")?,
                };
                self.file = Some(FileCoverage::new(&path));
            }
            (Kind::End, "file") => {
                if let Some(file) = self.file.take() {
                    self.coverage.add(file);
                }
            }
            (Kind::Start | Kind::Empty, "line") => return self.line(tag),
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, tag: &Tag) -> Result<(), ReportError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let number = tag.line("num")?;
        let kind = tag.raw("type").unwrap_or("stmt");
        // In Clover a condition has counts of its two outcomes and none of its own.
        let covered = match tag.raw("count") {
            None if kind == "cond" => tag.is_hit("truecount")? || tag.is_hit("falsecount")?,
            _ => tag.is_hit("count")?,
        };
        let entry = Count { covered: u64::from(covered), total: 1 };
        match kind {
            "method" => {
                let name = tag.value("name")?.or(tag.value("signature")?).unwrap_or_default();
                file.function((number, name), covered);
                *self.by_entry.function.get_or_insert_default() += entry;
            }
            "cond" => file.line(number, covered),
            _ => {
                file.line(number, covered);
                *self.by_entry.line.get_or_insert_default() += entry;
            }
        }
        Ok(())
    }
}

/// The totals of a `metrics` element.
fn metrics(tag: &Tag) -> Result<Totals, ReportError> {
    let count = |all: &str| -> Result<Option<Count>, ReportError> {
        match (tag.number(&format!("covered{all}"))?, tag.number(all)?) {
            (Some(covered), Some(total)) => {
                Count::new(covered, total).map(Some).ok_or_else(|| ReportError::count(all, covered, total))
            }
            _ => Ok(None),
        }
    };
    let (line, branch, function) = (count("statements")?, count("conditionals")?, count("methods")?);
    let total = match count("elements")? {
        Some(elements) => Some(elements),
        None => line
            .map(|line| [line, branch.unwrap_or_default(), function.unwrap_or_default()].into_iter().sum()),
    };
    Ok(Totals { total, line, branch, function })
}
