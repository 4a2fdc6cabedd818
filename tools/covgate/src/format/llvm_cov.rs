//! `llvm-cov export` in JSON, as llvm-cov and cargo-llvm-cov write it.
//!
//! Counts stand in a summary for each file and one for all. The lines are what the segments of a file
//! say by the rules of LLVM's `LineCoverageStats`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::{self, Items, Members, Objects, skip};
use crate::coverage::{FileCoverage, Summary};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report};
use crate::verdict::Count;

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    report.body = Body { lines: true, branches: true, functions: true, units: false };
    let mut top = Top { report, has_data: false };
    json::read(input, &mut top)?;
    if top.has_data { Ok(()) } else { Err(ReportError::malformed("it has no `data`")) }
}

struct Top<'a> {
    report: &'a mut Report,
    has_data: bool,
}

impl Members for Top<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key == "data" {
            self.has_data = true;
            map.next_value_seed(Objects(&mut Export(self.report)))
        } else {
            skip(map)
        }
    }
}

struct Export<'a>(&'a mut Report);

impl Members for Export<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "files" => map.next_value_seed(Objects(&mut Files { report: self.0, file: File::default() })),
            "totals" => {
                let counts = map.next_value::<Counts>()?.counts().map_err(A::Error::custom)?;
                let header = &mut self.0.header;
                for (sum, count) in [
                    (&mut header.line, counts.lines),
                    (&mut header.branch, counts.branches),
                    (&mut header.function, counts.functions),
                ] {
                    if let Some(count) = count {
                        *sum.get_or_insert_default() += count;
                    }
                }
                header.total = header.line;
                Ok(())
            }
            _ => skip(map),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Counts {
    lines: Counted,
    functions: Option<Counted>,
    branches: Option<Counted>,
}

#[derive(Debug, Deserialize)]
struct Counted {
    count: u64,
    covered: u64,
}

impl Counts {
    fn counts(self) -> Result<Summary, ReportError> {
        let count = |Counted { count, covered }| {
            Count::new(covered, count).ok_or_else(|| ReportError::count("a summary", covered, count))
        };
        Ok(Summary {
            lines: Some(count(self.lines)?),
            branches: self.branches.map(count).transpose()?,
            functions: self.functions.map(count).transpose()?,
            units: None,
        })
    }
}

struct Files<'a> {
    report: &'a mut Report,
    file: File,
}

#[derive(Default)]
struct File {
    path: String,
    coverage: FileCoverage,
    summary: Summary,
}

impl Members for Files<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let coverage = &mut self.file.coverage;
        match key {
            "filename" => self.file.path = map.next_value()?,
            "summary" => {
                self.file.summary = map.next_value::<Counts>()?.counts().map_err(A::Error::custom)?;
            }
            "segments" => {
                let mut lines = Lines { file: coverage, before: None, line: 0, at: Vec::new() };
                map.next_value_seed(Items::each(|segment| lines.take(segment)))?;
                lines.end_line();
            }
            "branches" => map.next_value_seed(Items::each(|Branch { from, to, taken, not_taken }| {
                for (outcome, hits) in [(true, taken), (false, not_taken)] {
                    coverage.branch(from.0, (from, to, outcome), hits == json::Hits(Some(true)));
                }
                Ok(())
            }))?,
            _ => skip(map)?,
        }
        Ok(())
    }

    fn end(&mut self) {
        let File { path, mut coverage, summary } = std::mem::take(&mut self.file);
        coverage.path = path;
        coverage.summarize(summary);
        self.report.coverage.add(coverage);
    }
}

/// A place where the region that counts changes.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "LLVM writes them so")]
struct Segment {
    line: u32,
    hit: bool,
    has_count: bool,
    is_region_entry: bool,
    is_gap: bool,
}

/// A condition: where it stands, and how often it was true and false.
#[derive(Debug, Clone, Copy)]
struct Branch {
    from: (u32, u32),
    to: (u32, u32),
    taken: json::Hits,
    not_taken: json::Hits,
}

/// Reads arrays whose items have meaning by their place.
macro_rules! from_array {
    ($type:ty, $expecting:literal, |$items:ident| $value:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Array;
                impl<'de> Visitor<'de> for Array {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, mut $items: A) -> Result<$type, A::Error> {
                        let value = $value;
                        while $items.next_element::<IgnoredAny>()?.is_some() {}
                        Ok(value)
                    }
                }
                deserializer.deserialize_seq(Array)
            }
        }
    };
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(items: &mut A) -> Result<T, A::Error> {
    items.next_element()?.ok_or_else(|| A::Error::custom("an array is too short"))
}

from_array!(Segment, "a segment: line, column, count, has count, is region entry, is gap region", |items| {
    let line = next(&mut items)?;
    let _column: u64 = next(&mut items)?;
    Segment {
        line,
        hit: next::<json::Hits, _>(&mut items)? == json::Hits(Some(true)),
        has_count: next(&mut items)?,
        is_region_entry: next(&mut items)?,
        // LLVM before 9 had no gap regions.
        is_gap: items.next_element()?.unwrap_or(false),
    }
});

from_array!(Branch, "a branch: two positions and two counts", |items| Branch {
    from: (next(&mut items)?, next(&mut items)?),
    to: (next(&mut items)?, next(&mut items)?),
    taken: next(&mut items)?,
    not_taken: next(&mut items)?,
});

/// The longest run of lines between two segments.
const MAX_RUN: u32 = 1_000_000;

/// From segments to lines, as `LineCoverageStats` of LLVM's `CoverageMapping.cpp` does it.
struct Lines<'a> {
    file: &'a mut FileCoverage,
    /// The last segment before the line in hand.
    before: Option<Segment>,
    line: u32,
    /// The segments of the line in hand.
    at: Vec<Segment>,
}

impl Lines<'_> {
    fn take(&mut self, segment: Segment) -> Result<(), String> {
        if segment.line != self.line {
            if segment.line < self.line || !self.at.is_empty() && segment.line - self.line > MAX_RUN {
                return Err(format!("a segment of line {} after one of line {}", segment.line, self.line));
            }
            let first = self.at.is_empty();
            self.end_line();
            for line in (self.line + 1..segment.line).filter(|_| !first) {
                self.line = line;
                self.end_line();
            }
            self.line = segment.line;
        }
        self.at.push(segment);
        Ok(())
    }

    fn end_line(&mut self) {
        let starts = |segment: &&Segment| !segment.is_gap && segment.has_count && segment.is_region_entry;
        let entered = self.at.iter().filter(starts).count();
        let skipped = self.at.first().is_some_and(|first| !first.has_count && first.is_region_entry);
        let wrapped = self.before.filter(|segment| segment.has_count);
        if !skipped && (wrapped.is_some() || entered > 0) {
            let hit = self.before.is_some_and(|segment| segment.hit)
                || self.at.iter().filter(starts).any(|segment| segment.hit);
            self.file.line(self.line, hit);
        }
        self.before = self.at.last().copied().or(self.before);
        self.at.clear();
    }
}
