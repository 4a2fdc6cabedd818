//! coverage.py's HTML report: the exact integers stand in the index.
//!
//! `tr.total td[data-ratio="covered total"]` since coverage.py 4.0; from 7.12 on, with branches, it has
//! one such cell each for statements and branches before the one for both, which is always the last.
//! The other cells are statements, missing, excluded and, with branches, branches and partial ones. The
//! pages of single files carry a percentage of the same look (`pc_cov`), but no such row.

use std::io::Read as _;

use scraper::{ElementRef, Html, Selector};

use crate::coverage::Summary;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

/// The page is held as a tree; an index of a hundred thousand files is smaller than this.
const LIMIT: u64 = 32 * 1024 * 1024;

/// Whether it begins like an index page of coverage.py.
pub(crate) fn fits(head: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(head, needle.as_bytes()).is_some();
    (has("indexfile") || has("pyfile") || has("coverage_html")) && (has("pc_cov") || has("coverage.py"))
}

pub(super) fn read(mut input: Input, report: &mut Report) -> Result<(), ReportError> {
    let mut text = String::new();
    if (&mut input).take(LIMIT).read_to_string(&mut text)? as u64 == LIMIT {
        return Err(ReportError::Limit(format!("the page is larger than {LIMIT} bytes")));
    }
    if !text.trim_end().ends_with("</html>") {
        return Err(ReportError::Truncated("there is no </html>".to_owned()));
    }
    let page = Html::parse_document(&text);
    let Some(row) = page.select(&selector("tr.total")?).next() else {
        return Err(ReportError::Unsupported(if page.select(&selector("body.pyfile")?).next().is_some() {
            "it is the page of one source file; the report's index.html has the total".to_owned()
        } else {
            "its table has no total row".to_owned()
        }));
    };
    report.header = counts(row)?.ok_or_else(|| ReportError::malformed("its total row has no data-ratio"))?;
    report.by_coverage_py = true;
    report.unit = TotalUnit::LinesAndBranches;
    for row in page.select(&selector("tbody tr")?) {
        let (Some(name), Some(counts)) = (row.select(&selector("td.name")?).next(), counts(row)?) else {
            continue;
        };
        let summary = Summary { lines: counts.line, branches: counts.branch, ..Summary::default() };
        report.coverage.file(name.text().collect::<String>().trim()).summarize(summary);
    }
    // `skip_covered` and `skip_empty` leave rows out of the table, and say so below it.
    let leaves_out = memchr::memmem::find(text.as_bytes(), b" skipped").is_some();
    if !leaves_out && !report.coverage.files().is_empty() {
        report.body = Body { lines: true, branches: report.header.branch.is_some(), ..Body::default() };
    }
    Ok(())
}

/// The counts of a row.
fn counts(row: ElementRef<'_>) -> Result<Option<Totals>, ReportError> {
    let Some(last) = row.select(&selector("td[data-ratio]")?).last() else { return Ok(None) };
    let total = ratio(last.attr("data-ratio").unwrap_or_default())?;
    let without_ratio = selector("td:not([data-ratio])")?;
    let cells = row.select(&without_ratio);
    let numbers: Vec<u64> =
        cells.filter_map(|cell| cell.text().collect::<String>().trim().parse().ok()).collect();
    let wrong =
        || ReportError::malformed(format!("the cells of a row ({numbers:?}) do not add up to {total}"));
    let (line, branch) = match *numbers.as_slice() {
        [statements, missing, _excluded] => {
            (statements.checked_sub(missing).map(|covered| (covered, statements)), None)
        }
        [statements, missing, _excluded, branches, _partial] => {
            let covered = statements.checked_sub(missing).ok_or_else(wrong)?;
            let taken = total.covered.checked_sub(covered).ok_or_else(wrong)?;
            (Some((covered, statements)), Some(Count::new(taken, branches).ok_or_else(wrong)?))
        }
        _ => return Err(wrong()),
    };
    let (covered, statements) = line.ok_or_else(wrong)?;
    let line = Count::new(covered, statements).ok_or_else(wrong)?;
    let both: Count = [line, branch.unwrap_or_default()].into_iter().sum();
    if both == total {
        Ok(Some(Totals { total: Some(total), line: Some(line), branch, function: None }))
    } else {
        Err(wrong())
    }
}

/// `"7809 7815"`: covered, then what there is.
fn ratio(text: &str) -> Result<Count, ReportError> {
    let wrong = || ReportError::malformed(format!("data-ratio=\"{text}\" is not two counts"));
    let (covered, total) = text.split_once(' ').ok_or_else(wrong)?;
    let (covered, total) = (covered.parse().map_err(|_| wrong())?, total.parse().map_err(|_| wrong())?);
    Count::new(covered, total).ok_or_else(|| ReportError::count("data-ratio", covered, total))
}

fn selector(text: &str) -> Result<Selector, ReportError> {
    Selector::parse(text).map_err(|error| ReportError::malformed(error.to_string()))
}
