//! What reports say, file by file and line by line, as a union.
//!
//! A line takes two bits, so that a report of a hundred megabytes stays small here, and the same
//! line met twice (a repeated record, a second class of the same file, another job's report) counts
//! once, covered if it was covered anywhere.

mod line_set;
mod place;
mod union;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use self::line_set::LineSet;
pub use self::place::{Certainty, Place};
use crate::verdict::Count;

/// All files of one report or of several.
#[derive(Debug, Default)]
pub struct Coverage {
    files: Vec<FileCoverage>,
    index: HashMap<String, usize>,
    folded: Option<Folded>,
}

/// What is left of files whose counts are all that is wanted.
#[derive(Debug, Default)]
struct Folded {
    /// Their paths' hashes.
    seen: HashSet<u64>,
    /// Whether a path came again after others, so that the counts are no union.
    repeated: bool,
    lines: Count,
    branches: Count,
    functions: Count,
    units: Count,
    whole_lines: Count,
}

impl Folded {
    fn take(&mut self, file: &FileCoverage) {
        self.repeated |= !self.seen.insert(hash(&file.path));
        self.lines += file.lines();
        self.branches += file.branches();
        self.functions += file.functions();
        self.units += file.units();
        self.whole_lines += file.whole_lines();
    }
}

impl Coverage {
    /// Keeps no file but the one in hand, only counts: memory does not grow with the report. Where a
    /// report comes back to a file, [`Self::is_union`] says that its counts can't be used.
    pub fn of_counts() -> Self {
        Self { folded: Some(Folded::default()), ..Self::default() }
    }

    /// Whether each line was counted once.
    pub fn is_union(&self) -> bool {
        self.folded.as_ref().is_none_or(|folded| {
            let in_hand = self.files.iter().any(|file| folded.seen.contains(&hash(&file.path)));
            !folded.repeated && !in_hand
        })
    }

    /// The file of this path, new or met before.
    pub fn file(&mut self, path: &str) -> &mut FileCoverage {
        let at = self.find(path).unwrap_or_else(|| self.push(FileCoverage::new(path)));
        &mut self.files[at]
    }

    /// Adds what is known of one file.
    pub fn add(&mut self, file: FileCoverage) {
        match self.find(file.identity()) {
            Some(at) => self.files[at].merge(file),
            None => drop(self.push(file)),
        }
    }

    /// Adds files whose paths are written by the same tool in the same run.
    pub fn extend(&mut self, files: Self) {
        files.files.into_iter().for_each(|file| self.add(file));
    }

    /// Notes where each file lies. Files that the report keeps apart stay apart, so that its counts are what they were.
    pub fn locate(&mut self, place: impl Fn(&FileCoverage) -> Option<Place>) {
        self.index.clear();
        for (at, file) in self.files.iter_mut().enumerate() {
            file.place = place(file);
            self.index.entry(file.identity().to_owned()).or_insert(at);
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        match self.files.last() {
            Some(last) if last.identity() == path => Some(self.files.len() - 1),
            _ => self.index.get(path).copied(),
        }
    }

    fn push(&mut self, file: FileCoverage) -> usize {
        if let Some(folded) = &mut self.folded {
            self.files.drain(..).for_each(|file| folded.take(&file));
        } else {
            self.index.insert(file.identity().to_owned(), self.files.len());
        }
        self.files.push(file);
        self.files.len() - 1
    }

    /// The files in the order in which they were met; with [`Self::of_counts`] only the last.
    pub fn files(&self) -> &[FileCoverage] {
        &self.files
    }

    /// Lines of all files.
    pub fn lines(&self) -> Count {
        self.sum(|folded| folded.lines, FileCoverage::lines)
    }

    /// Branches of all files.
    pub fn branches(&self) -> Count {
        self.sum(|folded| folded.branches, FileCoverage::branches)
    }

    /// Functions of all files.
    pub fn functions(&self) -> Count {
        self.sum(|folded| folded.functions, FileCoverage::functions)
    }

    /// Statements or instructions of all files.
    pub fn units(&self) -> Count {
        self.sum(|folded| folded.units, FileCoverage::units)
    }

    /// Lines, where one that was left by only some of its branches counts as missed.
    pub fn whole_lines(&self) -> Count {
        self.sum(|folded| folded.whole_lines, FileCoverage::whole_lines)
    }

    fn sum(&self, folded: fn(&Folded) -> Count, of: fn(&FileCoverage) -> Count) -> Count {
        self.folded.iter().map(folded).chain(self.files.iter().map(of)).sum()
    }
}

/// What is known of one source file.
#[derive(Debug, Default)]
pub struct FileCoverage {
    /// The path as the report writes it.
    pub path: String,
    /// Where that is, if more is known of it than the path.
    pub place: Option<Place>,
    lines: LineSet,
    /// How many of the covered lines are none that could be missed, where the report does not say which.
    surplus: u64,
    branches: BTreeMap<u32, Branches>,
    /// Statements or instructions, by whatever identifies them within the file.
    units: BTreeMap<u64, Count>,
    /// Functions by the hash of their name.
    functions: HashMap<u64, bool>,
    /// What the report counts itself, where that is not the sum of the above.
    summary: Summary,
}

/// Counts of one file as its report states them: of one that names no lines, or counts by rules of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Lines.
    pub lines: Option<Count>,
    /// Branches.
    pub branches: Option<Count>,
    /// Functions.
    pub functions: Option<Count>,
    /// Statements or instructions.
    pub units: Option<Count>,
}

impl FileCoverage {
    /// A file of this path, nothing known of it.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// What tells it from other files.
    pub fn identity(&self) -> &str {
        self.place.as_ref().map_or(&self.path, |place| &place.path)
    }

    /// Whether it is known where in the checkout it is.
    pub fn is_in_checkout(&self) -> bool {
        self.certainty() == Certainty::InCheckout
    }

    /// Whether it could be any of several files of the checkout.
    pub fn is_ambiguous(&self) -> bool {
        self.certainty() == Certainty::Ambiguous
    }

    fn certainty(&self) -> Certainty {
        self.place.as_ref().map_or(Certainty::Unknown, |place| place.certainty)
    }

    /// A line that could be covered, and whether it was. Line 0 counts as its tools count it.
    pub fn line(&mut self, number: u32, covered: bool) {
        self.lines.insert(number, covered);
    }

    /// Takes a line back.
    pub fn no_line(&mut self, number: u32) {
        self.lines.remove(number);
    }

    /// Takes all lines back.
    pub fn no_lines(&mut self) {
        self.lines = LineSet::default();
    }

    /// Of the covered lines so many do not count; it is not known which.
    pub fn discount(&mut self, lines: u64) {
        self.surplus = lines;
    }

    /// So many of a line's branches were taken; line 0 stands for branches of unknown lines.
    pub fn branch_count(&mut self, line: u32, count: Count) {
        let entry = self.branches.entry(line).or_insert(Branches::Counted(Count::default()));
        *entry = Branches::Counted(entry.count().max_each(count));
    }

    /// One branch of a line, by what identifies it there.
    pub fn branch(&mut self, line: u32, key: impl Hash, taken: bool) {
        self.branches.entry(line).or_insert_with(|| Branches::Keyed(Vec::new())).set(hash(key), taken);
    }

    /// A function, by what identifies it within the file.
    pub fn function(&mut self, key: impl Hash, covered: bool) {
        *self.functions.entry(hash(key)).or_default() |= covered;
    }

    /// Statements or instructions, by what identifies them within the file.
    pub fn unit(&mut self, key: u64, count: Count) {
        let unit = self.units.entry(key).or_default();
        *unit = unit.max_each(count);
    }

    /// The report's own counts, which go before the sums until another report is merged.
    pub fn summarize(&mut self, summary: Summary) {
        self.summary = summary;
    }

    /// Adds counts of another part of the file, which the report counts by itself.
    pub fn summarize_part(&mut self, part: Summary) {
        let Summary { lines, branches, functions, units } = &mut self.summary;
        for (sum, count) in
            [(lines, part.lines), (branches, part.branches), (functions, part.functions), (units, part.units)]
        {
            if let Some(count) = count {
                *sum.get_or_insert_default() += count;
            }
        }
    }

    /// Lines.
    pub fn lines(&self) -> Count {
        self.summary.lines.unwrap_or_else(|| {
            let Count { covered, total } = self.lines.count();
            Count { covered: covered.saturating_sub(self.surplus), total: total.saturating_sub(self.surplus) }
        })
    }

    /// Branches.
    pub fn branches(&self) -> Count {
        self.summary.branches.unwrap_or_else(|| self.branches.values().map(Branches::count).sum())
    }

    /// Functions.
    pub fn functions(&self) -> Count {
        self.summary.functions.unwrap_or_else(|| {
            let covered = self.functions.values().filter(|covered| **covered).count();
            Count { covered: covered as u64, total: self.functions.len() as u64 }
        })
    }

    /// Statements or instructions.
    pub fn units(&self) -> Count {
        self.summary.units.unwrap_or_else(|| self.units.values().copied().sum())
    }

    /// Whether the lines themselves are known, not only how many there are.
    pub fn knows_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The lines in order, each with whether it is covered.
    pub fn each_line(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.lines.iter()
    }

    /// Whether the line could be covered (`Some`), and was.
    pub fn at(&self, line: u32) -> Option<bool> {
        self.lines.get(line)
    }

    /// The branches of a line, where it has any.
    pub fn branches_at(&self, line: u32) -> Option<Count> {
        self.branches.get(&line).map(Branches::count)
    }

    fn whole_lines(&self) -> Count {
        let mut count = self.lines();
        let partial = |(line, branches): &(&u32, &Branches)| {
            let Count { covered, total } = branches.count();
            covered < total && self.lines.get(**line) == Some(true)
        };
        let partial = self.branches.iter().filter(partial).count();
        count.covered = count.covered.saturating_sub(partial as u64);
        count
    }

    /// Adds what another report says of the same file.
    pub fn merge(&mut self, mut other: Self) {
        // A report that only counts a file's branches adds nothing to one that says where they are.
        let [here, there] =
            [&self.branches, &other.branches].map(|branches| branches.keys().any(|line| *line > 0));
        if here != there {
            (if here { &mut other } else { &mut *self }).branches.remove(&0);
        }
        self.summary = Summary::default();
        self.lines.merge(&other.lines);
        self.surplus = self.surplus.max(other.surplus);
        for (line, branches) in other.branches {
            match (self.branches.get_mut(&line), branches) {
                (Some(Branches::Keyed(mine)), Branches::Keyed(theirs)) => {
                    for (key, taken) in theirs {
                        set(mine, key, taken);
                    }
                }
                (_, theirs) => self.branch_count(line, theirs.count()),
            }
        }
        for (key, count) in other.units {
            self.unit(key, count);
        }
        for (key, covered) in other.functions {
            *self.functions.entry(key).or_default() |= covered;
        }
    }
}

impl Count {
    /// The larger of each: what is known of the same thing from two reports that name only numbers.
    fn max_each(self, other: Self) -> Self {
        Self { covered: self.covered.max(other.covered), total: self.total.max(other.total) }
    }
}

/// A key for something that only has to be told from its neighbours.
pub fn hash(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The branches of one line.
#[derive(Debug)]
enum Branches {
    /// A report that names only numbers.
    Counted(Count),
    /// A report that tells the branches apart.
    Keyed(Vec<(u64, bool)>),
}

impl Branches {
    fn set(&mut self, key: u64, taken: bool) {
        match self {
            Self::Keyed(branches) => set(branches, key, taken),
            Self::Counted(count) => count.total = count.total.max(1),
        }
    }

    fn count(&self) -> Count {
        match self {
            Self::Counted(count) => *count,
            Self::Keyed(branches) => Count {
                covered: branches.iter().filter(|(_, taken)| *taken).count() as u64,
                total: branches.len() as u64,
            },
        }
    }
}

fn set(branches: &mut Vec<(u64, bool)>, key: u64, taken: bool) {
    match branches.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => branches[at].1 |= taken,
        Err(at) => branches.insert(at, (key, taken)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_and_is_covered_if_it_was_anywhere() {
        let mut coverage = Coverage::default();
        let lines = [(5, false), (700, true), (5, true), (64, false), (63, true), (700, false)];
        for (line, covered) in lines {
            coverage.file("a.c").line(line, covered);
        }
        let file = &coverage.files()[0];
        assert_eq!(file.each_line().collect::<Vec<_>>(), [(5, true), (63, true), (64, false), (700, true)]);
        assert_eq!(coverage.lines(), Count { covered: 3, total: 4 });
        assert_eq!((file.at(64), file.at(65)), (Some(false), None));
    }

    #[test]
    fn counts_alone_are_a_union_until_a_file_comes_again() {
        let mut coverage = Coverage::of_counts();
        for (path, line) in [("a.c", 1), ("a.c", 2), ("a.c", 1), ("b.c", 1)] {
            coverage.file(path).line(line, line == 1);
        }
        assert_eq!(coverage.lines(), Count { covered: 2, total: 3 });
        assert!(coverage.is_union() && coverage.files().len() == 1);
        coverage.file("a.c").line(3, true);
        assert!(!coverage.is_union());
        coverage.file("c.c").line(3, true);
        assert!(!coverage.is_union());
    }

    #[test]
    fn branches_unite_by_key_or_by_number() {
        let mut one = FileCoverage::default();
        one.branch(3, (0, 0), true);
        one.branch(3, (0, 1), false);
        let mut two = FileCoverage::default();
        two.branch(3, (0, 0), false);
        two.branch(3, (0, 1), true);
        two.branch_count(9, Count { covered: 1, total: 4 });
        one.merge(two);
        assert_eq!(one.branches_at(3), Some(Count { covered: 2, total: 2 }));
        one.branch_count(9, Count { covered: 2, total: 2 });
        assert_eq!(one.branches(), Count { covered: 4, total: 6 });
        let counted = || {
            let mut file = FileCoverage::default();
            file.branch_count(0, Count { covered: 4, total: 6 });
            file
        };
        one.merge(counted());
        assert_eq!(one.branches(), Count { covered: 4, total: 6 });
        let mut other = counted();
        other.merge(counted());
        other.merge(one);
        assert_eq!(other.branches(), Count { covered: 4, total: 6 });
    }

    #[test]
    fn merging_is_the_same_in_either_order() {
        let make = |lines: &[(u32, bool)]| {
            let mut coverage = Coverage::default();
            for (line, covered) in lines {
                coverage.file("a").line(*line, *covered);
            }
            coverage
        };
        let (a, b) = ([(1, true), (2, false), (200, false)], [(2, true), (3, false), (200, false)]);
        let mut ab = make(&a);
        ab.unite(make(&b));
        let mut ba = make(&b);
        ba.unite(make(&a));
        assert_eq!(ab.lines(), Count { covered: 2, total: 4 });
        assert!(ab.files()[0].each_line().eq(ba.files()[0].each_line()));
    }
}
