//! coverage.py's JSON report, formats 1 to 3: `totals` has the counts.

use serde::Deserialize;

use super::Totals;
use crate::verdict::Count;

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "meta")]
    _meta: serde::de::IgnoredAny,
    totals: Counts,
}

#[derive(Deserialize)]
struct Counts {
    covered_lines: u64,
    num_statements: u64,
    covered_branches: Option<u64>,
    num_branches: Option<u64>,
}

/// Whether it is a report of coverage.py, by the two keys that frame it.
pub(super) fn fits(content: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&content[..content.len().min(512)]).into_owned();
    start.contains("\"meta\"") && (start.contains("\"format\"") || start.contains("\"branch_coverage\""))
}

pub(super) fn read(content: &[u8]) -> Result<Totals, String> {
    let counts = serde_json::from_slice::<Report>(content).map_err(|error| error.to_string())?.totals;
    let line = Count { covered: counts.covered_lines, total: counts.num_statements };
    let branch = match (counts.covered_branches, counts.num_branches) {
        (Some(covered), Some(total)) => Some(Count { covered, total }),
        _ => None,
    };
    let both = branch.unwrap_or_default();
    let total = Count { covered: line.covered + both.covered, total: line.total + both.total };
    Ok(Totals { total, line: Some(line), branch, function: None })
}
