//! Go's cover profile: `mode: set|count|atomic`, then a line for each block of statements,
//! `import/path/file.go:line.column,line.column statements count`. Blocks repeat where profiles of
//! several test binaries were joined; each counts once.

use super::xml::hit;
use crate::coverage::hash;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit};
use crate::verdict::Count;

/// The longest line.
const MAX_LINE: u64 = 64 * 1024;
/// The longest block in lines of source.
const MAX_BLOCK: u32 = 200_000;

pub(super) fn read(mut input: Input, report: &mut Report) -> Result<(), ReportError> {
    report.unit = TotalUnit::Statements;
    report.body = Body { lines: true, units: true, ..Body::default() };
    let mut spill = Vec::new();
    let mut number = 0_u64;
    loop {
        let line = input.next_line(&mut spill, MAX_LINE)?;
        if line.is_empty() {
            break;
        }
        number += 1;
        let whole = line.ends_with(b"\n");
        let line = std::str::from_utf8(line)
            .map_err(|_| ReportError::malformed(format!("line {number} is not UTF-8")))?;
        let line = line.trim_end();
        if line.is_empty() || line.starts_with("mode:") {
            continue;
        }
        let Some(block) = Block::parse(line) else {
            return Err(if whole {
                ReportError::malformed(format!(
                    "line {number} is not `file.go:line.column,line.column statements count`"
                ))
            } else {
                ReportError::Truncated(format!("line {number} is not whole"))
            });
        };
        let file = report.coverage.file(block.path);
        let Block { from, to, statements, covered, .. } = block;
        file.unit(
            hash((from, to)),
            Count { covered: if covered { statements } else { 0 }, total: statements },
        );
        if statements > 0 {
            for line in from.0..=to.0 {
                file.line(line, covered);
            }
        }
    }
    Ok(())
}

struct Block<'a> {
    path: &'a str,
    from: (u32, u32),
    to: (u32, u32),
    statements: u64,
    covered: bool,
}

impl<'a> Block<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.rsplitn(3, ' ');
        let covered = hit(parts.next()?.as_bytes())?;
        let statements = u64::from(parts.next()?.parse::<u32>().ok()?);
        let (path, range) = parts.next()?.rsplit_once(':')?;
        let (from, to) = range.split_once(',')?;
        let position = |text: &str| {
            let (line, column) = text.split_once('.')?;
            Some((line.parse().ok()?, column.parse().ok()?))
        };
        let (from, to): ((u32, u32), (u32, u32)) = (position(from)?, position(to)?);
        let fits = !path.is_empty() && from <= to && to.0 - from.0 <= MAX_BLOCK;
        fits.then_some(Self { path, from, to, statements, covered })
    }
}
