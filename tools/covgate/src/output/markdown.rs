//! A note for a merge request.

use std::fmt::Write as _;

use super::ranges;
use crate::audit::Figure;
use crate::gate::Answer;
use crate::report::Metric;
use crate::verdict::Count;

/// The most files that are listed; a note is read, not scrolled.
const MOST_FILES: usize = 50;

pub(super) fn note(answer: &Answer) -> String {
    let verdict = if answer.pass() { "passed" } else { "failed" };
    let mut note = format!("### Coverage {}%: {verdict}\n\n", answer.percent());
    note += "| | covered | of | % | threshold | |\n|---|--:|--:|--:|--:|---|\n";
    row(
        &mut note,
        answer.unit,
        Some(&answer.figure),
        &format!("{}%", answer.fail_under),
        Some(answer.reached),
    );
    for metric in [Metric::Line, Metric::Branch, Metric::Function] {
        let count = answer.totals.of(metric).map(Figure::Exact);
        if metric != answer.metric && count.is_some() {
            row(&mut note, metric.name(), count.as_ref(), "", None);
        }
    }
    if let Some(diff) = &answer.diff {
        let count = Figure::Exact(diff.count);
        row(&mut note, "changed lines", Some(&count), &format!("{}%", diff.threshold), Some(diff.pass));
    }
    if let Some(base) = &answer.baseline {
        let threshold = format!("at most {} points less", base.max_drop);
        row(&mut note, "before", Some(&base.figure), &threshold, Some(base.held));
    }
    let failing = answer.files.iter().flatten().filter(|file| !file.pass);
    let failing: Vec<_> = failing
        .map(|file| {
            format!(
                "| {} | {} | {}% | {}% |\n",
                code(&file.path),
                file.count,
                file.count.percent(),
                file.threshold
            )
        })
        .collect();
    table(
        &mut note,
        "Files below their threshold",
        "| file | covered | % | threshold |\n|---|--:|--:|--:|\n",
        &failing,
    );
    let missed = answer.diff.iter().flat_map(|diff| &diff.files).filter(|file| !file.missed.is_empty());
    let missed: Vec<_> =
        missed.map(|file| format!("| {} | {} |\n", code(&file.path), ranges::of(&file.missed))).collect();
    table(&mut note, "Changed lines that no test reached", "| file | lines |\n|---|---|\n", &missed);
    for warning in &answer.warnings {
        let _ = write!(note, "\n> Warning: {}\n", plain(warning));
    }
    note
}

fn row(note: &mut String, what: &str, figure: Option<&Figure>, threshold: &str, pass: Option<bool>) {
    let Some(figure) = figure else { return };
    let count = figure.count();
    let percent = if count.total == 0 { "–".to_owned() } else { count.percent() };
    let mark = pass.map_or("", |pass| if pass { "✓" } else { "✗" });
    let [covered, total] = match figure.exact() {
        Some(Count { covered, total }) => [covered, total].map(|number| number.to_string()),
        None => ["–", "–"].map(ToOwned::to_owned),
    };
    let _ = writeln!(note, "| {what} | {covered} | {total} | {percent} | {threshold} | {mark} |");
}

fn table(note: &mut String, title: &str, head: &str, rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(note, "\n**{title}**\n\n{head}");
    note.extend(rows.iter().take(MOST_FILES).map(String::as_str));
    if rows.len() > MOST_FILES {
        let _ = write!(note, "\nand {} more\n", rows.len() - MOST_FILES);
    }
}

/// A path as code within a table.
fn code(path: &str) -> String {
    format!("`{}`", plain(path).replace('`', "'"))
}

/// Text that starts nothing of Markdown's own in a table.
fn plain(text: &str) -> String {
    step::printable(text).replace('|', "\\|").replace('<', "&lt;")
}
