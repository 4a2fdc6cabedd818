//! Thresholds for single files, by glob.

use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::coverage::FileCoverage;
use crate::report::{Metric, Report, TotalUnit};
use crate::rule::Rule;
use crate::verdict::{Count, Percent};

/// Thresholds with commas between them.
#[derive(Debug, Clone)]
pub struct FileThresholds(pub Vec<FileThreshold>);

impl FromStr for FileThresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        split(text).into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at the commas that are none of a glob's own: those of `{py,js}` and `[,;]` are.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut braces, mut in_class, mut is_escaped) = (0_u32, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if braces == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `PCT` for every file, or `GLOB=PCT`.
#[derive(Debug, Clone)]
pub struct FileThreshold {
    glob: Option<GlobMatcher>,
    percent: Percent,
}

impl FromStr for FileThreshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (glob, percent) = match text.rsplit_once('=') {
            None => (None, text),
            Some((glob, percent)) => {
                let glob = GlobBuilder::new(glob)
                    .literal_separator(true)
                    .build()
                    .map_err(|error| error.to_string())?;
                (Some(glob.compile_matcher()), percent)
            }
        };
        Ok(Self { glob, percent: percent.parse().map_err(ToOwned::to_owned)? })
    }
}

impl FileThreshold {
    /// Whether it is for this file, by its path in the report or in the checkout.
    fn applies_to(&self, file: &FileCoverage) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.is_match(&file.path) || glob.is_match(file.identity()))
    }
}

/// A file and how it compares.
#[derive(Debug)]
pub struct FileVerdict {
    /// Its path in the report.
    pub path: String,
    /// Its count.
    pub count: Count,
    /// What it has to reach.
    pub threshold: Percent,
    /// Whether it does.
    pub pass: bool,
}

/// Compares every file that has something to cover with the last threshold that applies to it.
pub fn judge(report: &Report, metric: Metric, thresholds: &[FileThreshold], rule: Rule) -> Vec<FileVerdict> {
    let files = report.coverage.files().iter();
    files
        .filter_map(|file| {
            let count = count(report, file, metric);
            let threshold = thresholds.iter().rev().find(|threshold| threshold.applies_to(file))?;
            (count.total > 0).then(|| FileVerdict {
                path: file.path.clone(),
                count,
                threshold: threshold.percent.clone(),
                pass: rule.passes(count, &threshold.percent),
            })
        })
        .collect()
}

/// What a metric counts in one file.
pub fn count(report: &Report, file: &FileCoverage, metric: Metric) -> Count {
    match metric {
        Metric::Line => file.lines(),
        Metric::Branch => file.branches(),
        Metric::Function => file.functions(),
        Metric::Total => match report.unit {
            TotalUnit::Elements if !report.body.units => file.lines(),
            TotalUnit::Lines => file.lines(),
            TotalUnit::LinesAndBranches => [file.lines(), file.branches()].into_iter().sum(),
            TotalUnit::Statements | TotalUnit::Instructions | TotalUnit::Elements => file.units(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_globs_own_commas_split_nothing() {
        assert_eq!(split("60,**/billing/**=95"), ["60", "**/billing/**=95"]);
        assert_eq!(split("*.{py,j{s,sx}}=70,5"), ["*.{py,j{s,sx}}=70", "5"]);
        assert_eq!(split("[,{]=1,b=2"), ["[,{]=1", "b=2"]);
        assert_eq!(split(r"\{a=1,b\,=2"), [r"\{a=1", r"b\,=2"]);
    }
}
