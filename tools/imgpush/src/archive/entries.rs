//! A tar archive, read once on a thread of its own.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::ops::ControlFlow;
use std::path::{Component, Path};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use super::unpack::{is_json, short};
use super::{Documents, GZIP, LARGEST_DOCUMENT, Links, blob_path};
use crate::compress::{BLOCK, Blocks};
use crate::digest::Hasher;
use crate::engine::StoredLayer;
use crate::error::PushError;

/// The entries of an archive, in its order.
pub(super) type Entries = mpsc::Receiver<Result<Entry, PushError>>;

/// A file or a link in an archive.
pub struct Entry {
    /// Its path, without a leading `./`.
    pub path: String,
    /// Where it leads, for a link: a path in the archive.
    pub link: Option<String>,
    /// Its bytes; of a layer in an engine's storage those of its files alone, which a tar archive adds to.
    pub size: u64,
    /// Its content in blocks of [`BLOCK`] bytes. Dropped before the end, the rest is skipped.
    pub blocks: mpsc::Receiver<Result<Bytes, PushError>>,
    /// The digest of the content, if it was read to its end.
    pub digest: oneshot::Receiver<String>,
}

/// Opens an archive.
pub fn open(file: &Path) -> Result<File, PushError> {
    File::open(file).map_err(|cause| PushError::file(file, cause))
}

impl Entry {
    /// Reads an archive on a thread.
    pub fn read(
        input: impl Read + Send + 'static,
        name: String,
        spare: Arc<Blocks>,
    ) -> Result<Entries, PushError> {
        on_a_thread(spare, move |outlet| {
            let mut archive = tar::Archive::new(input);
            let broken = |cause| broken(cause, &name);
            read_entries(&mut archive, outlet, &broken).map_err(broken)
        })
    }

    /// Reads an image's layers from the engine's storage on a thread, as if they were an archive's, each layer at the path
    /// of its digest.
    pub fn read_stored(layers: Vec<StoredLayer>, spare: Arc<Blocks>) -> Result<Entries, PushError> {
        on_a_thread(spare, move |outlet| {
            for layer in layers {
                let broken =
                    |cause: io::Error| PushError::Storage(format!("{}: {cause}", short(&layer.diff_id)));
                let mut content = layer.open().map_err(broken)?;
                let path = blob_path(&layer.diff_id);
                let whole = Whole::As(&layer.diff_id);
                if outlet.send((path, None), layer.size, &mut content, whole, &broken).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Reads entries on a thread of their own; why that had to end goes to whoever waits for the next one.
fn on_a_thread(
    spare: Arc<Blocks>,
    read: impl FnOnce(&Outlet) -> Result<(), PushError> + Send + 'static,
) -> Result<Entries, PushError> {
    let (entries, receiver) = mpsc::channel(1);
    let outlet = Outlet { entries, spare };
    std::thread::Builder::new()
        .name("archive".to_owned())
        .spawn(move || {
            if let Err(error) = read(&outlet) {
                let _ = outlet.entries.blocking_send(Err(error));
            }
        })
        .map_err(|cause| PushError::Compression(cause.to_string()))?;
    Ok(receiver)
}

/// Where the entries go that a thread reads.
struct Outlet {
    entries: mpsc::Sender<Result<Entry, PushError>>,
    spare: Arc<Blocks>,
}

/// When a content is whole.
#[derive(Clone, Copy)]
enum Whole<'a> {
    /// At its size.
    AtSize,
    /// Where it has this digest.
    As(&'a str),
}

impl Outlet {
    /// Sends an entry, a path and where it leads, with its content in blocks.
    fn send(
        &self,
        (path, link): (String, Option<String>),
        size: u64,
        content: &mut impl Read,
        whole: Whole<'_>,
        broken: &impl Fn(io::Error) -> PushError,
    ) -> ControlFlow<()> {
        let (blocks, block_receiver) = mpsc::channel(2);
        let (digest, digest_receiver) = oneshot::channel();
        let told = Entry { path, link, size, blocks: block_receiver, digest: digest_receiver };
        if self.entries.blocking_send(Ok(told)).is_err() {
            return ControlFlow::Break(());
        }
        // Who reads the entry is told; where nobody does, whoever waits for the next one.
        let fail = |cause: io::Error| {
            if let Err(SendError(Err(unheard))) = blocks.blocking_send(Err(broken(cause))) {
                let _ = self.entries.blocking_send(Err(unheard));
            }
            ControlFlow::Break(())
        };
        let mut hasher = Hasher::new();
        let mut read = 0;
        loop {
            let left = usize::try_from(size.saturating_sub(read)).unwrap_or(BLOCK);
            let mut block = if left < BLOCK { Vec::with_capacity(left) } else { self.spare.take() };
            if let Err(cause) = content.by_ref().take(BLOCK as u64).read_to_end(&mut block) {
                return fail(cause);
            }
            if block.is_empty() {
                break;
            }
            hasher.update(&block);
            read += block.len() as u64;
            if blocks.blocking_send(Ok(block.into())).is_err() {
                return ControlFlow::Continue(());
            }
        }
        let content = hasher.finish();
        match whole {
            Whole::As(stated) if stated != content => {
                return fail(io::Error::other(format!("what should be {stated} is {content}")));
            }
            Whole::AtSize if read != size => {}
            _ => {
                let _ = digest.send(content);
            }
        }
        ControlFlow::Continue(())
    }
}

fn read_entries(
    archive: &mut tar::Archive<impl Read>,
    outlet: &Outlet,
    broken: &impl Fn(io::Error) -> PushError,
) -> io::Result<()> {
    let mut seen = false;
    for entry in archive.entries()? {
        let mut entry = entry?;
        seen = true;
        let kind = entry.header().entry_type();
        let path = normal(&entry.path()?);
        let link = link(&entry, &path)?;
        if !kind.is_file() && link.is_none() {
            continue;
        }
        let size = entry.size();
        if outlet.send((path, link), size, &mut entry, Whole::AtSize, broken).is_break() {
            return Ok(());
        }
    }
    // Only what ends as a tar does is whole; tar itself takes an empty stream for an empty archive.
    if seen { Ok(()) } else { Err(empty()) }
}

/// Why an archive can't be read on: where it came over a connection, the words of that.
fn broken(cause: io::Error, name: &str) -> PushError {
    cause
        .downcast::<PushError>()
        .unwrap_or_else(|cause| PushError::Archive { name: name.to_owned(), problem: cause.to_string() })
}

fn empty() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty")
}

/// A path without `.`, `..` and a leading `/`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

/// Where an entry leads, for a link.
fn link(entry: &tar::Entry<'_, impl Read>, path: &str) -> io::Result<Option<String>> {
    let kind = entry.header().entry_type();
    let parent = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    Ok(match entry.link_name()? {
        Some(target) if kind.is_symlink() => Some(normal(&parent.join(target))),
        Some(target) if kind.is_hard_link() => Some(normal(&target)),
        _ => None,
    })
}

/// The documents and links of an archive file, without reading its layers; `None` where it is compressed as a whole.
pub fn documents_of(file: &Path) -> Result<Option<(Documents, Links)>, PushError> {
    let failed = |cause: io::Error| PushError::Archive {
        name: file.display().to_string(),
        problem: cause.to_string(),
    };
    let mut input = open(file)?;
    let mut start = Vec::new();
    input.by_ref().take(GZIP.len() as u64).read_to_end(&mut start).map_err(failed)?;
    if start == GZIP {
        return Ok(None);
    }
    if start.is_empty() {
        return Err(failed(empty()));
    }
    input.rewind().map_err(failed)?;
    let mut archive = tar::Archive::new(input);
    let (mut documents, mut links) = (Documents::new(), Links::new());
    for entry in archive.entries_with_seek().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = normal(&entry.path().map_err(failed)?);
        if let Some(target) = link(&entry, &path).map_err(failed)? {
            links.insert(path, target);
            continue;
        }
        if !entry.header().entry_type().is_file() || entry.size() > LARGEST_DOCUMENT {
            continue;
        }
        let mut content = Vec::new();
        entry.by_ref().take(262).read_to_end(&mut content).map_err(failed)?;
        if is_json(&content) {
            entry.read_to_end(&mut content).map_err(failed)?;
            documents.insert(path, content.into());
        }
    }
    Ok(Some((documents, links)))
}
