//! coverage.py's HTML report: the exact integers stand in the total row of its index.
//!
//! `tr.total td[data-ratio="covered total"]` since coverage.py 4.0. With branches, 7.12 and later have one
//! cell each for statements and branches and a last one for both; the page of a single file has no such row.

use scraper::{Html, Selector};

use super::Totals;
use crate::verdict::Count;

/// Whether it is an index page of coverage.py.
pub(super) fn fits(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.contains("pc_cov") && text.contains("indexfile")
}

pub(super) fn read(content: &[u8]) -> Result<Totals, String> {
    let text = std::str::from_utf8(content).map_err(|error| format!("not UTF-8: {error}"))?;
    if !text.trim_end().ends_with("</html>") {
        return Err("it ends before </html>".to_owned());
    }
    let cells = Selector::parse("tr.total td[data-ratio]").map_err(|error| error.to_string())?;
    let page = Html::parse_document(text);
    let counts = page
        .select(&cells)
        .map(|cell| ratio(cell.attr("data-ratio").unwrap_or_default()))
        .collect::<Result<Vec<_>, _>>()?;
    match counts.as_slice() {
        [] => Err("its table has no total row with data-ratio".to_owned()),
        [line, branch, total] => {
            Ok(Totals { total: *total, line: Some(*line), branch: Some(*branch), function: None })
        }
        [.., total] => Ok(Totals { total: *total, ..Totals::default() }),
    }
}

/// `"7809 7815"`: covered, then what there is.
fn ratio(text: &str) -> Result<Count, String> {
    let numbers = text.split_once(' ').and_then(|(covered, total)| {
        Some(Count { covered: covered.parse().ok()?, total: total.parse().ok()? })
    });
    match numbers {
        Some(count) if count.covered <= count.total => Ok(count),
        _ => Err(format!("data-ratio is `{text}`, not two numbers of which the first is not the larger")),
    }
}
