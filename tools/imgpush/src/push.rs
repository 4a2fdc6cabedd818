//! One image: asked for, pushed if need be, and confirmed.

use std::path::PathBuf;
use std::sync::Arc;

use image_reference::ImageReference;
use serde_json::{Value, json};
use step::Console;

use crate::archive::{Folder, Graph, Saved, Work, documents_of, saved};
use crate::direct::{self, Ready};
use crate::engine::{Engine, EnginePush, LocalImage};
use crate::error::PushError;
use crate::layers::Known;
use crate::progress::Progress;
use crate::registry::{Manifest, Repository, TRIES, pause};

/// Where images come from.
pub enum Source {
    /// The container engine.
    Engine(Engine),
    /// A folder with an OCI image layout.
    Folder(Folder),
    /// An archive of such a folder; `None` is stdin.
    OciArchive(Option<PathBuf>),
    /// What `docker save` writes; `None` is stdin.
    DockerArchive(Option<PathBuf>),
}

/// Who sends an engine's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Way {
    /// The engine, unless it would have to compress much
    #[default]
    Auto,
    /// The engine
    Daemon,
    /// This program, from the engine's export
    Direct,
}

/// What became of an image.
#[derive(Debug)]
pub struct Pushed {
    /// `REPOSITORY:TAG`.
    pub reference: String,
    /// The digest that the registry confirmed.
    pub digest: String,
    /// Whether anything was sent.
    pub changed: bool,
    /// Who sent it.
    pub engine: Option<&'static str>,
    /// The bytes of layers and configuration that went over the wire.
    pub sent: u64,
}

impl Pushed {
    /// The record on stdout.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.reference, self.digest)
    }

    /// The entry of `--output json`.
    pub fn fields(&self) -> Value {
        json!({
            "reference": self.reference,
            "digest": self.digest,
            "changed": self.changed,
            "engine": self.engine,
            "bytesSent": self.sent,
        })
    }
}

/// What happened to a push that was asked for.
#[derive(Debug)]
pub enum Outcome {
    /// The registry has it.
    There(Pushed),
    /// The tag has other content, and that must stay.
    Clobbers {
        /// `REPOSITORY:TAG`.
        reference: String,
        /// What is there.
        digest: String,
    },
}

/// How to push.
#[derive(Debug, Clone)]
pub struct Options {
    /// Leave a tag that has other content.
    pub no_clobber: bool,
    /// Find out, and send nothing.
    pub dry_run: bool,
    /// Who sends an engine's image.
    pub way: Way,
    /// How well layers are compressed.
    pub level: u8,
    /// On how many threads.
    pub threads: usize,
    /// Further tags.
    pub also: Vec<String>,
    /// Further images of the same registry whose layers are looked at: repository path and tag.
    pub learn_from: Vec<(String, String)>,
}

/// What is known of an image before anything is read of its layers.
enum Local {
    Engine(LocalImage),
    Graph(Graph),
    Saved(Saved),
    Unknown,
}

impl Local {
    fn is(&self, there: &Manifest) -> bool {
        let config = there.config.as_ref().map(|config| &config.digest);
        match self {
            // The classic store names an image by its configuration, the containerd store by its manifest.
            Self::Engine(image) => config == Some(&image.id) || there.digest == image.id,
            Self::Graph(graph) => graph.manifests.last().is_some_and(|(top, _)| top.digest == there.digest),
            Self::Saved(saved) => config == Some(&saved.id),
            Self::Unknown => false,
        }
    }
}

/// Sees to it that the registry holds an image under its tag.
pub async fn push(
    source: &Source,
    repository: &Arc<Repository>,
    image: &ImageReference,
    options: &Options,
    console: &Console,
) -> Result<Outcome, PushError> {
    let tag = image.tag().unwrap_or("latest");
    let reference = format!("{}:{tag}", image.repository());
    let local = look(source, image, tag).await?;
    let there = repository.manifest(tag).await?;
    if let Some(there) = there.as_ref().filter(|there| local.is(there)) {
        console.note(format!("{reference} is already there"));
        let changed = name_also(repository, there, options, console).await?;
        let digest = there.digest.clone();
        return Ok(Outcome::There(Pushed { reference, digest, changed, engine: None, sent: 0 }));
    }
    if let Some(there) = &there
        && options.no_clobber
        && !matches!(local, Local::Unknown)
    {
        return Ok(Outcome::Clobbers { reference, digest: there.digest.clone() });
    }
    let known = learn(repository, there.as_ref(), options).await?;
    let work = Work {
        repository: Arc::clone(repository),
        known: Arc::new(known),
        compress: !matches!(source, Source::OciArchive(_) | Source::Folder(_)),
        level: options.level,
        threads: options.threads,
        progress: Progress::new(console.clone()),
    };
    if let (Source::Engine(engine), Local::Engine(local)) = (source, &local)
        && let Some((told, sent)) = by_engine(engine, local, image, tag, &work, options, console).await?
    {
        return confirm(repository, reference, tag, told, "daemon", sent, options, console).await;
    }
    let Some(ready) = send_directly(source, local, image, tag, &work, console).await? else {
        return Err(PushError::NoReference);
    };
    let same = there.as_ref().is_some_and(|there| there.digest == ready.digest);
    if let Some(there) = there.filter(|_| options.no_clobber && !same) {
        return Ok(Outcome::Clobbers { reference, digest: there.digest });
    }
    if options.dry_run {
        console.note(format!("{reference} would be pushed"));
        let (digest, sent) = (ready.digest, 0);
        return Ok(Outcome::There(Pushed {
            reference,
            digest,
            changed: !same,
            engine: Some("direct"),
            sent,
        }));
    }
    if !same {
        repository.put_manifest(tag, &ready.media_type, ready.body).await?;
    }
    confirm(repository, reference, tag, Some(ready.digest), "direct", ready.sent, options, console).await
}

/// What can be known at once.
async fn look(source: &Source, image: &ImageReference, tag: &str) -> Result<Local, PushError> {
    Ok(match source {
        Source::Engine(engine) => {
            Local::Engine(engine.image(&format!("{}:{tag}", image.repository())).await?)
        }
        Source::Folder(folder) => Local::Graph(folder.graph(image, tag)?),
        Source::DockerArchive(Some(file)) => {
            Local::Saved(saved(&documents_of(file)?, image, tag, &file.display().to_string())?)
        }
        Source::DockerArchive(None) | Source::OciArchive(_) => Local::Unknown,
    })
}

/// What earlier images tell of the layers that the registry has.
async fn learn(
    repository: &Repository,
    there: Option<&Manifest>,
    options: &Options,
) -> Result<Known, PushError> {
    let mut known = Known::default();
    for (path, tag) in &options.learn_from {
        repository.mount_from(path);
        if let Some(manifest) = repository.manifest_of(path, tag).await? {
            known.learn(repository, path, &manifest).await?;
        }
    }
    let latest = repository.manifest("latest").await?;
    for manifest in latest.iter().chain(there) {
        known.learn(repository, repository.path(), manifest).await?;
    }
    Ok(known)
}

/// Lets the engine push, if that is wanted and is not the slower way; the digest and the bytes that it told.
async fn by_engine(
    engine: &Engine,
    local: &LocalImage,
    image: &ImageReference,
    tag: &str,
    work: &Work,
    options: &Options,
    console: &Console,
) -> Result<Option<(Option<String>, u64)>, PushError> {
    if options.way == Way::Direct || options.dry_run {
        return Ok(None);
    }
    let automatic = options.way == Way::Auto;
    let most = automatic.then(|| worth_compressing_here(local.size));
    let credentials = work.repository.credentials();
    let mut tries = 0;
    loop {
        let reason = match engine.push(image, tag, credentials, most, console).await {
            Ok(EnginePush::Done { digest, sent }) => return Ok(Some((digest, sent))),
            Ok(EnginePush::Stopped { sending }) => {
                format!("it has {} to compress on one thread a layer", indicatif::HumanBytes(sending))
            }
            Err(PushError::NoImage(image)) => return Err(PushError::NoImage(image)),
            Err(error) if automatic => error.to_string(),
            Err(PushError::Engine { message, transient: true, .. }) if tries + 1 < TRIES => {
                tries += 1;
                console.detail(format!("the engine failed ({message}); trying again"));
                tokio::time::sleep(pause(tries, None)).await;
                continue;
            }
            Err(PushError::Engine { message, .. }) if is_unauthorized(&message) => {
                return Err(work.repository.unauthorized(""));
            }
            Err(error) => return Err(error),
        };
        console.detail(format!("sending directly, not through the engine: {reason}"));
        return Ok(None);
    }
}

/// From how many bytes on a push is done faster here than by the engine. The engine compresses some 30 MB/s a
/// layer; here the whole image must be exported first, at some 140 MB/s, and then goes at over 100 MB/s a thread.
const fn worth_compressing_here(image_size: u64) -> u64 {
    let quarter = image_size / 4;
    if quarter > 24 << 20 { quarter } else { 24 << 20 }
}

/// Sends everything but the manifest; `None` where the source does not fit what is known of it.
async fn send_directly(
    source: &Source,
    local: Local,
    image: &ImageReference,
    tag: &str,
    work: &Work,
    console: &Console,
) -> Result<Option<Ready>, PushError> {
    let mut work = work.clone();
    let mut tries = 0;
    // A folder's graph is sent once; what it is made of can be read again by its own uploads.
    if let (Source::Folder(folder), Local::Graph(graph)) = (source, &local) {
        let again = |graph: &Graph| Graph { manifests: graph.manifests.clone(), blobs: graph.blobs.clone() };
        loop {
            match direct::from_folder(folder, again(graph), &work).await {
                Err(PushError::Interrupted(reason)) if tries < 3 => {
                    tries += 1;
                    console.detail(format!("{reason}; reading it again"));
                }
                result => return result.map(Some),
            }
        }
    }
    loop {
        let sent = match (source, &local) {
            (Source::Engine(engine), Local::Engine(local)) => {
                direct::from_engine(engine, local, image, tag, &work).await
            }
            (Source::DockerArchive(file), local) => {
                let known = if let Local::Saved(saved) = local { Some(saved) } else { None };
                direct::from_docker_archive(file.as_ref(), known, image, tag, &work).await
            }
            (Source::OciArchive(file), _) => direct::from_oci_archive(file.as_ref(), image, tag, &work).await,
            _ => return Ok(None),
        };
        let from_stdin = matches!(source, Source::DockerArchive(None) | Source::OciArchive(None));
        match sent {
            Err(PushError::Interrupted(reason)) if tries < 3 && !from_stdin => {
                tries += 1;
                console.detail(format!("{reason}; reading it again"));
            }
            // What was skipped as known was another layer: everything is looked at then.
            Err(PushError::Mismatch { .. }) if tries < 3 && !from_stdin => {
                tries += 1;
                work.known = Arc::default();
            }
            result => return result.map(Some),
        }
    }
}

/// The image once the registry has confirmed it by tag and by digest, under its further tags too.
#[expect(clippy::too_many_arguments, reason = "each is a fact of the push that ends here")]
async fn confirm(
    repository: &Repository,
    reference: String,
    tag: &str,
    told: Option<String>,
    engine: &'static str,
    sent: u64,
    options: &Options,
    console: &Console,
) -> Result<Outcome, PushError> {
    let found = repository.confirmed(tag).await?;
    match found {
        Some(digest) if told.as_ref().is_none_or(|told| *told == digest) => {
            if let Some(manifest) = repository.manifest(&digest).await?.filter(|_| !options.also.is_empty()) {
                name_also(repository, &manifest, options, console).await?;
            }
            console.note(format!("{reference} pushed, {} sent ({engine})", indicatif::HumanBytes(sent)));
            Ok(Outcome::There(Pushed { reference, digest, changed: true, engine: Some(engine), sent }))
        }
        found => Err(PushError::Unconfirmed {
            reference,
            pushed: told.unwrap_or_else(|| "an unknown digest".to_owned()),
            found: found.unwrap_or_else(|| "nothing".to_owned()),
        }),
    }
}

/// Puts the manifest under the further tags; whether any had to be.
async fn name_also(
    repository: &Repository,
    manifest: &Manifest,
    options: &Options,
    console: &Console,
) -> Result<bool, PushError> {
    let mut changed = false;
    for tag in &options.also {
        let there = repository.manifest(tag).await?.map(|there| there.digest);
        if there.as_ref() == Some(&manifest.digest) {
            continue;
        }
        if options.no_clobber
            && let Some(found) = there
        {
            console.warn(format!("the tag {tag} is there with other content ({found}), and was left"));
            continue;
        }
        changed = true;
        if options.dry_run {
            continue;
        }
        repository.put_manifest(tag, &manifest.media_type, manifest.body.clone()).await?;
        let found = repository.confirmed(tag).await?;
        if found.as_ref() != Some(&manifest.digest) {
            return Err(PushError::Unconfirmed {
                reference: tag.clone(),
                pushed: manifest.digest.clone(),
                found: found.unwrap_or_else(|| "nothing".to_owned()),
            });
        }
    }
    Ok(changed)
}

fn is_unauthorized(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["unauthorized", "denied", "authentication required", "no basic auth"]
        .iter()
        .any(|word| lower.contains(word))
}
