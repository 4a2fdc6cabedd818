//! Cobertura XML, of Cobertura 1 and 2, coverage.py, istanbul, coverlet, gcovr, PHPUnit and many more.
//!
//! The root element has the totals. In the body, a class lists its lines, and its methods list
//! theirs again; several classes may share a file.

use memchr::arch::all::is_prefix;

use super::xml::{Kind, MAX_ATTRIBUTES, Tag, Tags, hit, is_space, plain_attribute};
use super::{Depth, digits};
use crate::coverage::{Coverage, FileCoverage};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Rates, Report, TotalUnit, Totals};
use crate::verdict::{Count, Percent};

/// The most source folders that are kept, and the longest.
const MAX_SOURCES: usize = 1000;
const MAX_FOLDER: usize = 4096;

pub(super) fn read(input: Input, depth: Depth, report: &mut Report) -> Result<(), ReportError> {
    let mut tags = Tags::with_text_of("source", input);
    let mut reading = Reading { coverage: std::mem::take(&mut report.coverage), ..Reading::default() };
    while tags.advance()? {
        if tags.tag().is_end_of("source") {
            let folder = tags.take_text();
            // Many generators write nothing, or a full stop, where they have nothing to say.
            let says_something = !matches!(folder.as_str(), "" | "." | "./") && folder.len() < MAX_FOLDER;
            if says_something && report.sources.len() < MAX_SOURCES {
                report.sources.push(folder);
            }
        }
        reading.take(tags.tag()).map_err(|error| at(&tags, error))?;
        if let Some(class) = &mut reading.class {
            let taken = class.plain_lines(tags.plain_block());
            tags.pass_over(taken);
        }
        if depth == Depth::Header && reading.past_header && reading.header.line.is_some() {
            break;
        }
    }
    if !reading.is_cobertura {
        return Err(ReportError::malformed("its root element is not <coverage>"));
    }
    report.by_coverage_py = tags.comments().contains("coverage.py");
    report.unit = if report.by_coverage_py { TotalUnit::LinesAndBranches } else { TotalUnit::Lines };
    let Reading { mut header, rates, mut by_class, coverage, .. } = reading;
    for totals in [&mut header, &mut by_class] {
        totals.total = match (report.unit, totals.line) {
            (TotalUnit::LinesAndBranches, Some(line)) => {
                Some([line, totals.branch.unwrap_or_default()].into_iter().sum())
            }
            (_, line) => line,
        };
    }
    report.header = header;
    report.rates = rates;
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
    rates: Rates,
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
    likeness: Option<Likeness>,
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
                let rate = |name| tag.raw(name).and_then(Percent::of_rate);
                self.rates = Rates { line: rate("line-rate"), branch: rate("branch-rate") };
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
        let branches = tag.raw("condition-coverage").and_then(fraction);
        self.add(&Line { number: tag.line("number")?, covered: tag.is_hit("hits")?, branches });
        Ok(())
    }

    /// Takes the plain lines that the block begins with, which are most of a report; how many bytes they are.
    fn plain_lines(&mut self, block: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let rest = &block[taken..];
            let alike = self.likeness.as_ref().and_then(|likeness| likeness.line(rest));
            let Some((line, length)) = alike.or_else(|| Line::plain(rest, &mut self.likeness)) else {
                return taken;
            };
            self.add(&line);
            taken += length;
        }
    }

    fn add(&mut self, line: &Line) {
        let file = match &mut self.method {
            None => &mut self.file,
            Some(method) => {
                method.covered |= line.covered;
                &mut self.of_methods
            }
        };
        file.line(line.number, line.covered);
        if let Some(count) = line.branches {
            file.branch_count(line.number, count);
        }
    }

    fn end_method(&mut self) {
        if let Some(Method { key, covered }) = self.method.take() {
            self.file.function((&self.name, key), covered);
        }
    }
}

/// A `line` element.
struct Line {
    number: u32,
    covered: bool,
    branches: Option<Count>,
}

impl Line {
    /// An element that the block begins with, after white space, and how many bytes that is; nothing where it has
    /// anything unusual.
    fn plain(block: &[u8], likeness: &mut Option<Likeness>) -> Option<(Self, usize)> {
        let start = past(block, past_space(block, 0)?, b"<line")?;
        let (mut number, mut hits, mut branches) = (None, None, None);
        let at = past_attributes(block, start, |name, value, end| {
            match name {
                b"number" if number.is_none() => number = Some((plain_number(value)?, end - 1)),
                b"hits" if hits.is_none() => hits = Some((plain_number(value)?, end - 1)),
                b"condition-coverage" if branches.is_none() => {
                    branches = Some(fraction(std::str::from_utf8(value).ok()?));
                }
                _ => {}
            }
            Some(())
        })?;
        let ((number, number_end), (hits, hits_end)) = (number?, hits?);
        let end = if block[at] == b'/' { past(block, at, b"/>")? } else { past_conditions(block, at + 1)? };
        if branches.is_none() {
            *likeness = Likeness::of(&block[..end], number_end, hits_end);
        }
        Some((Self { number, covered: hits > 0, branches: branches.flatten() }, end))
    }
}

/// Past the attributes of a tag, to its `/` or `>`. Takes the name and the value of each, and where it ends.
#[inline]
fn past_attributes<'a>(
    block: &'a [u8],
    start: usize,
    mut take: impl FnMut(&'a [u8], &'a [u8], usize) -> Option<()>,
) -> Option<usize> {
    let mut end = start;
    for _ in 0..MAX_ATTRIBUTES {
        let at = past_space(block, end)?;
        if matches!(block[at], b'/' | b'>') {
            return Some(at);
        }
        let (name, value, after) = plain_attribute(block, at)?;
        if at == end || !value.is_ascii() {
            return None;
        }
        take(name, value, after)?;
        end = after;
    }
    None
}

/// Past the conditions of a line and its closing tag.
fn past_conditions(block: &[u8], start: usize) -> Option<usize> {
    let mut at = past_space(block, start)?;
    if let Some(inside) = past(block, at, b"<conditions>") {
        at = past_space(block, inside)?;
        while let Some(attributes) = past(block, at, b"<condition") {
            let end = past_attributes(block, attributes, |_, _, _| Some(()))?;
            at = past_space(block, past(block, end, b"/>")?)?;
        }
        at = past_space(block, past(block, at, b"</conditions>")?)?;
    }
    past(block, at, b"</line>")
}

fn past(block: &[u8], at: usize, part: &[u8]) -> Option<usize> {
    is_prefix(&block[at..], part).then_some(at + part.len())
}

fn past_space(block: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while is_space(*block.get(at)?) {
        at += 1;
    }
    Some(at)
}

/// What stands around the two numbers of a line, as lines that follow each other differ in nothing else.
struct Likeness {
    before: Vec<u8>,
    between: Vec<u8>,
    after: Vec<u8>,
}

impl Likeness {
    /// Of an element in which the number of the line comes before that of the hits; both end where they do.
    fn of(element: &[u8], number_end: usize, hits_end: usize) -> Option<Self> {
        let (before, rest) = element.split_at_checked(number_end)?;
        let (between, after) = rest.split_at_checked(hits_end.checked_sub(number_end)?)?;
        let literal = |part: &[u8]| {
            let digits = part.iter().rev().take_while(|c| c.is_ascii_digit()).count();
            part[..part.len() - digits].to_vec()
        };
        Some(Self { before: literal(before), between: literal(between), after: after.to_vec() })
    }

    fn line(&self, block: &[u8]) -> Option<(Line, usize)> {
        // A static binary's own comparison goes byte by byte.
        let behind = |text, part: &[u8]| is_prefix(text, part).then(|| &text[part.len()..]);
        let rest = behind(block, &self.before)?;
        let (number, length) = digits(rest)?;
        let rest = behind(&rest[length..], &self.between)?;
        let (hits, length) = digits(rest)?;
        let rest = behind(&rest[length..], &self.after)?;
        Some((Line { number, covered: hits > 0, branches: None }, block.len() - rest.len()))
    }
}

/// A number of at most nine digits and nothing else.
fn plain_number(text: &[u8]) -> Option<u32> {
    digits(text).filter(|(_, length)| *length == text.len()).map(|(number, _)| number)
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
