//! Where in the checkout the files of a report lie.
//!
//! A report names its files as its tool saw them: from the folder in which the tool ran, below a `<source>` folder, or
//! absolute, in a container or on another runner. What such a name is in the checkout is told by the files that are
//! there: a beginning is taken off if for most names of the report that have it a file of the checkout is left.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::coverage::{FileCoverage, Place};
use crate::path;
use crate::report::Report;

/// A work tree, as far as it tells which of its files a report means.
#[derive(Debug, Clone)]
pub struct Checkout {
    top: PathBuf,
    /// The path from the top to the folder in which covgate runs, with a `/` at its end; empty at the top.
    here: String,
    /// What the path of a checkout of this project has in it, wherever it is: `/group/project/`.
    mark: Option<String>,
}

/// What is taken off a report's path, and whether the rest begins at the folder in which covgate runs.
type Beginning<'a> = (&'a str, bool);

/// How many names have a beginning, and of how many of these the rest is a file.
#[derive(Debug, Default)]
struct Votes {
    found: usize,
    all: usize,
}

impl Checkout {
    /// The one around this folder. A project is named as GitLab does, `group/project`; its checkouts lie in folders of that
    /// name on every runner.
    pub fn around(folder: &Path, project: Option<&str>) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let top = folder.ancestors().find(|top| top.join(".git").exists()).unwrap_or(&folder);
        let here = folder.strip_prefix(top).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        Self {
            here: if here.is_empty() { here } else { path::normal(&here) + "/" },
            mark: project.map(|project| format!("/{project}/")),
            top: top.to_owned(),
        }
    }

    /// Whether it has a file of this path.
    pub fn has(&self, path: &str) -> bool {
        self.top.join(path).is_file()
    }

    /// The folder in which covgate runs, from the top, with a `/` at its end.
    pub fn here(&self) -> &str {
        &self.here
    }

    /// Notes where the files of a report lie.
    pub fn locate_files_of(&self, report: &mut Report) {
        let sources = &report.sources;
        let names: HashMap<String, Vec<String>> = (report.coverage.files().iter())
            .map(|file| (file.path.clone(), full_names(&file.path, sources)))
            .collect();
        let found: HashMap<&str, Vec<(Beginning<'_>, &str)>> =
            names.values().flatten().map(|name| (name.as_str(), self.ends_of(name))).collect();
        let mut votes: HashMap<Beginning<'_>, Votes> = HashMap::new();
        for (beginning, _) in found.values().flatten() {
            votes.entry(*beginning).or_default().found += 1;
        }
        for name in found.keys() {
            for beginning in path::starts(name).flat_map(|at| [(&name[..at], false), (&name[..at], true)]) {
                votes.entry(beginning).and_modify(|votes| votes.all += 1);
            }
        }
        let of_most = |beginning: &Beginning<'_>| votes[beginning].found * 2 > votes[beginning].all;
        let place = |file: &FileCoverage| {
            let names = &names[&file.path];
            let ends = names.iter().flat_map(|name| &found[name.as_str()]);
            let fitting = ends.filter(|(beginning, _)| of_most(beginning));
            let best = fitting
                .max_by_key(|(beginning, _)| (votes[beginning].found, std::cmp::Reverse(beginning.0.len())));
            let in_checkout = |path: String| Place { path, in_checkout: true };
            if let Some(((_, from_here), end)) = best {
                return Some(in_checkout(format!("{}{end}", if *from_here { &self.here } else { "" })));
            }
            let mark = self.mark.as_deref();
            let marked = |name: &String| Some(name.split_once(mark?)?.1.to_owned());
            if let Some(end) = names.iter().find_map(marked) {
                return Some(in_checkout(end));
            }
            match names.as_slice() {
                [name] if *name != file.path => Some(Place { path: name.clone(), in_checkout: false }),
                _ => None,
            }
        };
        report.coverage.locate(place);
    }

    /// Every end of a name that is a file here, with what is before it.
    fn ends_of<'a>(&self, name: &'a str) -> Vec<(Beginning<'a>, &'a str)> {
        let ends = path::starts(name).map(|at| name.split_at(at));
        ends.flat_map(|(beginning, end)| {
            let from_here = !self.here.is_empty() && self.has(&format!("{}{end}", self.here));
            let from_top = self.has(end);
            [(from_here, true), (from_top, false)]
                .into_iter()
                .filter_map(move |(has, from_here)| has.then_some(((beginning, from_here), end)))
        })
        .collect()
    }
}

/// What a path may be in full: below each of the report's source folders, if it is relative.
fn full_names(written: &str, sources: &[String]) -> Vec<String> {
    let path = path::normal(written);
    if sources.is_empty() || path::is_absolute(&path) {
        return vec![path];
    }
    let mut names: Vec<String> =
        sources.iter().map(|source| path::normal(&format!("{source}/{written}"))).collect();
    names.dedup();
    names
}
