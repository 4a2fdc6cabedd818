//! `verify BEFORE AFTER`: whether nothing but images changed between two states of manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use image_reference::ImageReference;
use step::{Failure, FailureKind, ResultExt};

use crate::images::{Image, Place, images_of};
use crate::patch::{Change, changes_of};
use crate::verify::{Edit, spliced, verify};
use crate::yaml::scalar::Splice;
use crate::yaml::{Document, Granit, NodeId};

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
            let shown = after.join(&name).display().to_string();
            answer.compare_files(&before.join(&name), &after.join(&name), &shown)?;
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

    fn compare_files(&mut self, before: &Path, after: &Path, name: &str) -> Result<(), Failure> {
        let other = |line: usize, what: &str| Other { file: name.to_owned(), line, what: what.to_owned() };
        let appeared = match (before.exists(), after.exists()) {
            (false, true) => Some("a new file"),
            (true, false) => Some("the file was removed"),
            _ => None,
        };
        if let Some(what) = appeared {
            self.others.push(other(1, what));
            return Ok(());
        }
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

    fn compare_texts(&mut self, name: &str, before: &str, after: &str) {
        let documents = Document::read_all::<Granit<'_>>(before).unwrap_or_default();
        let now = Document::read_all::<Granit<'_>>(after).unwrap_or_default();
        let edits = image_edits(&documents, &now);
        let expected = spliced(before, &edits);
        if expected != after {
            let line = expected.lines().zip(after.lines()).position(|(expected, after)| expected != after);
            let line = line.unwrap_or_else(|| expected.lines().count().min(after.lines().count()));
            let what = after.lines().nth(line).unwrap_or("the end of the file").trim().to_owned();
            self.others.push(Other { file: name.to_owned(), line: line + 1, what });
        } else if let Err(refusal) = verify(before, &documents, after, &edits) {
            self.others.push(Other { file: name.to_owned(), line: 1, what: refusal.to_string() });
        }
        let changes = changes_of(before, 1, 0, 0, &documents, edits);
        self.images.extend(changes.into_iter().map(|change| (name.to_owned(), change)));
    }
}

/// The images that differ, as edits of the earlier state.
fn image_edits(before: &[Document<'_>], after: &[Document<'_>]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (number, (before, after)) in before.iter().zip(after).enumerate() {
        for (image, now) in images_of(before).iter().zip(&images_of(after)) {
            for (node, new) in scalars(image).into_iter().zip(scalars(now)) {
                let differs = before.source(node) != after.source(new);
                let value = after.text_of(new).filter(|_| differs && node == new && is_sound(now, after));
                if let Some(value) = value {
                    let splice =
                        Splice { bytes: before.node(node).bytes.clone(), text: after.source(new).to_owned() };
                    let places = vec![before.ordinals(node)];
                    let value = value.trim_end_matches('\n').to_owned();
                    edits.push(Edit { document: number, node, value, splice, places });
                }
            }
        }
    }
    edits.sort_by_key(|edit| (edit.document, edit.splice.bytes.start));
    edits.dedup_by_key(|edit| (edit.document, edit.node));
    edits
}

fn scalars(image: &Image<'_>) -> Vec<NodeId> {
    match &image.place {
        Place::Whole(node) => vec![*node],
        Place::Parts(parts) => {
            [parts.registry, parts.repository, parts.tag, parts.digest].into_iter().flatten().collect()
        }
        Place::Absent(_) => Vec::new(),
    }
}

/// Whether what the image says now is a reference.
fn is_sound(image: &Image<'_>, document: &Document<'_>) -> bool {
    image.text(document).parse::<ImageReference>().is_ok()
}
