//! From texts and targets to edited, verified texts: find, splice, verify, piece by piece.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::{memchr_iter, memmem};

use crate::images::{Image, Place, image_at, images_of};
use crate::refusal::{Located, Refusal};
use crate::select::{Scope, Target, Where};
use crate::shared::other_places;
use crate::template::{self, image_lines, is_template};
use crate::verify::{self, Edit, spliced, verify};
use crate::yaml::scalar::{self, Unwritable};
use crate::yaml::stream::{Piece, pieces};
use crate::yaml::{Content, Document, Granit, NodeId};

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
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
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
    /// Where it is: file, line, object.
    pub place: String,
}

/// What becomes of a file.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The changes, in the order of their bytes.
    pub changes: Vec<Change>,
    /// All images that were meant, changed or not.
    pub hits: Vec<Hit>,
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

/// Pieces that a thread takes at once: enough to make taking cheap, few enough to share evenly.
const BATCH: usize = 32;

/// Less than this, in bytes, is not worth a second thread.
const WORTH_A_THREAD: usize = 256 * 1024;

/// Finds, edits and verifies in all files, on several threads where there is enough to do. The first
/// refusal in the order of the files is the one that is told.
pub fn patch_all(sources: &[Source], request: &Request, jobs: usize) -> Result<Vec<Outcome>, Located> {
    let needles = Needles::of(&request.targets);
    let tasks: Vec<(usize, Piece<'_>)> = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| needles.may_be_in(&source.bytes))
        .flat_map(|(number, source)| pieces(&source.bytes).into_iter().map(move |piece| (number, piece)))
        .filter(|(_, piece)| needles.may_be_in(piece.bytes))
        .collect();
    let work: usize = tasks.iter().map(|(_, piece)| piece.bytes.len()).sum();
    let threads = jobs.min(work / WORTH_A_THREAD + 1).min(tasks.len().div_ceil(BATCH)).max(1);
    let one = |&(number, piece): &(usize, Piece<'_>)| patch_piece(&sources[number].name, piece, request);
    let parts = in_parallel(&tasks, threads, one);
    let mut outcomes = vec![Outcome::default(); sources.len()];
    for ((number, _), part) in tasks.iter().zip(parts) {
        let part = part?;
        outcomes[*number].changes.extend(part.changes);
        outcomes[*number].hits.extend(part.hits);
    }
    Ok(outcomes)
}

/// The results of all tasks, in their order.
fn in_parallel<T: Sync, R: Send>(tasks: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads <= 1 {
        return tasks.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take_batches = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = tasks.get(start..).filter(|rest| !rest.is_empty()) else { return done };
            let batch = &rest[..rest.len().min(BATCH)];
            done.push((start, batch.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut batches = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take_batches)).collect();
        let mut batches = take_batches();
        for other in others {
            // A panic ends the process before it could be joined.
            batches.extend(other.join().unwrap_or_default());
        }
        batches
    });
    batches.sort_unstable_by_key(|(start, _)| *start);
    batches.into_iter().flat_map(|(_, results)| results).collect()
}

/// Texts of which one must stand in what is meant. `None` where that can't be said.
struct Needles<'r>(Option<Vec<memmem::Finder<'r>>>);

impl<'r> Needles<'r> {
    fn of(targets: &'r [Target]) -> Self {
        Self(targets.iter().map(|target| target.needle().map(memmem::Finder::new)).collect())
    }

    /// Whether one of the texts is there, or may be hidden by an escape in double quotes.
    fn may_be_in(&self, text: &[u8]) -> bool {
        let Some(needles) = &self.0 else { return true };
        needles.iter().any(|needle| needle.find(text).is_some())
            || memchr_iter(b'\\', text)
                .any(|at| matches!(text.get(at + 1), Some(b'x' | b'u' | b'U' | b'\r' | b'\n')))
    }
}

struct PieceOf<'s> {
    file: &'s str,
    piece: Piece<'s>,
    text: &'s str,
}

impl PieceOf<'_> {
    fn locate(&self, offset: usize, refusal: Refusal) -> Located {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = self.piece.line + memchr_iter(b'\n', before.as_bytes()).count();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Located { file: self.file.to_owned(), line, column, refusal }
    }
}

fn patch_piece(file: &str, piece: Piece<'_>, request: &Request) -> Result<Outcome, Located> {
    let text = match std::str::from_utf8(piece.bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = std::str::from_utf8(&piece.bytes[..error.valid_up_to()]).unwrap_or_default();
            return Err(PieceOf { file, piece, text: valid }.locate(valid.len(), Refusal::NotUtf8));
        }
    };
    let here = PieceOf { file, piece, text };
    let documents = match Document::read_all::<Granit<'_>>(text) {
        Ok(documents) => documents,
        Err(_) if is_template(text) => return patch_template(&here, request),
        Err(error) => return Err(here.locate(error.offset, Refusal::Syntax(error.message))),
    };
    let mut hits = Vec::new();
    let mut edits = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        if request.scope.has_document(piece.document + number) {
            let wanted = wanted(&here, document, request, &mut hits)?;
            for (node, value) in wanted {
                if document.text_of(node) != Some(value.as_str()) {
                    let edit = edit(&here, document, number, node, value, request)?;
                    // The value of a block scalar ends in a line break that the new one has not.
                    if text[edit.splice.bytes.clone()] != edit.splice.text {
                        edits.push(edit);
                    }
                }
            }
        }
    }
    if edits.is_empty() {
        return Ok(Outcome { changes: Vec::new(), hits });
    }
    for number in edits.iter().map(|edit| edit.document) {
        refuse_duplicate_keys(&here, &documents[number])?;
    }
    edits.sort_by_key(|edit| edit.splice.bytes.start);
    let after = spliced(text, &edits);
    verify(text, &documents, &after, &edits)
        .map_err(|refusal| here.locate(edits[0].splice.bytes.start, refusal))?;
    let changes = changes_of(text, piece.line, piece.offset, piece.document, &documents, edits);
    Ok(Outcome { changes, hits })
}

/// Edits the image lines of a template, which only their bytes can be checked of.
fn patch_template(here: &PieceOf<'_>, request: &Request) -> Result<Outcome, Located> {
    let owner = template::owner(here.text);
    let mut outcome = Outcome::default();
    if !request.scope.has(&owner) || !request.scope.has_document(here.piece.document) {
        return Ok(outcome);
    }
    for line in image_lines(here.text) {
        let meaning = request.targets.iter().enumerate().filter(|(_, target)| line.is_meant_by(target));
        let Some((number, target)) = meaning.max_by_key(|(_, target)| target.rank()) else { continue };
        let Located { file, line: row, column, .. } = here.locate(line.bytes.start, Refusal::Template);
        if request.strict {
            return Err(here.locate(line.bytes.start, Refusal::Template));
        }
        let now = line.repository().map_or_else(|| line.value.to_owned(), |own| own.repository());
        let place = format!("{file}:{row} {}", line.name.unwrap_or("image"));
        outcome.hits.push(Hit { target: number, now, place });
        let new = target.value.to_string();
        if line.value != new {
            let offset = here.piece.offset;
            outcome.changes.push(Change {
                document: here.piece.document,
                path: "?".to_owned(),
                line: row,
                column,
                bytes: offset + line.bytes.start..offset + line.bytes.end,
                old: line.value.to_owned(),
                text: line.written(&new),
                new,
                verified: &template::CHECKS,
            });
        }
    }
    Ok(outcome)
}

/// The scalars to be set, and to what.
fn wanted(
    here: &PieceOf<'_>,
    document: &Document<'_>,
    request: &Request,
    hits: &mut Vec<Hit>,
) -> Result<BTreeMap<NodeId, String>, Located> {
    let at = |node: NodeId, refusal| here.locate(document.node(node).bytes.start, refusal);
    let mut wanted: BTreeMap<NodeId, (u8, String)> = BTreeMap::new();
    let images = images_of(document).into_iter().flat_map(|image| {
        let meant = request.targets.iter().enumerate().filter(|(_, target)| target.means(document, &image));
        meant.map(|(number, target)| (number, target, image.clone())).collect::<Vec<_>>()
    });
    let at_paths = request.targets.iter().enumerate().flat_map(|(number, target)| match &target.place {
        Where::At(path) => {
            path.find(document).into_iter().map(|node| (number, target, image_at(document, node))).collect()
        }
        _ => Vec::new(),
    });
    for (number, target, image) in images.chain(at_paths) {
        if request.scope.has(&image.owner) {
            if let Place::Absent(container) = image.place {
                if document.get(container, "<<").is_some() {
                    let name = image.name.unwrap_or_default().to_owned();
                    return Err(at(container, Refusal::Merged(name)));
                }
                continue;
            }
            hits.push(hit(here, document, &image, number));
            let changes = target.value.changes(document, &image.place);
            for (node, value) in changes.map_err(|(node, refusal)| at(node, refusal))? {
                let rank = target.rank();
                match wanted.get(&node) {
                    Some((other, _)) if *other > rank => {}
                    Some((other, text)) if *other == rank && *text != value => {
                        return Err(at(node, Refusal::Conflict(text.clone(), value)));
                    }
                    _ => {
                        wanted.insert(node, (rank, value));
                    }
                }
            }
        }
    }
    Ok(wanted.into_iter().map(|(node, (_, value))| (node, value)).collect())
}

fn hit(here: &PieceOf<'_>, document: &Document<'_>, image: &Image<'_>, target: usize) -> Hit {
    let now = image.repository(document).map_or_else(|| image.text(document), |own| own.repository());
    let Located { file, line, .. } = here.locate(document.node(image.node()).bytes.start, Refusal::NotUtf8);
    let place = format!("{file}:{line} {image}");
    Hit { target, now, place }
}

fn edit(
    here: &PieceOf<'_>,
    document: &Document<'_>,
    number: usize,
    node: NodeId,
    value: String,
    request: &Request,
) -> Result<Edit, Located> {
    let at = |refusal| here.locate(document.node(node).bytes.start, refusal);
    let splice = match scalar::replace(document, node, &value) {
        Err(Unwritable::Alias(_)) if request.break_alias => scalar::replace_alias(document, node, &value),
        splice => splice.map_err(|refused| at(refused.into()))?,
    };
    let others = other_places(document, node);
    if !others.is_empty() && !request.allow_shared {
        return Err(at(Refusal::Shared(others.into_iter().map(|(path, _)| path).collect())));
    }
    let mut places = vec![document.ordinals(node)];
    places.extend(others.into_iter().map(|(_, ordinals)| ordinals));
    Ok(Edit { document: number, node, value, splice, places })
}

fn refuse_duplicate_keys(here: &PieceOf<'_>, document: &Document<'_>) -> Result<(), Located> {
    for (mapping, node) in document.nodes().iter().enumerate() {
        if node.content != Content::Mapping {
            continue;
        }
        let mut seen = BTreeMap::new();
        for (key, _) in document.entries(mapping) {
            let Some(text) = document.text_of(key) else { continue };
            if let Some(first) = seen.insert(text, key) {
                let first = here.locate(document.node(first).bytes.start, Refusal::NotUtf8).line;
                let refusal = Refusal::DuplicateKey { key: text.to_owned(), first };
                return Err(here.locate(document.node(key).bytes.start, refusal));
            }
        }
    }
    Ok(())
}

/// The edits as the proof tells them. `line`, `offset` and `first` say where the text begins: its
/// first line, its first byte and the number of its first document.
pub fn changes_of(
    text: &str,
    mut line: usize,
    offset: usize,
    first: usize,
    documents: &[Document<'_>],
    edits: Vec<Edit>,
) -> Vec<Change> {
    let mut seen = 0;
    edits
        .into_iter()
        .map(|Edit { document: number, node, value, splice, .. }| {
            let document = &documents[number];
            let start = splice.bytes.start;
            line += memchr_iter(b'\n', &text.as_bytes()[seen..start]).count();
            seen = start;
            let column = text[..start].rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
            let old = document.text_of(node).unwrap_or(document.source(node));
            Change {
                document: first + number,
                path: document.path(node),
                line,
                column,
                bytes: offset + start..offset + splice.bytes.end,
                old: old.trim_end_matches('\n').to_owned(),
                new: value,
                text: splice.text,
                verified: &verify::ALL,
            }
        })
        .collect()
}
