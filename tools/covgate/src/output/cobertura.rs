//! Cobertura XML for GitLab's coverage marks in merge requests: one class a file, one element a line,
//! and small enough that GitLab takes it.

use std::fmt::Write as _;
use std::path::Path;

use step::{Console, Failure, FailureKind, ResultExt};

use super::xml::text;
use crate::coverage::FileCoverage;
use crate::gate::Answer;
use crate::verdict::Count;

/// GitLab ignores a larger report.
const LIMIT: usize = 10 * 1024 * 1024;
/// Room for what stands around the files.
const FRAME: usize = 512 * 1024;
/// GitLab reads no more source folders than a hundred; the first is the project itself.
const MOST_SOURCES: usize = 99;

/// Writes the report: the files of the diff where there is one, else all.
pub fn write(answer: &Answer, path: &Path, dry_run: bool, console: &Console) -> Result<(), Failure> {
    let files = answer.report.coverage.files();
    let mut wanted: Vec<(&str, &FileCoverage)> = match &answer.diff {
        None => files.iter().map(|file| (name(file), file)).collect(),
        Some(diff) => {
            let find = |name: &str| files.iter().find(|file| file.path == name);
            diff.files
                .iter()
                .filter_map(|file| Some((file.path.as_str(), find(&file.reported_as)?)))
                .collect()
        }
    };
    wanted.retain(|(_, file)| file.knows_lines());
    if wanted.is_empty() && answer.diff.is_none() {
        let message = "the report names no lines to write with --cobertura";
        return Err(Failure::message(FailureKind::Input, message)
            .hint("take a report that has them, such as coverage.json"));
    }
    let all = wanted.len();
    let mut size = FRAME;
    let mut classes = Vec::new();
    for (name, file) in wanted {
        let class = class(name, file);
        if size + class.len() <= LIMIT {
            size += class.len();
            classes.push((class, known_lines(file), known_branches(file)));
        }
    }
    if classes.len() < all {
        let left_out = all - classes.len();
        console.warn(format!(
            "{left_out} of {all} files are left out of {}, to stay below GitLab's 10 MiB",
            path.display()
        ));
    }
    let report = report(&classes, &answer.report.sources);
    if dry_run {
        console.note(format!("would write {} with {} files", path.display(), classes.len()));
        return Ok(());
    }
    whole_file::write(path, report.as_bytes())
        .or_fail_with(FailureKind::Output, || format!("can't write {}", path.display()))
}

/// GitLab looks for paths from the top of the project, and puts a source folder before the others.
fn name(file: &FileCoverage) -> &str {
    if file.is_in_checkout() { file.identity() } else { &file.path }
}

fn report(classes: &[(String, Count, Count)], sources: &[String]) -> String {
    let lines: Count = classes.iter().map(|(_, lines, _)| *lines).sum();
    let branches: Count = classes.iter().map(|(_, _, branches)| *branches).sum();
    let folders: Vec<String> = sources
        .iter()
        .take(MOST_SOURCES)
        .map(|folder| format!("<source>{}</source>", text(folder)))
        .collect();
    let mut report = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <coverage line-rate=\"{}\" branch-rate=\"{}\" lines-covered=\"{}\" lines-valid=\"{}\" \
         branches-covered=\"{}\" branches-valid=\"{}\" complexity=\"0\" version=\"covgate\" timestamp=\"0\">\n\
         <sources><source>.</source>{}</sources>\n<packages><package name=\"\" line-rate=\"{0}\" branch-rate=\"{1}\" \
         complexity=\"0\"><classes>\n",
        rate(lines),
        rate(branches),
        lines.covered,
        lines.total,
        branches.covered,
        branches.total,
        folders.concat(),
    );
    report.extend(classes.iter().map(|(class, _, _)| class.as_str()));
    report + "</classes></package></packages>\n</coverage>\n"
}

fn class(name: &str, file: &FileCoverage) -> String {
    let name = text(name);
    let mut class = format!(
        "<class name=\"{name}\" filename=\"{name}\" line-rate=\"{}\" branch-rate=\"{}\" complexity=\"0\"><methods/><lines>\n",
        rate(known_lines(file)),
        rate(known_branches(file)),
    );
    for (line, covered) in file.each_line() {
        let hits = u8::from(covered);
        let _ = write!(class, "<line number=\"{line}\" hits=\"{hits}\"");
        if let Some(Count { covered, total }) = file.branches_at(line).filter(|count| count.total > 0) {
            let percent = covered * 100 / total;
            let _ = write!(class, " branch=\"true\" condition-coverage=\"{percent}% ({covered}/{total})\"");
        }
        class += "/>\n";
    }
    class + "</lines></class>\n"
}

/// The lines that are written.
fn known_lines(file: &FileCoverage) -> Count {
    file.each_line().map(|(_, covered)| Count { covered: u64::from(covered), total: 1 }).sum()
}

/// The branches that are written: those of lines that are known.
fn known_branches(file: &FileCoverage) -> Count {
    file.each_line().filter_map(|(line, _)| file.branches_at(line)).sum()
}

/// A rate with four decimals, cut; 1 where there is nothing.
fn rate(count: Count) -> String {
    let parts = (u128::from(count.covered) * 10_000).checked_div(u128::from(count.total)).unwrap_or(10_000);
    format!("{}.{:04}", parts / 10_000, parts % 10_000)
}
