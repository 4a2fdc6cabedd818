//! One piece of a file: find what is meant, splice, verify.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::actions::has_actions;
use crate::finder::{image_at, images_of};
use crate::images::{Image, Place};
use crate::patch::{Change, Hit, Outcome, Request};
use crate::places::{Writing, writings};
use crate::position::Positions;
use crate::refusal::{Located, Refusal};
use crate::select::{Target, Where};
use crate::template::{self, image_lines};
use crate::verify::{self, Edit, spliced, verify};
use crate::yaml::scalar::{self, Splice};
use crate::yaml::stream::Piece;
use crate::yaml::{Content, Document, Expanded, Granit, NodeId};

struct PieceOf<'s> {
    file: &'s str,
    piece: Piece<'s>,
    text: &'s str,
    positions: Positions<'s>,
}

impl PieceOf<'_> {
    fn locate(&self, offset: usize, refusal: Refusal) -> Located {
        Located { file: self.file.to_owned(), position: self.positions.at(offset), refusal }
    }

    /// The bytes of the file.
    fn in_file(&self, bytes: &Range<usize>) -> Range<usize> {
        self.piece.offset + bytes.start..self.piece.offset + bytes.end
    }
}

/// What becomes of a piece.
pub fn patch_piece(file: &str, piece: Piece<'_>, request: &Request) -> Result<Outcome, Located> {
    // The whole text is UTF-8, and its pieces end at line breaks.
    let text = std::str::from_utf8(piece.bytes).unwrap_or_default();
    let here = PieceOf { file, piece, text, positions: Positions::of(text, piece.line) };
    let documents = match Document::read_all::<Granit<'_>>(text) {
        Ok(documents) => documents,
        Err(_) if has_actions(text) => return patch_template(&here, request),
        Err(error) => return Err(here.locate(error.offset, Refusal::Syntax(error.message))),
    };
    let mut hits = Vec::new();
    let mut edits = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        if request.scope.has_document(piece.document + number) {
            for writing in wanted(&here, document, request, &mut hits)? {
                let edit = edit(&here, document, number, writing)?;
                // The value of a block scalar ends in a line break that the new one has not.
                if text[edit.splice.bytes.clone()] != edit.splice.text {
                    edits.push(edit);
                }
            }
        }
    }
    if edits.is_empty() {
        return Ok(Outcome { hits, ..Outcome::default() });
    }
    edits.sort_by_key(|edit| edit.splice.bytes.start);
    for of_one_document in edits.chunk_by(|one, next| one.document == next.document) {
        refuse_duplicate_keys(&here, &documents[of_one_document[0].document])?;
    }
    let after = spliced(text, edits.iter().map(|edit| &edit.splice));
    verify(text, &documents, &after, &edits)
        .map_err(|refusal| here.locate(edits[0].splice.bytes.start, refusal))?;
    let mut changes = changes_of(&here.positions, &documents, edits);
    for change in &mut changes {
        change.document += piece.document;
        change.bytes = here.in_file(&change.bytes);
    }
    Ok(Outcome { changes, hits, ..Outcome::default() })
}

/// Edits the image lines of a template, which only their bytes can be checked of.
fn patch_template(here: &PieceOf<'_>, request: &Request) -> Result<Outcome, Located> {
    let owner = template::owner(here.text);
    let mut outcome = Outcome::default();
    if !request.scope.has(&owner) || !request.scope.has_document(here.piece.document) {
        return Ok(outcome);
    }
    outcome.warnings = template::unread(here.text)
        .into_iter()
        .map(|offset| {
            let position = here.positions.at(offset);
            format!(
                "{}:{position}: what is in these brackets can't be read: no image in it is set",
                here.file
            )
        })
        .collect();
    let mut splices = Vec::new();
    for (line, lined) in image_lines(here.text).iter().enumerate() {
        let meaning = request.targets.iter().enumerate().filter(|(_, target)| lined.is_meant_by(target));
        let Some((number, target)) = meaning.max_by_key(|(_, target)| target.rank()) else { continue };
        if request.strict {
            return Err(here.locate(lined.bytes.start, Refusal::Template));
        }
        let now = lined.repository().map_or_else(|| lined.value.to_owned(), |own| own.repository());
        let position = here.positions.at(lined.bytes.start);
        let name = lined.name.unwrap_or("image");
        let place = format!("{}:{position} {name}", here.file);
        outcome.hits.push(Hit { target: number, now, place, unpinned: false });
        let new = target.value.to_string();
        if lined.value != new {
            splices.push((
                line,
                new.clone(),
                Splice { bytes: lined.bytes.clone(), text: lined.written(&new) },
            ));
            outcome.changes.push(Change {
                document: here.piece.document,
                path: "?".to_owned(),
                position,
                bytes: here.in_file(&lined.bytes),
                old: lined.value.to_owned(),
                text: lined.written(&new),
                new,
                verified: &template::CHECKS,
            });
        }
    }
    template::verify(here.text, &splices).map_err(|refusal| here.locate(0, refusal))?;
    Ok(outcome)
}

/// What is to be written.
fn wanted(
    here: &PieceOf<'_>,
    written: &Document<'_>,
    request: &Request,
    hits: &mut Vec<Hit>,
) -> Result<Vec<Writing>, Located> {
    let expanded = Expanded::of(written).ok_or_else(|| here.locate(0, Refusal::TooManyAliases))?;
    let document = expanded.document();
    let at = |(node, refusal): (NodeId, Refusal)| here.locate(document.node(node).bytes.start, refusal);
    let mut wanted: BTreeMap<NodeId, (u8, String)> = BTreeMap::new();
    for (number, target, image) in meant(document, &request.targets) {
        if !request.scope.has(&image.owner) || matches!(image.place, Place::Absent(_)) {
            continue;
        }
        let changes = target.value.changes(document, &image.place).map_err(at)?;
        let unpinned = target.value.loses_digest(&image.place, &changes);
        hits.push(hit(here, document, &image, number, unpinned));
        for (node, value) in changes {
            let rank = target.rank();
            match wanted.get(&node) {
                Some((other, _)) if *other > rank => {}
                Some((other, text)) if *other == rank && *text != value => {
                    return Err(at((node, Refusal::Conflict(text.clone(), value))));
                }
                _ => {
                    wanted.insert(node, (rank, value));
                }
            }
        }
    }
    let values = wanted.into_iter().map(|(node, (_, value))| (node, value)).collect();
    writings(written, &expanded, values, request).map_err(at)
}

/// The images that targets mean, each with its target and that one's number.
fn meant<'d>(document: &'d Document<'_>, targets: &'d [Target]) -> Vec<(usize, &'d Target, Image<'d>)> {
    let mut meant = Vec::new();
    let numbered = || targets.iter().enumerate();
    let by_path = |(_, target): &(usize, &Target)| matches!(target.place, Where::At(_));
    if !numbered().all(|target| by_path(&target)) {
        for image in images_of(document) {
            let fitting = numbered().filter(|(_, target)| target.means(document, &image));
            meant.extend(fitting.map(|(number, target)| (number, target, image)));
        }
    }
    for (number, target) in numbered() {
        if let Where::At(path) = &target.place {
            let nodes = path.find(document).into_iter();
            meant.extend(nodes.map(|node| (number, target, image_at(document, node))));
        }
    }
    meant
}

fn hit(here: &PieceOf<'_>, document: &Document<'_>, image: &Image<'_>, target: usize, unpinned: bool) -> Hit {
    let now = image.repository(document).map_or_else(|| image.text(document), |own| own.repository());
    let position = here.positions.at(document.node(image.node()).bytes.start);
    Hit { target, now, place: format!("{}:{position} {image}", here.file), unpinned }
}

fn edit(
    here: &PieceOf<'_>,
    document: &Document<'_>,
    number: usize,
    writing: Writing,
) -> Result<Edit, Located> {
    let Writing { node, value, places } = writing;
    let splice = if matches!(document.node(node).content, Content::Alias(_)) {
        scalar::replace_alias(document, node, &value)
    } else {
        let replaced = scalar::replace(document, node, &value);
        replaced.map_err(|refused| here.locate(document.node(node).bytes.start, refused.into()))?
    };
    Ok(Edit { document: number, node, value, splice, places })
}

fn refuse_duplicate_keys(here: &PieceOf<'_>, document: &Document<'_>) -> Result<(), Located> {
    let mut keys: Vec<(&str, NodeId)> = Vec::new();
    for (mapping, node) in document.nodes().iter().enumerate() {
        if node.content != Content::Mapping {
            continue;
        }
        keys.clear();
        keys.extend(document.entries(mapping).filter_map(|(key, _)| Some((document.text_of(key)?, key))));
        keys.sort_unstable();
        let twice = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).min_by_key(|pair| pair[1].1);
        if let Some(&[(key, first), (_, second)]) = twice {
            let start = |node: NodeId| document.node(node).bytes.start;
            let first = here.positions.at(start(first)).line;
            return Err(here.locate(start(second), Refusal::DuplicateKey { key: key.to_owned(), first }));
        }
    }
    Ok(())
}

/// The edits, which are in the order of their bytes, as the proof tells them.
pub fn changes_of(positions: &Positions<'_>, documents: &[Document<'_>], edits: Vec<Edit>) -> Vec<Change> {
    edits
        .into_iter()
        .map(|Edit { document: number, node, value, splice, .. }| {
            let document = &documents[number];
            let old = document.text_of(node).unwrap_or(document.source(node));
            Change {
                document: number,
                path: document.path(node),
                position: positions.at(splice.bytes.start),
                old: old.trim_matches('\n').to_owned(),
                new: value,
                bytes: splice.bytes,
                text: splice.text,
                verified: &verify::ALL,
            }
        })
        .collect()
}
