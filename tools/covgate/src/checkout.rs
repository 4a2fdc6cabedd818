//! Where in the checkout the files of a report lie.
//!
//! A report names its files as its tool saw them: from the folder in which the tool ran, below a `<source>` folder, or
//! absolute, in a container or on another runner. What such a name is in the checkout is told by the files that are
//! there: a beginning is taken off, and the rest is looked for at the top, in the folder that the report lies in and in
//! those above it, and where covgate runs. What fits most names of the report that have that beginning is taken.
//!
//! A tool may also have run in a folder of which its report, copied elsewhere, says nothing. Of the folders that could be
//! it, the one that fits most names is taken; where several fit alike, none is.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::coverage::{Certainty, FileCoverage, Place};
use crate::path;
use crate::report::Report;

/// A work tree, as far as it tells which of its files a report means.
#[derive(Debug)]
pub struct Checkout {
    top: PathBuf,
    /// The path from the top to the folder in which covgate runs, with a `/` at its end; empty at the top.
    here: String,
    /// What the path of a checkout of this project has in it, wherever it is: `/group/project/`.
    mark: Option<String>,
    /// The tracked files by their names.
    tracked: OnceCell<HashMap<String, Vec<String>>>,
}

/// What is taken off a report's path, and at which of the folders the rest begins.
type Beginning<'a> = (&'a str, usize);

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
        Self {
            here: below(top, &folder).unwrap_or_default(),
            mark: project.map(|project| format!("/{project}/")),
            top: top.to_owned(),
            tracked: OnceCell::new(),
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

    /// The tracked files of which this relative path is the end.
    pub fn files_ending_in<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a str> {
        let same_name = self.tracked().get(path::name(end)).into_iter().flatten();
        same_name.map(String::as_str).filter(move |file| path::beginning(file, end).is_some())
    }

    /// A work tree whose index can't be read has no files here, and no path is told from another by them.
    fn tracked(&self) -> &HashMap<String, Vec<String>> {
        self.tracked.get_or_init(|| {
            let index = git2::Repository::open(&self.top).and_then(|repository| repository.index());
            let mut tracked: HashMap<String, Vec<String>> = HashMap::new();
            for entry in index.iter().flat_map(git2::Index::iter) {
                if let Ok(path) = String::from_utf8(entry.path) {
                    tracked.entry(path::name(&path).to_owned()).or_default().push(path);
                }
            }
            tracked
        })
    }

    /// Where names may begin, the likeliest first: where the report lies, above that, where covgate runs, at the top.
    fn roots(&self, folder: Option<&Path>) -> Vec<String> {
        let folder = folder.and_then(|folder| below(&self.top, folder));
        let of_report = folder.iter().flat_map(|folder| {
            let ends = memchr::memrchr_iter(b'/', folder.as_bytes());
            ends.map(|at| folder[..=at].to_owned())
        });
        let mut roots: Vec<String> = Vec::new();
        let at_top = folder.as_deref() == Some("");
        let here =
            if at_top { [String::new(), self.here.clone()] } else { [self.here.clone(), String::new()] };
        for root in of_report.chain(here) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }

    /// Notes where the files of a report lie, which itself lies in this folder. Answers with those that could be several
    /// files.
    pub fn locate_files_of(&self, report: &mut Report, folder: Option<&Path>) -> Vec<String> {
        let sources = &report.sources;
        let roots = self.roots(folder);
        let names: HashMap<String, Vec<String>> = (report.coverage.files().iter())
            .map(|file| (file.path.clone(), full_names(&file.path, sources)))
            .collect();
        let found = self.ends(names.values().flatten(), &roots);
        let mut votes: HashMap<Beginning<'_>, Votes> = HashMap::new();
        for (beginning, _) in found.values().flatten() {
            votes.entry(*beginning).or_default().found += 1;
        }
        for name in found.keys() {
            for at in path::starts(name) {
                for root in 0..roots.len() {
                    votes.entry((&name[..at], root)).and_modify(|votes| votes.all += 1);
                }
            }
        }
        let of_most = |beginning: &Beginning<'_>| votes[beginning].found * 2 > votes[beginning].all;
        let by_beginning = |file: &FileCoverage| {
            let names = &names[&file.path];
            let ends = names.iter().flat_map(|name| &found[name.as_str()]);
            let fitting = ends.filter(|(beginning, _)| of_most(beginning));
            let best = fitting.max_by_key(|(beginning, _)| {
                (votes[beginning].found, Reverse(beginning.0.len()), Reverse(beginning.1))
            });
            if let Some(((_, root), end)) = best {
                return Some(format!("{}{end}", roots[*root]));
            }
            let mark = self.mark.as_deref();
            names.iter().find_map(|name| Some(name.split_once(mark?)?.1.to_owned()))
        };
        let mut places: HashMap<String, Place> = HashMap::new();
        for file in report.coverage.files() {
            if let Some(path) = by_beginning(file) {
                places.insert(file.path.clone(), Place { path, certainty: Certainty::InCheckout });
            }
        }
        let left = names.iter().filter(|(path, _)| !places.contains_key(*path)).collect::<Vec<_>>();
        let elsewhere = self.by_end(&left);
        let mut ambiguous = Vec::new();
        for (path, full) in left {
            let place = match (elsewhere.get(path.as_str()), full.as_slice()) {
                (Some(place), _) => place.clone(),
                (None, [name]) if name != path => Place { path: name.clone(), certainty: Certainty::Unknown },
                (None, _) => continue,
            };
            if place.certainty == Certainty::Ambiguous {
                ambiguous.push(path.clone());
            }
            places.insert(path.clone(), place);
        }
        ambiguous.sort_unstable();
        report.coverage.locate(|file| places.get(&file.path).cloned());
        ambiguous
    }

    /// Of each name every end that is a file below one of the roots, with what is before it.
    fn ends<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
        roots: &[String],
    ) -> HashMap<&'a str, Vec<(Beginning<'a>, &'a str)>> {
        // A look at the first part of an end spares most looks for files.
        let mut beginnings: HashMap<(&str, usize), bool> = HashMap::new();
        let mut ends_of = |name: &'a str| {
            let mut ends = Vec::new();
            for at in path::starts(name) {
                let (beginning, end) = name.split_at(at);
                let first = end.split('/').next().unwrap_or_default();
                for (number, root) in roots.iter().enumerate() {
                    let known = beginnings.entry((first, number));
                    let exists = *known.or_insert_with(|| self.top.join(format!("{root}{first}")).exists());
                    if exists && self.has(&format!("{root}{end}")) {
                        ends.push(((beginning, number), end));
                    }
                }
            }
            ends
        };
        names.map(|name| (name.as_str(), ends_of(name))).collect()
    }

    /// Places of files whose paths are the ends of tracked files' paths, where there are several such files or the folder
    /// before them fits most.
    fn by_end<'a>(&self, files: &[(&'a String, &Vec<String>)]) -> HashMap<&'a str, Place> {
        let mut fitting: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for (path, names) in files {
            let relative = names.iter().filter(|name| !path::is_absolute(name));
            let of_name = |name| {
                let files = self.files_ending_in(name);
                files.filter_map(|file| Some((path::beginning(file, name)?, file)))
            };
            let fits: Vec<(&str, &str)> = relative.flat_map(|name| of_name(name)).collect();
            for folder in fits.iter().map(|(folder, _)| *folder).collect::<HashSet<_>>() {
                *votes.entry(folder).or_default() += 1;
            }
            if !fits.is_empty() {
                fitting.push((path, fits));
            }
        }
        let place = |fits: &[(&str, &str)]| {
            let most = fits.iter().map(|(folder, _)| votes[folder]).max()?;
            let mut best = fits.iter().filter(|(folder, _)| votes[folder] == most);
            let (_, file) = best.next()?;
            if best.next().is_some() || (fits.len() > 1 && most * 2 <= files.len()) {
                return Some(Certainty::Ambiguous).map(|certainty| (None, certainty));
            }
            (most * 2 > files.len()).then(|| (Some((*file).to_owned()), Certainty::InCheckout))
        };
        let located = fitting.iter().filter_map(|(path, fits)| {
            let (file, certainty) = place(fits)?;
            Some((*path, Place { path: file.unwrap_or_else(|| path::normal(path)), certainty }))
        });
        located.collect()
    }
}

/// The path from a folder to one below it, with a `/` at its end; empty for the folder itself.
fn below(top: &Path, folder: &Path) -> Option<String> {
    let path = folder.strip_prefix(top).ok()?.to_string_lossy().into_owned();
    Some(if path.is_empty() { path } else { path::normal(&path) + "/" })
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
