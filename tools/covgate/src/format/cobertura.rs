//! Cobertura XML, of Cobertura 1 and 2, coverage.py, istanbul, coverlet, gcovr, PHPUnit and many more.
//!
//! The root element has the totals. In the body, a class lists its lines, and its methods list
//! theirs again; several classes may share a file.

use super::Depth;
use super::xml::{Kind, Tag, Tags, hit};
use crate::coverage::{Coverage, FileCoverage};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

pub(super) fn read(input: Input, depth: Depth, report: &mut Report) -> Result<(), ReportError> {
    let mut tags = Tags::new(input);
    let mut reading = Reading { coverage: std::mem::take(&mut report.coverage), ..Reading::default() };
    while tags.advance()? {
        reading.take(tags.tag()).map_err(|error| at(&tags, error))?;
        if depth == Depth::Header && reading.past_header && reading.header.line.is_some() {
            break;
        }
    }
    if !reading.is_cobertura {
        return Err(ReportError::malformed("its root element is not <coverage>"));
    }
    report.by_coverage_py = tags.comments().contains("coverage.py");
    report.unit = if report.by_coverage_py { TotalUnit::LinesAndBranches } else { TotalUnit::Lines };
    let Reading { mut header, mut by_class, coverage, .. } = reading;
    for totals in [&mut header, &mut by_class] {
        totals.total = match (report.unit, totals.line) {
            (TotalUnit::LinesAndBranches, Some(line)) => {
                Some([line, totals.branch.unwrap_or_default()].into_iter().sum())
            }
            (_, line) => line,
        };
    }
    report.header = header;
    report.by_part = by_class;
    // A report without totals is read to its end in any case.
    let read_whole = depth != Depth::Header || header.line.is_none();
    report.body = Body { lines: read_whole, branches: read_whole, functions: read_whole, units: false };
    report.coverage = coverage;
    Ok(())
}

fn at(tags: &Tags, error: ReportError) -> ReportError {
    match error {
        ReportError::Malformed(message) => ReportError::Malformed(format!("{message} {}", tags.position())),
        other => other,
    }
}

#[derive(Default)]
struct Reading {
    is_cobertura: bool,
    past_header: bool,
    header: Totals,
    by_class: Totals,
    coverage: Coverage,
    class: Option<Class>,
}

/// The class in hand.
#[derive(Default)]
struct Class {
    name: String,
    file: FileCoverage,
    /// The lines of its methods, for reports that list lines nowhere else.
    of_methods: FileCoverage,
    method: Option<Method>,
}

#[derive(Default)]
struct Method {
    key: (String, String),
    covered: bool,
}

impl Reading {
    fn take(&mut self, tag: &Tag) -> Result<(), ReportError> {
        match (tag.kind, tag.name(), &mut self.class) {
            (Kind::Start | Kind::Empty, "line", Some(class)) => return class.line(tag),
            (Kind::Start | Kind::Empty, "coverage", None) if !self.is_cobertura => {
                self.is_cobertura = true;
                self.header.line = stated(tag, "lines-covered", "lines-valid")?;
                self.header.branch = stated(tag, "branches-covered", "branches-valid")?;
                return Ok(());
            }
            (Kind::Start, "class", none @ None) => {
                let name = tag.value("name")?.unwrap_or_default().into_owned();
                let path = tag.required("filename")?;
                *none = Some(Class { name, file: FileCoverage::new(&path), ..Class::default() });
            }
            (Kind::End, "class", class @ Some(_)) => {
                let Some(Class { mut file, of_methods, .. }) = class.take() else { return Ok(()) };
                if !file.knows_lines() {
                    let path = std::mem::take(&mut file.path);
                    file.merge(of_methods);
                    file.path = path;
                }
                *self.by_class.line.get_or_insert_default() += file.lines();
                *self.by_class.branch.get_or_insert_default() += file.branches();
                self.coverage.add(file);
            }
            (Kind::Start | Kind::Empty, "method", Some(class)) => {
                let name = tag.value("name")?.unwrap_or_default().into_owned();
                let signature = tag.value("signature")?.unwrap_or_default().into_owned();
                let covered = tag.raw("line-rate").is_some_and(|rate| hit(rate.as_bytes()) == Some(true));
                class.method = Some(Method { key: (name, signature), covered });
                if tag.kind == Kind::Empty {
                    class.end_method();
                }
            }
            (Kind::End, "method", Some(class)) => class.end_method(),
            _ => {}
        }
        self.past_header = true;
        Ok(())
    }
}

impl Class {
    fn line(&mut self, tag: &Tag) -> Result<(), ReportError> {
        let (number, covered) = (tag.line("number")?, tag.is_hit("hits")?);
        let file = match &mut self.method {
            None => &mut self.file,
            Some(method) => {
                method.covered |= covered;
                &mut self.of_methods
            }
        };
        file.line(number, covered);
        if let Some(condition) = tag.raw("condition-coverage")
            && let Some(count) = fraction(condition)
        {
            file.branch_count(number, count);
        }
        Ok(())
    }

    fn end_method(&mut self) {
        if let Some(Method { key, covered }) = self.method.take() {
            self.file.function((&self.name, key), covered);
        }
    }
}

/// Two counts of the root element, where both are there. MATLAB writes NaN for what it does not count.
fn stated(tag: &Tag, covered: &str, total: &str) -> Result<Option<Count>, ReportError> {
    let number = |name| if tag.raw(name) == Some("NaN") { Ok(None) } else { tag.number(name) };
    match (number(covered)?, number(total)?) {
        (Some(covered), Some(total)) => Count::new(covered, total)
            .map(Some)
            .ok_or_else(|| ReportError::count("<coverage>", covered, total)),
        _ => Ok(None),
    }
}

/// `50% (1/2)`: one branch of two.
fn fraction(text: &str) -> Option<Count> {
    let (_, fraction) = text.split_once('(')?;
    let (covered, total) = fraction.strip_suffix(')')?.split_once('/')?;
    Count::new(covered.trim().parse().ok()?, total.trim().parse().ok()?)
}
