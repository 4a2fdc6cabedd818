//! Clover XML, of Clover, OpenClover, PHPUnit and istanbul.
//!
//! The project's `metrics` have the totals: before its files in Clover, after them in PHPUnit. Tests'
//! own code stands in a `testproject`, which counts for nothing. What a method or a conditional is, and
//! when it is covered, differs between the tools, so the body's total takes these from the metrics of
//! its files, and the statements from its lines.

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
        let within_file = tags.is_within(&["file", "metrics"])
            || tags.tag().kind == Kind::Empty && tags.is_within(&["file"]);
        let within_project = tags.is_within(&["coverage", "project", "metrics"])
            || tags.tag().kind == Kind::Empty && tags.is_within(&["coverage", "project"]);
        reading.take(tags.tag(), within_project, within_file)?;
        if depth == Depth::Header && reading.header.total.is_some() {
            break;
        }
    }
    report.unit = if reading.header.total.is_some() { TotalUnit::Elements } else { TotalUnit::Lines };
    let functions = reading.header.function.is_none();
    report.body = Body { lines: true, branches: false, functions, units: !reading.lacks_metrics };
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
    file: Option<File>,
    /// Whether some file has no `metrics`.
    lacks_metrics: bool,
}

/// The file in hand.
struct File {
    coverage: FileCoverage,
    statements: Count,
    metrics: Option<Totals>,
}

impl Reading {
    fn take(&mut self, tag: &Tag, within_project: bool, within_file: bool) -> Result<(), ReportError> {
        match (tag.kind, tag.name()) {
            (Kind::Start, "testproject") => self.in_test_project = true,
            (Kind::End, "testproject") => self.in_test_project = false,
            _ if self.in_test_project => {}
            (Kind::Start | Kind::Empty, "metrics") if within_project => self.header = metrics(tag)?,
            (Kind::Start | Kind::Empty, "metrics") if within_file => {
                let metrics = metrics(tag)?;
                self.file.iter_mut().for_each(|file| file.metrics = Some(metrics));
            }
            (Kind::Start, "file") => {
                let path = match tag.value("path")? {
                    Some(path) if !path.is_empty() => path,
                    _ => tag.required("name")?,
                };
                let coverage = FileCoverage::new(&path);
                self.file = Some(File { coverage, statements: Count::default(), metrics: None });
            }
            (Kind::End, "file") => {
                let Some(File { mut coverage, statements, metrics }) = self.file.take() else {
                    return Ok(());
                };
                self.lacks_metrics |= metrics.is_none();
                let Totals { branch, function, .. } = metrics.unwrap_or_default();
                coverage.unit(0, [Some(statements), branch, function].into_iter().flatten().sum());
                self.coverage.add(coverage);
            }
            (Kind::Start | Kind::Empty, "line") => return self.line(tag),
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, tag: &Tag) -> Result<(), ReportError> {
        let Some(File { coverage: file, statements, .. }) = &mut self.file else { return Ok(()) };
        let number = tag.line("num")?;
        let kind = tag.raw("type").unwrap_or("stmt");
        // In Clover a condition has counts of its two outcomes and none of its own, and stands beside a
        // statement; istanbul's is the statement.
        let is_condition = kind == "cond" && tag.raw("count").is_none();
        let covered = if is_condition {
            tag.is_hit("truecount")? || tag.is_hit("falsecount")?
        } else {
            tag.is_hit("count")?
        };
        let entry = Count { covered: u64::from(covered), total: 1 };
        match kind {
            "method" => {
                let name = tag.value("name")?.or(tag.value("signature")?).unwrap_or_default();
                file.function((number, name), covered);
                *self.by_entry.function.get_or_insert_default() += entry;
            }
            _ if is_condition => file.line(number, covered),
            _ => {
                file.line(number, covered);
                *statements += entry;
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
    let (mut line, branch, function) = (count("statements")?, count("conditionals")?, count("methods")?);
    let total = match count("elements")? {
        Some(elements) => Some(elements),
        None => line
            .map(|line| [line, branch.unwrap_or_default(), function.unwrap_or_default()].into_iter().sum()),
    };
    let parts: Count = [line, branch, function].into_iter().flatten().sum();
    if parts.total == 0 {
        // gcovr counts nothing but elements, which are lines.
        line = total;
    }
    Ok(Totals { total, line, branch, function })
}
