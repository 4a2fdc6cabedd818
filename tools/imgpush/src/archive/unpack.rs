//! The layers of a stream, sent as they go by.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::iter;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::entries::{Entries, Entry};
use super::wanted::{Choice, Wanted, target};
use super::{Arriving, Documents, GZIP, LARGEST_DOCUMENT, Links, blob_digest};
use crate::compress::Compression;
use crate::digest::Hasher;
use crate::error::PushError;
use crate::layers::Known;
use crate::progress::Progress;
use crate::registry::{Descriptor, MediaType, Pieces, Repository, Uploaded};

/// How zstd begins (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Layers on their way at once: one that is read, and one that ends meanwhile.
pub const AT_ONCE: usize = 2;

/// What is known of an archive before it is read.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The diff ids of the layers at these paths.
    pub by_path: HashMap<String, String>,
    /// The diff id of a layer in any other folder.
    pub otherwise: Option<String>,
    /// Whether every layer is a tar archive, whatever it begins with.
    pub unpacked: bool,
}

/// What is to be done with the layers, and how.
#[derive(Clone)]
pub struct Work {
    /// Where they go.
    pub repository: Arc<Repository>,
    /// What the registry is known to have.
    pub known: Arc<Known>,
    /// Whether layers that are not compressed are to be, and what layers unpack to is what counts.
    pub compress: bool,
    /// Whether layers under their own digest are unpacked to see that they are the configuration's. An engine has seen to
    /// that.
    pub checks: bool,
    /// How.
    pub compression: Arc<Compression>,
    /// Who tells how far it is.
    pub progress: Progress,
}

/// A layer of the archive that the registry has now.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// The digest of what it unpacks to, if it was unpacked.
    pub diff_id: Option<String>,
    /// Whether the registry has it under the digest that is its name in the archive.
    pub is_as_named: bool,
}

/// What an archive held.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Its documents.
    pub documents: Documents,
    /// Its layers, by path.
    pub layers: HashMap<String, Layer>,
    /// Bytes that went over the wire.
    pub sent: u64,
}

impl Unpacked {
    /// Whether what is at this path has come.
    pub fn has(&self, path: &str) -> bool {
        self.layers.contains_key(path) || self.documents.contains_key(path)
    }
}

impl Expected {
    fn diff_id(&self, path: &str) -> Option<&String> {
        self.by_path.get(path).or_else(|| self.otherwise.as_ref().filter(|_| path.ends_with("/layer.tar")))
    }
}

/// Reads an archive to its end, and sends the layers that are wanted on the way.
pub async fn unpack(
    mut entries: Entries,
    wanted: Wanted<'_>,
    expected: &Expected,
    work: &Work,
) -> Result<Unpacked, PushError> {
    let mut unpacked = Unpacked::default();
    let mut links = Links::new();
    let mut choice = Choice::from(wanted);
    let mut tasks: JoinSet<Result<(String, Layer, u64), PushError>> = JoinSet::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // A layer that fails ends the reading: many gigabytes may follow it.
        let entry = tokio::select! {
            Some(done) = tasks.join_next() => {
                keep(done, &mut unpacked, &work.known)?;
                continue;
            }
            entry = entries.recv() => entry,
        };
        let Some(entry) = entry else { break };
        let mut entry = entry?;
        if let Some(target) = entry.link.take() {
            links.insert(entry.path, target);
            continue;
        }
        let first = match entry.blocks.recv().await {
            None => Bytes::new(),
            Some(first) => first?,
        };
        let is_document = is_json(&first) && !expected.by_path.contains_key(&entry.path);
        if is_document && entry.size <= LARGEST_DOCUMENT {
            let mut content = BytesMut::from(first);
            while let Some(block) = entry.blocks.recv().await {
                content.extend_from_slice(&block?);
            }
            unpacked.documents.insert(entry.path, content.freeze());
            continue;
        }
        let is_layer = entry.path.starts_with("blobs/")
            || [".tar", ".tar.gz", ".tgz"].iter().any(|ending| entry.path.ends_with(ending));
        if !is_layer || !choice.has(&entry.path, &unpacked.documents)? {
            continue;
        }
        let place = Arc::clone(&places).acquire_owned().await;
        let diff_id = expected.diff_id(&entry.path).or_else(|| work.known.diff_id(&entry.path)).cloned();
        let kind = if expected.unpacked { Kind::Tar } else { Kind::of(&first, is_document) };
        let work = work.clone();
        tasks.spawn(async move {
            let _place = place;
            let path = entry.path.clone();
            let (layer, sent) = send(entry, first, kind, diff_id, &work).await?;
            Ok((path, layer, sent))
        });
    }
    while let Some(done) = tasks.join_next().await {
        keep(done, &mut unpacked, &work.known)?;
    }
    if choice.is_exceeded(unpacked.layers.keys(), &links, &unpacked.documents) {
        work.progress.warn(&format!(
            "layers of other images went to {} too, as the archive names its images behind them; from a file that \
             is not compressed as a whole only the image's own are sent",
            work.repository.path()
        ));
    }
    for path in links.keys() {
        if let Some(layer) = target(path, &links).and_then(|target| unpacked.layers.get(target)).cloned() {
            unpacked.layers.insert(path.clone(), layer);
        }
    }
    Ok(unpacked)
}

/// A digest as people are shown it.
pub fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A tar archive: what is nothing else, whatever it begins with. One without files is all zeros, or empty.
    Tar,
    /// One in gzip.
    Gzip,
    /// One in zstd.
    Zstd,
    /// Something of an artifact.
    Document,
}

impl Kind {
    /// As far as its beginning tells.
    fn of(first: &[u8], is_document: bool) -> Self {
        // A tar's first file may have a name that begins like any of the others.
        if is_tar(first) {
            Self::Tar
        } else if first.starts_with(&GZIP) {
            Self::Gzip
        } else if first.starts_with(&ZSTD) {
            Self::Zstd
        } else if is_document {
            Self::Document
        } else {
            Self::Tar
        }
    }
}

/// Whether this is how a JSON document begins, and not a tar archive of a file with an odd name.
pub(super) fn is_json(start: &[u8]) -> bool {
    matches!(start.first(), Some(b'{' | b'[')) && !is_tar(start)
}

/// Whether this is how a tar archive begins: with the magic of every format but that of 1979.
fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

type Sent = Result<Result<(String, Layer, u64), PushError>, tokio::task::JoinError>;

fn keep(done: Sent, unpacked: &mut Unpacked, known: &Known) -> Result<(), PushError> {
    let (path, layer, sent) = done.map_err(|error| PushError::Compression(error.to_string()))??;
    unpacked.sent += sent;
    if let Some(diff_id) = layer.diff_id.as_ref().filter(|_| !layer.is_as_named) {
        known.remember(diff_id, &layer.descriptor);
    }
    unpacked.layers.insert(path, layer);
    Ok(())
}

/// Sees to it that the registry has a layer; the bytes that it took.
async fn send(
    entry: Entry,
    first: Bytes,
    kind: Kind,
    expected: Option<String>,
    work: &Work,
) -> Result<(Layer, u64), PushError> {
    let named = blob_digest(&entry.path);
    let media_type = if kind == Kind::Zstd { MediaType::OCI_ZSTD_LAYER } else { MediaType::DOCKER_LAYER };
    let as_it_is = match kind {
        Kind::Gzip | Kind::Zstd => true,
        Kind::Document => named.is_some() || !work.compress,
        Kind::Tar => !work.compress,
    };
    let label = expected.as_ref().or(named.as_ref()).unwrap_or(&entry.path).clone();
    let short = short(&label);
    // A layer in zstd is not unpacked, for want of a decoder: of one under its digest that much is checked, and any other
    // is believed to be the configuration's.
    let check = kind == Kind::Gzip && (named.is_none() || (work.compress && work.checks));
    let kept = named.clone().filter(|_| as_it_is);
    let mut is_there = false;
    if let Some(digest) = &kept {
        is_there = work.known.has(digest, &work.repository).await?;
    } else if let Some(diff_id) = &expected
        && let Some(descriptor) = work.known.find(diff_id, &work.repository).await?
    {
        work.progress.note(&format!("{short}: already there"));
        return Ok((Layer { descriptor, diff_id: Some(diff_id.clone()), is_as_named: false }, 0));
    }
    if is_there {
        work.progress.note(&format!("{short}: already there"));
    }
    if let Some(digest) = kept.clone().filter(|_| is_there && !check) {
        let descriptor = Descriptor::new(media_type, entry.size, digest);
        return Ok((Layer { descriptor, diff_id: None, is_as_named: true }, 0));
    }
    let bar = work.progress.layer(&short, entry.size);
    let rest = entry.blocks;
    let blocks = stream::once(async move { Ok(first) })
        .chain(stream::unfold(rest, |mut rest| async move { rest.recv().await.map(|block| (block, rest)) }));
    let (to_unpack, unpacked) = check.then(unpacked_digest).unzip();
    let counted = blocks.then(move |block| {
        if let Ok(block) = &block {
            bar.add(block.len() as u64);
        }
        let to_unpack = to_unpack.clone();
        async move {
            if let (Some(to_unpack), Ok(block)) = (to_unpack, &block) {
                // Where it can't be unpacked any further, its digest will tell.
                let _ = to_unpack.send(Ok(block.clone())).await;
            }
            block
        }
    });
    let mut pieces: Pieces<'_> =
        if as_it_is { Box::pin(counted) } else { Box::pin(Arc::clone(&work.compression).gzip(counted)) };
    let uploaded = match kept.clone().filter(|_| is_there) {
        Some(digest) => {
            while let Some(piece) = pieces.next().await {
                piece?;
            }
            drop(pieces);
            Uploaded { digest, size: entry.size, sent: 0 }
        }
        None => work.repository.upload(pieces, kept.as_deref()).await?,
    };
    let content = entry.digest.await.map_err(|_| PushError::Archive {
        name: entry.path.clone(),
        problem: "it ends before its size".to_owned(),
    })?;
    if let Some(stated) = named.filter(|stated| *stated != content) {
        let problem = format!("its content has the digest {content}, not {stated}");
        return Err(PushError::Archive { name: entry.path, problem });
    }
    let diff_id = match unpacked {
        Some(digest) => Some(digest.await.map_err(io::Error::other).flatten().map_err(|cause| {
            let problem = format!("it can't be unpacked: {cause}");
            PushError::Archive { name: entry.path.clone(), problem }
        })?),
        None => matches!(kind, Kind::Tar | Kind::Document).then_some(content),
    };
    let descriptor = Descriptor::new(media_type, uploaded.size, uploaded.digest);
    Ok((Layer { descriptor, diff_id, is_as_named: kept.is_some() }, uploaded.sent))
}

/// Unpacks what is sent there, and tells the digest of that.
fn unpacked_digest() -> (mpsc::Sender<Result<Bytes, PushError>>, JoinHandle<io::Result<String>>) {
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, PushError>>(2);
    let unpacked = tokio::task::spawn_blocking(move || {
        let arriving = iter::from_fn(|| Some(receiver.blocking_recv()?.map_err(io::Error::other)));
        let mut unpacked = MultiGzDecoder::new(Arriving::new(arriving));
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match unpacked.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                size => hasher.update(&buffer[..size]),
            }
        }
    });
    (sender, unpacked)
}
