//! An image, straight from where it is to the registry.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use image_reference::ImageReference;
use serde_json::json;

use crate::archive::{
    AT_ONCE, Arriving, Documents, Entry, Expected, Folder, GZIP, Graph, Paths, Saved, Unpacked, Wanted, Work,
    blob_path, by_digest, graph, open, root, root_of, saved, short, told_by_index, told_by_manifest, unpack,
};
use crate::engine::{Engine, LocalImage, Storage, expected_paths};
use crate::error::PushError;
use crate::registry::{Descriptor, Manifest, MediaType, Repository};

/// A manifest whose layers the registry has, ready to be put under a tag.
#[derive(Debug)]
pub struct Ready {
    /// Its digest.
    pub digest: String,
    /// What kind it is.
    pub media_type: String,
    /// Its bytes.
    pub body: Bytes,
    /// The image's id, where that is what the image was asked for by, and not its manifest.
    pub id: Option<String>,
    /// Bytes of layers that went over the wire.
    pub sent: u64,
}

impl Ready {
    /// Whether the registry has the same image there, however it is compressed.
    pub fn is(&self, there: &Manifest) -> bool {
        let id = there.config.as_ref().map(|config| &config.digest);
        self.digest == there.digest || (self.id.is_some() && self.id.as_ref() == id)
    }
}

/// Sends what an image in the engine's storage needs.
pub async fn from_storage(
    storage: &Storage,
    local: &LocalImage,
    image: &ImageReference,
    tag: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let saved = Saved {
        config: storage.configuration.clone(),
        id: local.id.clone(),
        diff_ids: local.diff_ids.clone(),
        layers: local.diff_ids.iter().map(|diff_id| blob_path(diff_id)).collect(),
    };
    let expected = Expected { by_path: saved.by_path(), otherwise: None, unpacked: true };
    // The same layer may be there twice, upon different others.
    let mut seen = HashSet::new();
    let layers = storage.layers.iter().filter(|layer| seen.insert(&layer.diff_id)).cloned().collect();
    let entries = Entry::read_stored(layers, work.compression.blocks())?;
    let unpacked = unpack(entries, Wanted::All, &expected, work).await?;
    finish_saved(unpacked, saved, image, tag, "the engine's storage", work).await
}

/// Sends what an engine's image needs, from the engine's export.
pub async fn from_engine(
    engine: &Engine,
    local: &LocalImage,
    image: &ImageReference,
    tag: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let reference = format!("{}:{tag}", image.repository());
    let expected = Expected {
        by_path: expected_paths(&local.diff_ids),
        otherwise: local.diff_ids.last().cloned(),
        unpacked: false,
    };
    let name = format!("the engine's export of {reference}");
    let export = Arriving::new(engine.export(&reference, &work.progress));
    let entries = Entry::read(export, name.clone(), work.compression.blocks())?;
    let unpacked = unpack(entries, Wanted::All, &expected, work).await?;
    let saved = saved(&unpacked.documents, image, tag, &name)?;
    finish_saved(unpacked, saved, image, tag, &name, work).await
}

/// Sends what an image in a `docker save` archive needs; no file is stdin. Of a file may be known what the image is, and the
/// paths of what it needs.
pub async fn from_docker_archive(
    file: Option<&PathBuf>,
    known: Option<(&Saved, &Paths)>,
    image: &ImageReference,
    tag: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let expected = known.map_or_else(Expected::default, |(saved, _)| Expected {
        by_path: saved.by_path(),
        ..Expected::default()
    });
    let (input, name) = input(file)?;
    let entries = Entry::read(input, name.clone(), work.compression.blocks())?;
    let told = |documents: &Documents| told_by_manifest(documents, image, tag, &name);
    let wanted = known.map_or(Wanted::Told(&told), |(_, paths)| Wanted::At(paths.clone()));
    let unpacked = unpack(entries, wanted, &expected, work).await?;
    let saved = saved(&unpacked.documents, image, tag, &name)?;
    finish_saved(unpacked, saved, image, tag, &name, work).await
}

/// Sends what an image in an archive of an OCI layout needs; no file is stdin. Of a file may be known what that is.
pub async fn from_oci_archive(
    file: Option<&PathBuf>,
    known: Option<&Graph>,
    image: &ImageReference,
    tag: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let (input, name) = input(file)?;
    let entries = Entry::read(input, name.clone(), work.compression.blocks())?;
    let told = |documents: &Documents| told_by_index(documents, image, tag, &name);
    let wanted = known.map_or(Wanted::Told(&told), |graph| Wanted::At(graph.paths()));
    let unpacked = unpack(entries, wanted, &Expected::default(), work).await?;
    let root = root(&unpacked.documents, image, tag, &name)?;
    let graph = graph(&root, &name, &by_digest(&unpacked.documents))?;
    finish_layout(&unpacked, graph, &name, work).await
}

/// Sends what an image in a folder with an OCI layout needs.
pub async fn from_folder(folder: &Folder, graph: Graph, work: &Work) -> Result<Ready, PushError> {
    let blobs = stream::iter(&graph.blobs).map(|blob| blob_from_folder(folder, blob, work));
    let sent = blobs.buffer_unordered(AT_ONCE).try_fold(0, |all, sent| async move { Ok(all + sent) }).await?;
    put_children(graph, &work.repository, sent).await
}

/// Sees to it that the registry has a blob; the bytes that it took.
async fn blob_from_folder(folder: &Folder, blob: &Descriptor, work: &Work) -> Result<u64, PushError> {
    if work.known.has(&blob.digest, &work.repository).await? {
        return Ok(0);
    }
    let another = || PushError::Archive {
        name: folder.0.display().to_string(),
        problem: format!("the content of {} is not what its digest says", blob.digest),
    };
    if !folder.may_be_sent(&blob.digest).await? {
        return Err(another());
    }
    let bar = work.progress.layer(&short(&blob.digest), blob.size);
    let pieces = folder.blob(&blob.digest).await?.inspect(move |piece| {
        if let Ok(piece) = piece {
            bar.add(piece.len() as u64);
        }
    });
    let uploaded = work.repository.upload(Box::pin(pieces), Some(&blob.digest)).await?;
    if uploaded.digest == blob.digest { Ok(uploaded.sent) } else { Err(another()) }
}

/// Makes the manifest of a saved image whose layers are in the registry.
async fn finish_saved(
    unpacked: Unpacked,
    saved: Saved,
    image: &ImageReference,
    tag: &str,
    name: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let mut layers = Vec::with_capacity(saved.layers.len());
    for (path, diff_id) in saved.layers.iter().zip(&saved.diff_ids) {
        let layer = unpacked.layers.get(path).ok_or_else(|| damaged(format!("there is no {path}")))?;
        if layer.diff_id.as_ref().is_some_and(|found| found != diff_id) {
            return Err(PushError::Mismatch { name: name.to_owned(), path: path.clone() });
        }
        layers.push(layer);
    }
    // The containerd store keeps the manifest that it was given, with the digest that people know. It is the one of the
    // image that manifest.json has chosen.
    if layers.iter().all(|layer| layer.is_as_named)
        && unpacked.documents.contains_key("index.json")
        && let Some((root, alone)) = root_of(&unpacked.documents, &saved.id, image, tag, name)?
    {
        // Of an index whose platforms are not all here the image goes alone, as docker does it: an engine has pulled one
        // platform only.
        let document = by_digest(&unpacked.documents);
        let is_here = |graph: &Graph| graph.paths().iter().all(|path| unpacked.has(path));
        let graph = match graph(&root, name, &document) {
            Ok(whole) if is_here(&whole) => whole,
            _ => graph(&alone, name, &document)?,
        };
        return finish_layout(&unpacked, graph, name, work).await;
    }
    let mut layers: Vec<Descriptor> = layers.into_iter().map(|layer| layer.descriptor.clone()).collect();
    let is_oci = layers.iter().any(|layer| layer.media_type == MediaType::OCI_ZSTD_LAYER);
    let (media_type, config_type) = if is_oci {
        // A docker manifest with a layer of a type that docker has not is refused by other engines.
        for layer in layers.iter_mut().filter(|layer| layer.media_type == MediaType::DOCKER_LAYER) {
            MediaType::OCI_LAYER.clone_into(&mut layer.media_type);
        }
        (MediaType::OCI_MANIFEST, MediaType::OCI_CONFIG)
    } else {
        (MediaType::DOCKER_MANIFEST, MediaType::DOCKER_CONFIG)
    };
    let config = Descriptor::new(config_type, saved.config.len() as u64, saved.id.clone());
    let config_sent = if work.repository.put_blob(saved.config.clone()).await? { config.size } else { 0 };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config,
        "layers": layers,
    });
    let body = Bytes::from(manifest.to_string());
    Ok(Ready {
        digest: crate::digest::of(&body),
        media_type: media_type.to_owned(),
        body,
        id: Some(saved.id),
        sent: unpacked.sent + config_sent,
    })
}

/// Puts what a layout's image needs besides its layers.
async fn finish_layout(
    unpacked: &Unpacked,
    graph: Graph,
    name: &str,
    work: &Work,
) -> Result<Ready, PushError> {
    let damaged = |problem: String| PushError::Archive { name: name.to_owned(), problem };
    let documents = &unpacked.documents;
    let mut sent = unpacked.sent;
    for blob in &graph.blobs {
        let path = blob_path(&blob.digest);
        if unpacked.layers.contains_key(&path) {
            continue;
        }
        match documents.get(&path) {
            Some(content) if crate::digest::of(content) != blob.digest => {
                return Err(damaged(format!("the content of {path} is not what its digest says")));
            }
            _ if work.known.has(&blob.digest, &work.repository).await? => {}
            Some(content) => {
                sent += if work.repository.put_blob(content.clone()).await? { blob.size } else { 0 };
            }
            None => return Err(damaged(format!("there is no {path}"))),
        }
    }
    put_children(graph, &work.repository, sent).await
}

/// Puts the manifests that an index names; the last one is ready for its tag.
async fn put_children(mut graph: Graph, repository: &Repository, sent: u64) -> Result<Ready, PushError> {
    let Some((top, body)) = graph.manifests.pop() else {
        return Err(PushError::Compression("an image without a manifest".to_owned()));
    };
    for (child, body) in graph.manifests {
        repository.put_manifest(&child.digest, &child.media_type, body).await?;
    }
    Ok(Ready { digest: top.digest, media_type: top.media_type, body, id: None, sent })
}

fn input(file: Option<&PathBuf>) -> Result<(Box<dyn Read + Send>, String), PushError> {
    let (mut input, name): (Box<dyn Read + Send>, String) = match file {
        Some(file) => (Box::new(open(file)?), file.display().to_string()),
        None => (Box::new(io::stdin()), "the archive on stdin".to_owned()),
    };
    let mut start = Vec::new();
    let read = input.by_ref().take(GZIP.len() as u64).read_to_end(&mut start);
    read.map_err(|cause| PushError::Archive { name: name.clone(), problem: cause.to_string() })?;
    let is_gzip = start == GZIP;
    let whole = Read::chain(io::Cursor::new(start), input);
    Ok((if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) }, name))
}
