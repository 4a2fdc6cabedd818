//! coverage.py's HTML report: the exact integers stand in the index.
//!
//! `tr.total td[data-ratio="covered total"]` since coverage.py 4.0; from 7.12 on, with branches, it has
//! one such cell each for statements and branches before the one for both, which is always the last.
//! The other cells are statements, missing, excluded and, with branches, branches and partial ones. The
//! pages of single files carry a percentage of the same look (`pc_cov`), but no such row.
//!
//! The page is read tag by tag, and one row of its table at a time is parsed.

use std::io::BufRead as _;

use scraper::{ElementRef, Html, Selector};

use crate::coverage::Summary;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Report, TotalUnit, Totals};
use crate::verdict::Count;

/// The longest row, or text between two tags.
const MAX_PART: usize = 4 * 1024 * 1024;

/// Whether it begins like an index page of coverage.py.
pub(crate) fn fits(head: &[u8]) -> bool {
    (has(head, "indexfile") || has(head, "pyfile") || has(head, "coverage_html"))
        && (has(head, "pc_cov") || has(head, "coverage.py"))
}

fn has(text: &[u8], needle: &str) -> bool {
    memchr::memmem::find(text, needle.as_bytes()).is_some()
}

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    let select = Selectors::new()?;
    let mut parts = Parts { input, part: Vec::new(), tag: 0 };
    let (mut total, mut is_file_page, mut leaves_out, mut is_whole) = (None, false, false, false);
    while parts.advance()? {
        let (text, tag) = parts.text_and_tag();
        // `skip_covered` and `skip_empty` leave rows out of the table, and say so below it.
        leaves_out |= has(text, " skipped");
        is_file_page |= tag.starts_with(b"<body") && has(tag, "pyfile");
        is_whole |= tag == b"</html>";
        if tag.starts_with(b"<tr") {
            let row = Html::parse_fragment(&format!("<table><tbody>{}", parts.row()?));
            let Some(row) = row.select(&select.row).next() else { continue };
            if row.value().classes().any(|class| class == "total") {
                total = Some(select.counts(row)?);
            } else if let Some(name) = row.select(&select.name).next()
                && let Some(counts) = select.counts(row)?
            {
                // The indexes of functions and classes have several rows of one file.
                let part = Summary { lines: counts.line, branches: counts.branch, ..Summary::default() };
                report.coverage.file(name.text().collect::<String>().trim()).summarize_part(part);
            }
        }
    }
    if !is_whole {
        return Err(ReportError::Truncated("there is no </html>".to_owned()));
    }
    let total = total.ok_or_else(|| {
        ReportError::Unsupported(if is_file_page {
            "it is the page of one source file; the report's index.html has the total".to_owned()
        } else {
            "its table has no total row".to_owned()
        })
    })?;
    report.header = total.ok_or_else(|| ReportError::malformed("its total row has no data-ratio"))?;
    report.by_coverage_py = true;
    report.unit = TotalUnit::LinesAndBranches;
    if !leaves_out && !report.coverage.files().is_empty() {
        report.body = Body { lines: true, branches: report.header.branch.is_some(), ..Body::default() };
    }
    Ok(())
}

/// A page in parts: text, then a tag.
struct Parts {
    input: Input,
    part: Vec<u8>,
    /// Where the tag begins.
    tag: usize,
}

impl Parts {
    /// Goes on to the end of the next tag; false at the end of the page.
    fn advance(&mut self) -> Result<bool, ReportError> {
        self.part.clear();
        self.extend()
    }

    fn extend(&mut self) -> Result<bool, ReportError> {
        let before = self.part.len();
        self.input.allow(MAX_PART.saturating_sub(before) as u64);
        self.input.read_until(b'>', &mut self.part)?;
        self.input.allow(u64::MAX);
        self.tag = memchr::memrchr(b'<', &self.part[before..]).map_or(self.part.len(), |at| before + at);
        Ok(self.part.len() > before)
    }

    fn text_and_tag(&self) -> (&[u8], &[u8]) {
        self.part.split_at(self.tag)
    }

    /// The row that the tag in hand begins, to its end.
    fn row(&mut self) -> Result<&str, ReportError> {
        self.part.drain(..self.tag);
        while self.extend()? {
            if self.part[self.tag..].starts_with(b"</tr") {
                break;
            }
        }
        std::str::from_utf8(&self.part).map_err(|_| ReportError::malformed("a row is not UTF-8"))
    }
}

/// What is looked for in a row.
struct Selectors {
    row: Selector,
    name: Selector,
    ratio: Selector,
    number: Selector,
}

impl Selectors {
    fn new() -> Result<Self, ReportError> {
        let selector =
            |text: &str| Selector::parse(text).map_err(|error| ReportError::malformed(error.to_string()));
        Ok(Self {
            row: selector("tr")?,
            name: selector("td.name")?,
            ratio: selector("td[data-ratio]")?,
            number: selector("td:not([data-ratio])")?,
        })
    }

    /// The counts of a row.
    fn counts(&self, row: ElementRef<'_>) -> Result<Option<Totals>, ReportError> {
        let Some(last) = row.select(&self.ratio).last() else { return Ok(None) };
        let total = ratio(last.attr("data-ratio").unwrap_or_default())?;
        let cells = row.select(&self.number);
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
}

/// `"7809 7815"`: covered, then what there is.
fn ratio(text: &str) -> Result<Count, ReportError> {
    let wrong = || ReportError::malformed(format!("data-ratio=\"{text}\" is not two counts"));
    let (covered, total) = text.split_once(' ').ok_or_else(wrong)?;
    let (covered, total) = (covered.parse().map_err(|_| wrong())?, total.parse().map_err(|_| wrong())?);
    Count::new(covered, total).ok_or_else(|| ReportError::count("data-ratio", covered, total))
}
