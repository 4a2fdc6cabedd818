//! One report's files, united with those of others.
//!
//! The same file has the same path, or one path is the end of the other: tools write them from the folder in which they
//! ran, below a source folder, or absolute. Of two relative paths that could as well be two files, so there most files of
//! the smaller report have to fit in the same way.

use std::collections::HashMap;

use super::{Coverage, FileCoverage};
use crate::path;

/// How one report's path becomes the other's: what is before it, and on whose side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shift<'a> {
    beginning: &'a str,
    theirs_is_longer: bool,
}

impl Shift<'_> {
    fn is_between_relative_paths(self) -> bool {
        !path::is_absolute(self.beginning)
    }
}

impl Coverage {
    /// Adds what another report says. Answers with the files that could be several of those that are there, and are
    /// counted apart.
    pub fn unite(&mut self, other: Self) -> Vec<String> {
        let (partners, unclear) = self.partners(&other);
        for (mut file, partner) in other.files.into_iter().zip(partners) {
            match partner {
                Some(at) => {
                    let known = &mut self.files[at];
                    if file.is_in_checkout() && !known.is_in_checkout() {
                        known.place = file.place.take();
                        self.index.insert(known.identity().to_owned(), at);
                    }
                    self.files[at].merge(file);
                }
                None => drop(self.push(file)),
            }
        }
        unclear
    }

    /// The file here that each file there is.
    fn partners(&self, other: &Self) -> (Vec<Option<usize>>, Vec<String>) {
        let same_path = |file: &FileCoverage| {
            let at = self.index.get(file.identity()).copied()?;
            (!file.is_ambiguous() && !self.files[at].is_ambiguous()).then_some(at)
        };
        let mut partners: Vec<Option<usize>> = other.files.iter().map(same_path).collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, file) in self.files.iter().enumerate() {
            by_name.entry(path::name(file.identity())).or_default().push(at);
        }
        for at in partners.iter().flatten() {
            if let Some(same_name) = by_name.get_mut(path::name(self.files[*at].identity())) {
                same_name.retain(|other| other != at);
            }
        }
        let candidates: Vec<Vec<(usize, Shift<'_>)>> = (other.files.iter().zip(&partners))
            .map(|(file, partner)| {
                let same_name = by_name.get(path::name(file.identity())).filter(|_| partner.is_none());
                let same_name = same_name.into_iter().flatten();
                same_name.filter_map(|at| Some((*at, shift(&self.files[*at], file)?))).collect()
            })
            .collect();
        let mut votes: HashMap<Shift<'_>, usize> = HashMap::new();
        for (_, shift) in candidates.iter().flatten() {
            *votes.entry(*shift).or_default() += 1;
        }
        let most = self.files.len().min(other.files.len());
        let mut unclear = Vec::new();
        let mut claims: HashMap<usize, Vec<usize>> = HashMap::new();
        for (there, candidates) in candidates.iter().enumerate() {
            let fitting = candidates
                .iter()
                .filter(|(_, shift)| !shift.is_between_relative_paths() || votes[shift] * 2 > most);
            let best = fitting.clone().map(|(_, shift)| votes[shift]).max();
            let mut best = fitting.filter(|(_, shift)| Some(votes[shift]) == best);
            match (best.next(), best.next()) {
                (Some((at, _)), None) => claims.entry(*at).or_default().push(there),
                (Some(_), Some(_)) => unclear.push(there),
                (None, _) => {}
            }
        }
        for (at, claimants) in claims {
            match *claimants.as_slice() {
                [there] => partners[there] = Some(at),
                _ => unclear.extend(claimants),
            }
        }
        unclear.sort_unstable();
        let unclear = unclear.into_iter().map(|there| other.files[there].path.clone()).collect();
        (partners, unclear)
    }
}

fn shift<'a>(here: &'a FileCoverage, there: &'a FileCoverage) -> Option<Shift<'a>> {
    let are_known = here.is_in_checkout() && there.is_in_checkout();
    if are_known || here.is_ambiguous() || there.is_ambiguous() {
        return None;
    }
    let (here, there) = (here.identity(), there.identity());
    match path::beginning(there, here) {
        Some(beginning) => Some(Shift { beginning, theirs_is_longer: true }),
        None => path::beginning(here, there).map(|beginning| Shift { beginning, theirs_is_longer: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(paths: &[&str]) -> Coverage {
        let mut coverage = Coverage::default();
        for path in paths {
            coverage.file(path).line(1, true);
        }
        coverage
    }

    #[track_caller]
    fn united(here: &[&str], there: &[&str], files: usize, unclear: &[&str]) {
        let mut union = report(here);
        assert_eq!(union.unite(report(there)), unclear);
        assert_eq!(union.files().len(), files, "{:?}", union.files());
    }

    #[test]
    fn paths_of_one_file() {
        united(&["app/m.py", "app/__init__.py"], &["/w/app/m.py", "/w/app/__init__.py"], 2, &[]);
        united(&["app/m.py", "app/n.py", "lib/m.py"], &["m.py", "n.py"], 3, &[]);
        united(&["m.py", "n.py", "o.py"], &["acme.test/m/m.py", "acme.test/m/n.py"], 3, &[]);
        united(&["/w/app/m.py"], &["app/m.py"], 1, &[]);
    }

    #[test]
    fn paths_of_different_files() {
        united(&["index.js", "lib/x.js"], &["pkg/index.js", "pkg/y.js"], 4, &[]);
        united(&["/0/g/a.py"], &["/1/g/a.py"], 2, &[]);
        united(&["my_app/m.py"], &["app/m.py"], 2, &[]);
        united(&["/w/a/m.py", "/w/b/m.py"], &["m.py"], 3, &["m.py"]);
        united(&["m.py"], &["/w/a/m.py", "/w/b/m.py"], 3, &["/w/a/m.py", "/w/b/m.py"]);
    }
}
