//! Coverage of changed lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use git2::{Diff, DiffOptions, ErrorCode, Repository};
use step::{Failure, FailureKind, ResultExt};

use crate::checkout::Checkout;
use crate::coverage::{Coverage, FileCoverage};
use crate::gate::and_more;
use crate::patch::{self, PatchError};
use crate::path;
use crate::rule::Rule;
use crate::verdict::{Count, Percent};

/// Where the changed lines come from.
#[derive(Debug, Clone)]
pub enum Changes {
    /// A unified diff; `-` is stdin.
    Patch(PathBuf),
    /// What the work tree has since it left this revision.
    Since {
        /// The revision.
        revision: String,
        /// A directory within the work tree.
        directory: PathBuf,
    },
}

/// Added and changed lines by path.
pub type ChangedLines = BTreeMap<String, Vec<u32>>;

impl Changes {
    /// Finds the changed lines.
    pub fn read(&self) -> Result<ChangedLines, Failure> {
        match self {
            Self::Patch(path) => patch(path),
            Self::Since { revision, directory } => since(revision, directory),
        }
    }
}

fn patch(path: &Path) -> Result<ChangedLines, Failure> {
    let unreadable = || format!("can't read the diff {}", path.display());
    let read = if path.as_os_str() == "-" {
        patch::read(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(path).or_fail_with(FailureKind::Input, unreadable)?;
        patch::read(BufReader::new(file))
    };
    read.map_err(|error| {
        let hint = match error {
            PatchError::Io(_) => "check the path; a relative one begins at the current directory",
            PatchError::Truncated => "the job that wrote it, or the copy of it, was cut off: run it again",
            PatchError::NoDiff | PatchError::Malformed(_) | PatchError::Combined(_) => {
                "a unified diff is needed, as `git diff --no-color BASE...` writes it"
            }
        };
        Failure::new(FailureKind::Input, error).hint(hint).context(unreadable())
    })
}

fn since(revision: &str, directory: &Path) -> Result<ChangedLines, Failure> {
    let repository = Repository::discover(directory).map_err(|error| {
        let hint = if error.code() == ErrorCode::Owner {
            "as for git itself: `git config --global --add safe.directory DIRECTORY`, or give the diff with --diff"
        } else {
            "run covgate in the work tree, or give the diff with --diff"
        };
        Failure::new(FailureKind::Input, error).hint(hint).context("can't open the repository for --diff-base")
    })?;
    let missing = |failure: Failure| {
        let shallow = if repository.is_shallow() {
            " The clone is shallow: fetch more of it (GIT_DEPTH: 0)."
        } else {
            ""
        };
        failure.hint(format!("is {revision} fetched?{shallow} `git fetch origin {revision}` brings a branch"))
    };
    let no_base = || format!("there is no common ancestor of {revision} and HEAD to compare with");
    let base = repository
        .revparse_single(revision)
        .and_then(|object| object.peel_to_commit())
        .or_fail_with(FailureKind::Input, || format!("{revision} is not a commit here"))
        .map_err(missing)?;
    let ours =
        repository.head().and_then(|head| head.peel_to_commit()).or_fail_with(FailureKind::Input, no_base)?;
    let ancestor = repository
        .merge_base(base.id(), ours.id())
        .or_fail_with(FailureKind::Input, no_base)
        .map_err(missing)?;
    let incomplete = || format!("can't compare {revision} with the work tree");
    let tree = repository
        .find_commit(ancestor)
        .and_then(|commit| commit.tree())
        .or_fail_with(FailureKind::Input, incomplete)?;
    let mut options = DiffOptions::new();
    options.context_lines(0);
    let mut diff = repository
        .diff_tree_to_workdir_with_index(Some(&tree), Some(&mut options))
        .or_fail_with(FailureKind::Input, incomplete)?;
    diff.find_similar(None).or_fail_with(FailureKind::Input, incomplete)?;
    changed_lines(&diff).or_fail_with(FailureKind::Input, incomplete)
}

fn changed_lines(diff: &Diff<'_>) -> Result<ChangedLines, git2::Error> {
    let mut changed = ChangedLines::new();
    diff.foreach(
        &mut |_, _| true,
        None,
        None,
        Some(&mut |delta, _, line| {
            if line.origin() == '+'
                && let (Some(path), Some(number)) = (delta.new_file().path(), line.new_lineno())
            {
                changed.entry(path.to_string_lossy().into_owned()).or_default().push(number);
            }
            true
        }),
    )?;
    Ok(changed)
}

/// The verdict on the changed lines.
#[derive(Debug)]
pub struct DiffVerdict {
    /// Those that could be covered, and those that are.
    pub count: Count,
    /// What share has to be covered.
    pub threshold: Percent,
    /// Whether it is; without a line that could be covered there is nothing to fail.
    pub pass: bool,
    /// The changed files that the report knows, each with its changed lines that are missed.
    pub files: Vec<ChangedFile>,
    /// Changed files that the report does not know, although it knows others of their kind.
    pub unknown: Vec<String>,
}

/// A changed file that the report knows.
#[derive(Debug)]
pub struct ChangedFile {
    /// Its path in the diff.
    pub path: String,
    /// Its path in the report.
    pub reported_as: String,
    /// Its changed lines that could be covered.
    pub count: Count,
    /// Those of them that are not.
    pub missed: Vec<u32>,
}

impl DiffVerdict {
    /// What a person should know of it.
    pub fn warning(&self) -> Option<String> {
        let (first, others) = self.unknown.split_first()?;
        Some(format!("changed, but not in the report: {first}{}", and_more(others.len())))
    }
}

/// Looks the changed lines up in the report.
pub fn judge(
    coverage: &Coverage,
    changed: &ChangedLines,
    checkout: Option<&Checkout>,
    threshold: Percent,
    rule: Rule,
) -> DiffVerdict {
    let finder = Finder::new(coverage, checkout);
    let partners = finder.partners(changed);
    let (mut files, mut unknown) = (Vec::new(), Vec::new());
    for (path, lines) in changed {
        let Some(file) = partners.get(path.as_str()) else {
            if finder.knows_kind(path) {
                unknown.push(path.clone());
            }
            continue;
        };
        let known: Vec<(u32, bool)> =
            lines.iter().filter_map(|line| file.at(*line).map(|covered| (*line, covered))).collect();
        let missed: Vec<u32> = known.iter().filter(|(_, covered)| !covered).map(|(line, _)| *line).collect();
        let count = Count { covered: (known.len() - missed.len()) as u64, total: known.len() as u64 };
        files.push(ChangedFile { path: path.clone(), reported_as: file.path.clone(), count, missed });
    }
    let count: Count = files.iter().map(|file| file.count).sum();
    let pass = count.total == 0 || rule.passes(count, &threshold);
    DiffVerdict { count, threshold, pass, files, unknown }
}

/// Finds the report's files for the paths of a diff.
struct Finder<'a> {
    checkout: Option<&'a Checkout>,
    by_name: HashMap<String, Vec<&'a FileCoverage>>,
}

impl<'a> Finder<'a> {
    fn new(coverage: &'a Coverage, checkout: Option<&'a Checkout>) -> Self {
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        for file in coverage.files() {
            let name = path::name(&path::normal(file.identity())).to_owned();
            by_name.entry(name).or_default().push(file);
        }
        Self { checkout, by_name }
    }

    /// The report's file of each changed one that it has. No file of the report is two changed ones: where it could be,
    /// it is none of them.
    fn partners<'c>(&self, changed: &'c ChangedLines) -> HashMap<&'c str, &'a FileCoverage> {
        let start = self.start_of(changed);
        let located = |path: &str| {
            let in_checkout = format!("{start}{path}");
            let candidates = self.by_name.get(path::name(path))?.iter();
            candidates.copied().find(|file| file.is_in_checkout() && file.identity() == in_checkout)
        };
        let mut partners: HashMap<&str, &FileCoverage> =
            changed.keys().filter_map(|path| Some((path.as_str(), located(path)?))).collect();
        let taken: HashSet<&str> = partners.values().map(|file| file.identity()).collect();
        let mut claims: HashMap<&str, Vec<(&str, &FileCoverage)>> = HashMap::new();
        for path in changed.keys().filter(|path| !partners.contains_key(path.as_str())) {
            if let Some(file) = self.by_end(path, &format!("{start}{path}"))
                && !taken.contains(file.identity())
            {
                claims.entry(file.identity()).or_default().push((path, file));
            }
        }
        for claim in claims.into_values() {
            if let [(path, file)] = *claim.as_slice() {
                partners.insert(path, file);
            }
        }
        partners
    }

    /// What is before the paths of a diff: `git diff --relative` leaves out what is above the folder in which it runs.
    fn start_of(&self, changed: &ChangedLines) -> &'a str {
        let Some(checkout) = self.checkout else { return "" };
        let here = checkout.here();
        let is_relative =
            changed.keys().any(|path| !checkout.has(path) && checkout.has(&format!("{here}{path}")));
        if is_relative { here } else { "" }
    }

    /// Of the files whose place is not known, and of all where the diff itself begins elsewhere: one path has to be the end
    /// of the other, that below a source folder or that which the report has.
    fn by_end(&self, path: &str, in_checkout: &str) -> Option<&'a FileCoverage> {
        let candidates = self.by_name.get(path::name(path))?.iter().copied();
        let is_elsewhere = self.checkout.is_none_or(|checkout| !checkout.has(in_checkout));
        let candidates =
            candidates.filter(|file| !file.is_ambiguous() && (is_elsewhere || !file.is_in_checkout()));
        let likeness = |reported: &str| {
            let length = reported.matches('/').count();
            let is_end = reported == path
                || path::beginning(reported, path).or(path::beginning(path, reported)).is_some();
            // The longest common end; of several such, the shortest path.
            is_end.then_some((length.min(path.matches('/').count()), Reverse(length)))
        };
        let fitting = candidates.filter_map(|file| {
            let below_source = likeness(&path::normal(file.identity()));
            let rank = below_source.or_else(|| likeness(&path::normal(&file.path)))?;
            Some(((below_source.is_some(), rank), file))
        });
        fitting.max_by_key(|(rank, _)| *rank).map(|(_, file)| file)
    }

    fn knows_kind(&self, path: &str) -> bool {
        let kind = |path: &str| Path::new(path).extension().map(ToOwned::to_owned);
        kind(path).is_some_and(|wanted| self.by_name.keys().any(|name| kind(name).as_ref() == Some(&wanted)))
    }
}
