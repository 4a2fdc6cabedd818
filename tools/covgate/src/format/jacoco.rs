//! JaCoCo's XML: groups nest, packages hold classes (with counters) and source files (with lines),
//! and the totals are the counters at the end of the root element.

use std::collections::HashMap;

use super::xml::{Kind, Tag, Tags};
use crate::coverage::{Coverage, FileCoverage, Summary, hash};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

/// What identifies the instructions that belong to no line.
const NO_LINE: u64 = u64::MAX;

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    let mut tags = Tags::new(input);
    let mut reading = Reading { coverage: std::mem::take(&mut report.coverage), ..Reading::default() };
    while tags.advance()? {
        reading.take(tags.tag(), tags.depth())?;
    }
    reading.end_package();
    let Reading { mut header, mut by_class, coverage, .. } = reading;
    // gcovr counts no instructions, and does not say which lines are covered.
    let counts_instructions = header.total.is_some() || header.line.is_none();
    if counts_instructions {
        report.unit = TotalUnit::Instructions;
    } else {
        (header.total, by_class.total) = (header.line, by_class.line);
    }
    let names_lines = counts_instructions || coverage.lines().total > 0;
    report.body = Body {
        lines: names_lines,
        branches: names_lines,
        functions: names_lines,
        units: counts_instructions,
    };
    report.header = header;
    report.by_part = by_class;
    report.coverage = coverage;
    Ok(())
}

#[derive(Default)]
struct Reading {
    header: Totals,
    /// The counters of all classes, which also count code without line numbers.
    by_class: Totals,
    coverage: Coverage,
    /// The files of the package in hand, whose classes and lines stand apart.
    in_package: Coverage,
    /// What the classes of each of these files count.
    of_classes: HashMap<String, OfClasses>,
    groups: Vec<String>,
    package: String,
    class: Option<String>,
    class_file: String,
    method: Option<String>,
    file: Option<FileCoverage>,
}

/// What the classes of a file count. Those that share a line count it each.
#[derive(Default)]
struct OfClasses {
    instructions: Count,
    branches: Count,
    lines: Count,
    name_their_file: bool,
}

impl OfClasses {
    fn and(mut self, other: &Self) -> Self {
        self.instructions += other.instructions;
        self.branches += other.branches;
        self
    }

    /// Adds what they count beyond what is known to a file.
    fn add_beyond(&self, known: &Self, file: &mut FileCoverage) {
        if let Some(rest) = self.instructions.beyond(known.instructions) {
            file.unit(NO_LINE, rest);
        }
        if let Some(rest) = self.branches.beyond(known.branches) {
            file.branch_count(0, rest);
        }
    }
}

impl Reading {
    fn take(&mut self, tag: &Tag, depth: usize) -> Result<(), ReportError> {
        let begins = tag.kind != Kind::End;
        let opens = tag.kind == Kind::Start;
        match tag.name() {
            "line" if begins => return self.line(tag),
            "counter" if begins => return self.counter(tag, depth - usize::from(opens)),
            "group" if opens => self.groups.push(tag.required("name")?.into_owned()),
            "group" if !begins => drop(self.groups.pop()),
            "package" if opens => self.package = tag.required("name")?.into_owned(),
            "package" if !begins => self.end_package(),
            "class" if opens => {
                let name = tag.required("name")?;
                let simple = name.rsplit_once('/').map_or(&*name, |(_, simple)| simple);
                let file = tag.value("sourcefilename")?;
                let name_their_file = file.is_some();
                self.class_file = self.path(&file.unwrap_or(simple.into()));
                let of_classes = self.of_classes.entry(self.class_file.clone()).or_default();
                of_classes.name_their_file = name_their_file;
                self.class = Some(name.into_owned());
            }
            "class" if !begins => self.class = None,
            "method" if opens => {
                let signature = tag.value("desc")?.unwrap_or_default();
                self.method = Some(format!("{}{signature}", tag.required("name")?));
            }
            "method" if !begins => self.method = None,
            "sourcefile" if opens => self.file = Some(FileCoverage::new(&self.path(&tag.required("name")?))),
            "sourcefile" if !begins => {
                if let Some(file) = self.file.take() {
                    self.in_package.add(file);
                }
            }
            "report" => {}
            name if begins && depth == usize::from(opens) => {
                return Err(ReportError::malformed(format!("its root element is <{name}>, not <report>")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Code that was compiled without line numbers is counted in its class only, and so are gcovr's lines.
    fn end_package(&mut self) {
        let mut of_classes = std::mem::take(&mut self.of_classes);
        let has_lines = self.in_package.lines().total > 0;
        if has_lines && of_classes.values().any(|classes| !classes.name_their_file) {
            // Before JaCoCo 0.7.8 a class does not say which file it is in.
            let all = of_classes.drain().map(|(_, one)| one);
            let all = all.fold(OfClasses::default(), |sum, one| sum.and(&one));
            let known = OfClasses {
                instructions: self.in_package.units(),
                branches: self.in_package.branches(),
                ..OfClasses::default()
            };
            let path = self.path("");
            all.add_beyond(&known, self.in_package.file(&path));
        }
        for (path, of_classes) in of_classes {
            let file = self.in_package.file(&path);
            if !has_lines && of_classes.lines.total > 0 {
                file.summarize(Summary { lines: Some(of_classes.lines), ..Summary::default() });
            }
            let known =
                OfClasses { instructions: file.units(), branches: file.branches(), ..OfClasses::default() };
            of_classes.add_beyond(&known, file);
        }
        self.coverage.extend(std::mem::take(&mut self.in_package));
    }

    /// A source file's path: its package in its group, as several modules may have the same package.
    fn path(&self, name: &str) -> String {
        let mut path = String::new();
        for part in self.groups.iter().chain([&self.package]).filter(|part| !part.is_empty()) {
            path.push_str(part);
            path.push('/');
        }
        path + name
    }

    fn line(&mut self, tag: &Tag) -> Result<(), ReportError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if tag.raw("mi").is_none() && tag.raw("ci").is_none() {
            // gcovr names lines, but not which of them are covered.
            return Ok(());
        }
        let number = tag.line("nr")?;
        let count = |missed, covered| -> Result<Count, ReportError> {
            let (missed, covered) = (tag.number(missed)?.unwrap_or(0), tag.number(covered)?.unwrap_or(0));
            counter(missed, covered)
        };
        let (instructions, branches) = (count("mi", "ci")?, count("mb", "cb")?);
        file.line(number, instructions.covered > 0);
        file.unit(u64::from(number), instructions);
        if branches.total > 0 {
            file.branch_count(number, branches);
        }
        Ok(())
    }

    fn counter(&mut self, tag: &Tag, depth: usize) -> Result<(), ReportError> {
        let kind = tag.required("type")?;
        let count = counter(tag.count("missed")?, tag.count("covered")?)?;
        if let Some(method) = &self.method {
            if kind == "METHOD" {
                let class = self.class.as_deref().unwrap_or_default();
                let key = hash((class, method));
                self.in_package.file(&self.class_file).function(key, count.covered > 0);
            }
            return Ok(());
        }
        let totals = match (depth, &self.class) {
            (1, _) => &mut self.header,
            (_, Some(_)) => {
                let of_classes = self.of_classes.entry(self.class_file.clone()).or_default();
                match &*kind {
                    "INSTRUCTION" => of_classes.instructions += count,
                    "BRANCH" => of_classes.branches += count,
                    "LINE" => of_classes.lines += count,
                    _ => {}
                }
                &mut self.by_class
            }
            (_, None) if self.file.is_some() => {
                if let ("LINE", Some(file)) = (&*kind, &mut self.file)
                    && !file.knows_lines()
                {
                    file.summarize(Summary { lines: Some(count), ..Summary::default() });
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let total = match &*kind {
            "INSTRUCTION" => &mut totals.total,
            "LINE" => &mut totals.line,
            "BRANCH" => &mut totals.branch,
            "METHOD" => &mut totals.function,
            _ => return Ok(()),
        };
        *total.get_or_insert_default() += count;
        Ok(())
    }
}

fn counter(missed: u64, covered: u64) -> Result<Count, ReportError> {
    let total = missed.saturating_add(covered);
    Count::new(covered, total).ok_or_else(|| ReportError::count("<counter>", covered, total))
}
