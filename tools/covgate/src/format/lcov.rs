//! LCOV tracefiles, as geninfo(1) describes them, of LCOV 1 and 2 and of the many tools that write them.
//!
//! Records of one file repeat (one a test), and so do lines within a record; each line counts once.

use std::io::BufRead as _;

use super::digits;
use super::xml::hit;
use crate::coverage::{Coverage, FileCoverage, Summary};
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, Totals};
use crate::verdict::Count;

/// The longest line; mangled names of functions get long.
const MAX_LINE: u64 = 1024 * 1024;

pub(super) fn read(mut input: Input, report: &mut Report) -> Result<(), ReportError> {
    let mut spill = Vec::new();
    let mut record: Option<Record> = None;
    let mut number = 0_u64;
    let mut sums = Sums::default();
    // Whether the line before was a path or a name, which may have line breaks (JavaScript's `data:` URLs have).
    let mut in_name = false;
    loop {
        if let Some(record) = &mut record {
            let (taken, lines) = plain_lines(input.in_hand(), &mut record.file);
            input.consume(taken);
            number += lines;
            in_name &= lines == 0;
        }
        let line = input.next_line(&mut spill, MAX_LINE)?;
        if line.is_empty() {
            break;
        }
        number += 1;
        let line = line.trim_ascii();
        let at = |problem: &str| ReportError::malformed(format!("line {number}: {problem}"));
        if line == b"end_of_record" {
            let record = record.take().ok_or_else(|| at("end_of_record without SF"))?;
            sums.add(&record);
            report.coverage.add(record.file);
            in_name = false;
            continue;
        }
        let Some(colon) = line.iter().take(8).position(|c| *c == b':') else {
            if line.is_empty() || line[0] == b'#' || in_name {
                continue;
            }
            return Err(at("neither a KEY:value nor end_of_record"));
        };
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        in_name = matches!(key, b"SF" | b"FN" | b"FNDA" | b"FNA");
        match (key, &mut record) {
            (b"SF", Some(_)) => return Err(at("SF before the end_of_record of the file before")),
            (b"SF", none) => {
                let path = std::str::from_utf8(value).map_err(|_| at("the path is not UTF-8"))?;
                *none = Some(Record::new(path));
            }
            (_, Some(record)) => record.take(key, value).ok_or_else(|| at("not what LCOV writes here"))?,
            (b"TN" | b"VER", None) => {}
            (key, None) if key.iter().all(u8::is_ascii_uppercase) => {
                return Err(at("it belongs to a file, but there is no SF before it"));
            }
            (_, None) => return Err(at("not a line of a tracefile")),
        }
    }
    if let Some(record) = record {
        return Err(ReportError::Truncated(format!(
            "the record of {} has no end_of_record",
            record.file.path
        )));
    }
    report.header = sums.header();
    if let Some(files) = sums.counts_only {
        // `llvm-cov export -summary-only` writes the sums of each file and no lines.
        report.body = Body { lines: true, ..Body::default() };
        report.coverage = files;
        return Ok(());
    }
    report.body = Body { lines: true, branches: true, functions: true, units: false };
    report.by_part = sums.body;
    Ok(())
}

/// Takes the plain `DA:line,hits` that the block begins with, which are most of a tracefile: how many bytes
/// they are, and how many lines.
fn plain_lines(block: &[u8], file: &mut FileCoverage) -> (usize, u64) {
    let (mut taken, mut lines) = (0, 0);
    while let Some((number, hit, length)) = plain_line(&block[taken..]) {
        file.line(number, hit);
        taken += length;
        lines += 1;
    }
    (taken, lines)
}

fn plain_line(block: &[u8]) -> Option<(u32, bool, usize)> {
    let [b'D', b'A', b':', rest @ ..] = block else { return None };
    let (number, length) = digits(rest)?;
    let [b',', rest @ ..] = &rest[length..] else { return None };
    let (hits, more) = digits(rest)?;
    (*rest.get(more)? == b'\n').then_some((number, hits > 0, "DA:,\n".len() + length + more))
}

/// The record of one file, from `SF` to `end_of_record`.
struct Record {
    file: FileCoverage,
    /// Found and hit of lines, branches and functions, as the record states them.
    stated: [(Option<u64>, Option<u64>); 3],
}

impl Record {
    fn new(path: &str) -> Self {
        Self { file: FileCoverage::new(path), stated: [(None, None); 3] }
    }

    /// Takes a line; `None` where it breaks the format.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let file = &mut self.file;
        match key {
            b"DA" => {
                let mut parts = value.split(|c| *c == b',');
                file.line(line_number(parts.next()?)?, hit(parts.next()?)?);
            }
            // The expression of a branch may have commas of its own.
            b"BRDA" => {
                let (line, rest) = split(value)?;
                let comma = memchr::memrchr(b',', rest)?;
                let taken = &rest[comma + 1..];
                file.branch(line_number(line)?, &rest[..comma], taken != b"-" && hit(taken)?);
            }
            b"FN" => {
                // FN:line,name and FN:line,end,name.
                let (_, rest) = split(value)?;
                let name =
                    split(rest).filter(|(end, _)| line_number(end).is_some()).map_or(rest, |(_, name)| name);
                file.function(name, false);
            }
            b"FNDA" => {
                let (hits, name) = split(value)?;
                file.function(name, hit(hits)?);
            }
            // FNA:index,hits,name; the lines of the function are in FNL:index,line,end.
            b"FNA" => {
                let (index, rest) = split(value)?;
                let (hits, _alias) = split(rest)?;
                file.function(index, hit(hits)?);
            }
            b"LF" => self.stated[0].0 = Some(count(value)?),
            b"LH" => self.stated[0].1 = Some(count(value)?),
            b"BRF" => self.stated[1].0 = Some(count(value)?),
            b"BRH" => self.stated[1].1 = Some(count(value)?),
            b"FNF" => self.stated[2].0 = Some(count(value)?),
            b"FNH" => self.stated[2].1 = Some(count(value)?),
            _ => {}
        }
        Some(())
    }
}

/// The sums over all records: what they state and what they hold.
#[derive(Default)]
struct Sums {
    stated: [Count; 3],
    /// Whether every record with something to count states how much.
    incomplete: [bool; 3],
    body: Totals,
    /// The files with what they state, as long as none of them has a line.
    counts_only: Option<Coverage>,
    has_lines: bool,
}

impl Sums {
    fn add(&mut self, record: &Record) {
        let file = &record.file;
        self.has_lines |= file.knows_lines();
        if self.has_lines {
            self.counts_only = None;
        } else if let (Some(total), Some(covered)) = record.stated[0]
            && let Some(lines) = Count::new(covered, total).filter(|lines| lines.total > 0)
        {
            let mut counted = FileCoverage::new(&file.path);
            counted.summarize(Summary { lines: Some(lines), ..Summary::default() });
            self.counts_only.get_or_insert_default().add(counted);
        }
        let counts = [file.lines(), file.branches(), file.functions()];
        for (at, (found, hit)) in record.stated.into_iter().enumerate() {
            match (found, hit) {
                (Some(total), Some(covered)) => self.stated[at] += Count { covered, total },
                _ => self.incomplete[at] |= counts[at].total > 0,
            }
        }
        let Totals { line, branch, function, .. } = &mut self.body;
        for (sum, count) in [line, branch, function].into_iter().zip(counts) {
            *sum.get_or_insert_default() += count;
        }
        self.body.total = self.body.line;
    }

    fn header(&self) -> Totals {
        let stated = |at: usize| {
            let count = Count::new(self.stated[at].covered, self.stated[at].total);
            count.filter(|_| !self.incomplete[at])
        };
        let line = stated(0).filter(|count| count.total > 0);
        Totals { total: line, line, branch: stated(1), function: stated(2) }
    }
}

fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = memchr::memchr(b',', value)?;
    Some((&value[..comma], &value[comma + 1..]))
}

fn line_number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let number =
        text.iter().try_fold(0_u64, |sum, c| c.is_ascii_digit().then(|| sum * 10 + u64::from(c - b'0')))?;
    u32::try_from(number).ok()
}

fn count(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii())
        .ok()?
        .parse()
        .ok()
        .filter(|count| *count <= crate::verdict::MAX_COUNT)
}
