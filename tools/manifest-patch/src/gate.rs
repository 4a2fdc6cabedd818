//! `verify BEFORE AFTER`: whether nothing but images changed between two states of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use image_reference::ImageReference;
use step::{Failure, FailureKind, ResultExt};

use crate::finder::images_of;
use crate::images::{Image, Part, Place};
use crate::patch::Change;
use crate::piece::changes_of;
use crate::position::Positions;
use crate::search::Search;
use crate::verify::{Edit, spliced, verify};
use crate::yaml::scalar::{self, Splice};
use crate::yaml::stream::{Piece, pieces};
use crate::yaml::{Document, Expanded, Granit, NodeId};

/// What changed between the two states.
#[derive(Debug, Default)]
pub struct Answer {
    /// Images that changed, each with its file.
    pub images: Vec<(String, Change)>,
    /// What else changed.
    pub others: Vec<Other>,
    /// Files that are the same.
    pub unchanged: Vec<String>,
}

/// A change that is not one of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    /// The file.
    pub file: String,
    /// The line in the later state, from 1.
    pub line: usize,
    /// What is there.
    pub what: String,
}

/// Compares two files, or the files of two directories.
pub fn compare(before: &Path, after: &Path) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    if before.is_dir() && after.is_dir() {
        let names: BTreeSet<PathBuf> = files_in(before)?.union(&files_in(after)?).cloned().collect();
        for name in names {
            let (before, after) = (before.join(&name), after.join(&name));
            let shown = after.display().to_string();
            let other = |what: &str| Other { file: shown.clone(), line: 1, what: what.to_owned() };
            match (before.exists(), after.exists()) {
                _ if before.is_symlink() || after.is_symlink() => {
                    answer.compare_links(&before, &after, shown);
                }
                (false, true) => answer.others.push(other("a new file")),
                (true, false) => answer.others.push(other("the file was removed")),
                _ => answer.compare_files(&before, &after, &shown)?,
            }
        }
    } else {
        answer.compare_files(before, after, &after.display().to_string())?;
    }
    Ok(answer)
}

/// All files below a directory but those of Git itself, relative to it.
fn files_in(root: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut files = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let failed = || format!("can't list {}", directory.display());
        for entry in fs::read_dir(&directory).or_fail_with(FailureKind::Input, failed)? {
            let path = entry.or_fail_with(FailureKind::Input, failed)?.path();
            if path.is_dir() && !path.is_symlink() {
                if path.file_name().is_none_or(|name| name != ".git") {
                    open.push(path);
                }
            } else if let Ok(name) = path.strip_prefix(root) {
                files.insert(name.to_owned());
            }
        }
    }
    Ok(files)
}

impl Answer {
    /// Whether nothing but images changed.
    pub fn only_images(&self) -> bool {
        self.others.is_empty()
    }

    /// What a link points to may be anywhere; the link itself is what a repository holds.
    fn compare_links(&mut self, before: &Path, after: &Path, name: String) {
        match (fs::read_link(before), fs::read_link(after)) {
            (Ok(before), Ok(after)) if before == after => self.unchanged.push(name),
            _ => self.others.push(Other { file: name, line: 1, what: "a symbolic link".to_owned() }),
        }
    }

    fn compare_files(&mut self, before: &Path, after: &Path, name: &str) -> Result<(), Failure> {
        let other = |line: usize, what: &str| Other { file: name.to_owned(), line, what: what.to_owned() };
        let read = |path: &Path| {
            let shown = path.display().to_string();
            fs::read(path).or_fail_with(FailureKind::Input, move || format!("can't read {shown}"))
        };
        let (before, after) = (read(before)?, read(after)?);
        if before == after {
            self.unchanged.push(name.to_owned());
            return Ok(());
        }
        match (String::from_utf8(before), String::from_utf8(after)) {
            (Ok(before), Ok(after)) => self.compare_texts(name, &before, &after),
            _ => self.others.push(other(1, "the content, which is not UTF-8 text")),
        }
        Ok(())
    }

    /// Compares texts piece by piece, so that what didn't change needs no reading.
    pub fn compare_texts(&mut self, name: &str, before: &str, after: &str) {
        let search = Search::of(before.len() + after.len());
        let (mut old, mut new) = (pieces(before.as_bytes(), search), pieces(after.as_bytes(), search));
        if old.len() != new.len() {
            old = vec![Piece::whole(before.as_bytes())];
            new = vec![Piece::whole(after.as_bytes())];
        }
        for (old, new) in old.iter().zip(&new).filter(|(old, new)| old.bytes != new.bytes) {
            self.compare_pieces(name, old, new);
        }
    }

    fn compare_pieces(&mut self, name: &str, old: &Piece<'_>, new: &Piece<'_>) {
        // They end at line breaks, so none cuts a character.
        let [before, after] = [old, new].map(|piece| std::str::from_utf8(piece.bytes).unwrap_or_default());
        let documents = Document::read_all::<Granit<'_>>(before).unwrap_or_default();
        let now = Document::read_all::<Granit<'_>>(after).unwrap_or_default();
        let (edits, repeated) = image_edits(&documents, &now);
        let expected = spliced(before, edits.iter().map(|edit| &edit.splice));
        let mut other = |line: usize, what: String| {
            self.others.push(Other { file: name.to_owned(), line, what });
        };
        if expected != after {
            let line = expected.lines().zip(after.lines()).position(|(expected, after)| expected != after);
            let line = line.unwrap_or_else(|| expected.lines().count().min(after.lines().count()));
            let what = after.lines().nth(line).unwrap_or("the end of the file").trim().to_owned();
            other(new.line + line, what);
        } else if let Err(refusal) = verify(before, &documents, after, &edits) {
            other(new.line, refusal.to_string());
        } else {
            let positions = Positions::of(after, new.line);
            for Repeated { offset, path } in repeated {
                let line = positions.at(offset).line;
                other(line, format!("{path}, which repeats an image by an alias"));
            }
        }
        for mut change in changes_of(&Positions::of(before, old.line), &documents, edits) {
            change.document += old.document;
            change.bytes = old.offset + change.bytes.start..old.offset + change.bytes.end;
            self.images.push((name.to_owned(), change));
        }
    }
}

/// A place that is not an image, whose value changes because an alias repeats an image there.
struct Repeated {
    offset: usize,
    path: String,
}

/// The images that differ, as edits of the earlier state.
fn image_edits(before: &[Document<'_>], after: &[Document<'_>]) -> (Vec<Edit>, Vec<Repeated>) {
    let (mut edits, mut repeated) = (Vec::new(), Vec::new());
    for (number, (before, after)) in before.iter().zip(after).enumerate() {
        let [seen, now] = [before, after]
            .map(|written| Expanded::of(written).unwrap_or_else(|| Expanded::unchanged(written)));
        // The written nodes that changed, and where of the expanded ones they are images.
        let mut changed: BTreeMap<NodeId, (String, BTreeSet<NodeId>)> = BTreeMap::new();
        for (image, now_image) in images_of(seen.document()).iter().zip(&images_of(now.document())) {
            for (place, new_place) in scalars(image).into_iter().zip(scalars(now_image)) {
                let new = now.written(new_place);
                // A value may have taken the place of an alias.
                let own = seen.written(place) == new || seen.alias(place) == Some(new);
                let differs = own && before.source(new) != after.source(new);
                let value = after.text_of(new).filter(|_| differs && is_sound(now_image, now.document()));
                if let Some(value) = value {
                    let value = value.trim_matches('\n').to_owned();
                    changed.entry(new).or_insert_with(|| (value, BTreeSet::new())).1.insert(place);
                }
            }
        }
        for (node, (value, images)) in changed {
            let Some(splice) = splice(before, after, node, &value) else { continue };
            let places = seen.places_of(node);
            let document = seen.document();
            for &place in places.iter().filter(|place| !images.contains(place) && !seen.is_unread(**place)) {
                let path = document.path(place);
                if path.rsplit('.').next() != before.path(node).rsplit('.').next() {
                    repeated.push(Repeated { offset: after.node(node).bytes.start, path });
                }
            }
            let places = places.into_iter().map(|place| document.ordinals(place)).collect();
            edits.push(Edit { document: number, node, value, splice, places });
        }
    }
    edits.sort_by_key(|edit| (edit.document, edit.splice.bytes.start));
    (edits, repeated)
}

/// What was done to a scalar. One that was absent is taken for filled in as this program does it.
fn splice(before: &Document<'_>, after: &Document<'_>, node: NodeId, value: &str) -> Option<Splice> {
    let bytes = before.node(node).bytes.clone();
    if bytes.is_empty() {
        return scalar::replace(before, node, value).ok();
    }
    Some(Splice { bytes, text: after.source(node).to_owned() })
}

fn scalars(image: &Image<'_>) -> Vec<NodeId> {
    match &image.place {
        Place::Whole(node) | Place::Part(node, _) => vec![*node],
        Place::Parts(parts) => parts.scalars().collect(),
        Place::Absent(_) => Vec::new(),
    }
}

/// Whether what the image says now is a reference, or a part of one.
fn is_sound(image: &Image<'_>, document: &Document<'_>) -> bool {
    let text = image.text(document);
    // A block scalar may begin and end in line breaks.
    let text = text.trim_matches('\n');
    let reference = match image.place {
        Place::Part(_, Part::Tag) => format!("image:{text}"),
        Place::Part(_, Part::Digest) => format!("image@{text}"),
        Place::Part(_, Part::Sha) => format!("image@sha256:{text}"),
        _ => text.to_owned(),
    };
    reference.parse::<ImageReference>().is_ok()
}
