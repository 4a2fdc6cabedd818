//! From texts and targets to edited, verified texts, piece by piece.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::parallel::in_parallel;
use crate::piece::patch_piece;
use crate::position::{Position, Positions};
use crate::prefilter::Needles;
use crate::refusal::{Located, Refusal};
use crate::search::Search;
use crate::select::{Scope, Target};
use crate::verify;
use crate::yaml::stream::{Piece, pieces};

/// What to change, and how far to go.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The changes that were asked for.
    pub targets: Vec<Target>,
    /// Where they may be made.
    pub scope: Scope,
    /// Whether an alias in the place of an image is replaced.
    pub break_alias: bool,
    /// Whether a value may be changed that aliases repeat.
    pub allow_shared: bool,
    /// Whether templates that are not YAML are refused.
    pub strict: bool,
}

/// A file's text and name.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, as it was given; `-` is stdin.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A change that was made, as the proof tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The document's number in the file, from 0.
    pub document: usize,
    /// The path, as yq writes it.
    pub path: String,
    /// Where the bytes begin.
    pub position: Position,
    /// The bytes that were replaced.
    pub bytes: Range<usize>,
    /// What the value was.
    pub old: String,
    /// What it is now.
    pub new: String,
    /// What was put in the place of the bytes.
    pub text: String,
    /// The checks that the change passed.
    pub verified: &'static [&'static str],
}

/// An image that a target means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The target's number.
    pub target: usize,
    /// What the image is now, without tag and digest where that can be told.
    pub now: String,
    /// Where it is: file, line, column, object.
    pub place: String,
    /// Whether the new reference has a digest that nothing here holds.
    pub unpinned: bool,
}

/// What becomes of a file.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The changes, in the order of their bytes.
    pub changes: Vec<Change>,
    /// All images that were meant, changed or not.
    pub hits: Vec<Hit>,
    /// What could not be looked at.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Whether a change could be checked by its bytes only.
    pub fn is_unverified(&self) -> bool {
        self.changes.iter().any(|change| change.verified.len() < verify::ALL.len())
    }

    /// The file's bytes with the changes made.
    pub fn apply(&self, before: &[u8]) -> Vec<u8> {
        let mut after = Vec::with_capacity(
            before.len() + self.changes.iter().map(|change| change.text.len()).sum::<usize>(),
        );
        let mut at = 0;
        for change in &self.changes {
            after.extend_from_slice(&before[at..change.bytes.start]);
            after.extend_from_slice(change.text.as_bytes());
            at = change.bytes.end;
        }
        after.extend_from_slice(&before[at..]);
        after
    }
}

/// Less than this, in bytes, is not worth a second thread.
const WORTH_A_THREAD: usize = 256 * 1024;

/// Finds, edits and verifies in all files, on several threads where there is enough to do: at most
/// `jobs`, or one a processor. The first refusal in the order of the files is the one that is told.
pub fn patch_all(
    sources: &[Source],
    request: &Request,
    jobs: Option<NonZeroUsize>,
) -> Result<Vec<Outcome>, Located> {
    let search = Search::of(sources.iter().map(|source| source.bytes.len()).sum());
    sources.iter().try_for_each(|source| require_text(source, search))?;
    let needles = Needles::of(&request.targets, search);
    let tasks: Vec<(usize, Piece<'_>)> = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| needles.may_be_in(&source.bytes))
        .flat_map(|(number, source)| {
            pieces(&source.bytes, search).into_iter().map(move |piece| (number, piece))
        })
        .filter(|(_, piece)| needles.may_be_in(piece.bytes))
        .collect();
    let work: usize = tasks.iter().map(|(_, piece)| piece.bytes.len()).sum();
    let threads = match (work / WORTH_A_THREAD + 1).min(tasks.len()) {
        // How many processors there are takes a while to find out.
        several @ 2.. => several.min(jobs.or_else(processors).map_or(1, NonZeroUsize::get)),
        _ => 1,
    };
    let one = |&(number, piece): &(usize, Piece<'_>)| patch_piece(&sources[number].name, piece, request);
    let parts = in_parallel(&tasks, threads, one);
    let mut outcomes = vec![Outcome::default(); sources.len()];
    for ((number, _), part) in tasks.iter().zip(parts) {
        let part = part?;
        outcomes[*number].changes.extend(part.changes);
        outcomes[*number].hits.extend(part.hits);
        outcomes[*number].warnings.extend(part.warnings);
    }
    Ok(outcomes)
}

/// What is no text could hide anything, so it is refused also where nothing that is meant shows.
fn require_text(source: &Source, search: Search) -> Result<(), Located> {
    let bytes = source.bytes.as_slice();
    let text = std::str::from_utf8(bytes);
    let nul = || search.places(0, bytes).next();
    let Some(end) = text.err().map(|error| error.valid_up_to()).or_else(nul) else { return Ok(()) };
    // UTF-16 has a NUL beside each character of ASCII.
    let is_wide = bytes.iter().take(2).any(|&byte| byte == 0);
    let refusal = match text {
        Ok(_) if !is_wide => Refusal::Syntax("a NUL character".to_owned()),
        _ => Refusal::NotUtf8,
    };
    let before = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    Err(Located { file: source.name.clone(), position: Positions::of(before, 1).at(end), refusal })
}

fn processors() -> Option<NonZeroUsize> {
    std::thread::available_parallelism().ok()
}
