//! One image: asked for, pushed if need be, and confirmed.

use std::sync::Arc;

use image_reference::ImageReference;
use step::Console;

use crate::archive::Work;
use crate::compress::{Compression, Level};
use crate::direct::{self, Ready};
use crate::engine::Storage;
use crate::error::PushError;
use crate::layers::{Image, Known};
use crate::outcome::{Outcome, Pushed};
use crate::progress::Progress;
use crate::registry::{Manifest, Repository, TRIES, pause};
use crate::source::{Local, Source};
use crate::way::Way;
use crate::words::shown;

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
    pub level: Level,
    /// On how many threads.
    pub threads: usize,
    /// Further tags.
    pub also: Vec<String>,
    /// Images of the same registry whose layers are looked at: repository path and tag.
    pub learn_from: Vec<(String, String)>,
    /// The images that this run has pushed to the same registry.
    pub earlier: Vec<(String, String)>,
}

/// One image on its way.
pub struct Push<'a> {
    /// Where it comes from.
    pub source: &'a Source,
    /// Where it goes.
    pub repository: &'a Arc<Repository>,
    /// Its name, in the source too.
    pub image: &'a ImageReference,
    /// How.
    pub options: &'a Options,
    /// Whom to tell.
    pub console: &'a Console,
}

impl Push<'_> {
    /// Sees to it that the registry holds the image under its tag.
    pub async fn run(&self) -> Result<Outcome, PushError> {
        let mut local = self.source.look(self.image, self.tag()).await?;
        let there = self.repository.manifest(self.tag()).await?;
        if let Some(there) = &there {
            self.recognise(&mut local, there).await?;
        }
        if !matches!(local, Local::Unknown)
            && let Some(clobbers) = self.clobbers(there.as_ref(), |found| local.is(found)).await?
        {
            return Ok(clobbers);
        }
        if let Some(there) = there.as_ref().filter(|there| local.is(there)) {
            return self.already_there(there, 0).await;
        }
        let mut known = Known::default();
        known.learn(self.repository, &self.options.earlier).await;
        if let Some(outcome) = self.adopt(&known, &local, there.as_ref()).await? {
            return Ok(outcome);
        }
        let storage = self.storage(&local).await;
        if let (Source::Engine(engine), Local::Engine(image)) = (self.source, &local)
            && let Some((told, sent)) = self.by_engine(engine, image, storage.is_some()).await?
        {
            // An engine that ends without a word about the digest must have pushed this image all the same.
            let (pushed, is_it): (_, &dyn Fn(&Manifest) -> bool) = match &told {
                Some(told) => (told.as_str(), &|found| found.digest == *told),
                None => ("an image whose digest the engine did not tell", &|found| local.is(found)),
            };
            return self.confirm(pushed, is_it, "daemon", sent).await;
        }
        known.learn(self.repository, &self.options.learn_from).await;
        known.learn_here(self.repository, self.tag(), there.as_ref()).await;
        if let Some(outcome) = self.adopt(&known, &local, there.as_ref()).await? {
            return Ok(outcome);
        }
        let ready = self.send_directly(local, storage, known).await?;
        self.put(ready, there.as_ref()).await
    }

    /// Finds out whether the configuration of what stands under the tag is that of an image whose id tells nothing of it.
    async fn recognise(&self, local: &mut Local, there: &Manifest) -> Result<(), PushError> {
        let is_described = matches!(local, Local::Engine(image) if image.description.is_some());
        let Some(config) = there.config.as_ref().filter(|_| is_described && !local.is(there)) else {
            return Ok(());
        };
        let Some(content) = self.repository.blob(self.repository.path(), &config.digest).await? else {
            return Ok(());
        };
        if local.has_configuration(&content)
            && let Local::Engine(image) = local
        {
            image.configuration = Some(config.digest.clone());
        }
        Ok(())
    }

    /// The tag holds this image, so that nothing but further tags may be wanting.
    async fn already_there(&self, there: &Manifest, sent: u64) -> Result<Outcome, PushError> {
        self.console.note(format!("{} is already there", self.reference()));
        let (changed, unnamed) = self.name_also(there).await;
        let pushed = Pushed {
            reference: self.reference(),
            digest: there.digest.clone(),
            changed,
            engine: (sent > 0).then_some("direct"),
            sent,
        };
        Ok(Outcome::There { pushed, unnamed })
    }

    pub(crate) fn tag(&self) -> &str {
        self.image.tag().unwrap_or("latest")
    }

    fn reference(&self) -> String {
        format!("{}:{}", self.image.repository(), self.tag())
    }

    /// The answer to `--no-clobber` where one of the tags has other content.
    async fn clobbers(
        &self,
        there: Option<&Manifest>,
        is_ours: impl Fn(&Manifest) -> bool,
    ) -> Result<Option<Outcome>, PushError> {
        if !self.options.no_clobber {
            return Ok(None);
        }
        let other = |tag: &str, found: &Manifest| {
            let reference = format!("{}:{tag}", self.image.repository());
            (!is_ours(found)).then(|| Outcome::Clobbers { reference, digest: found.digest.clone() })
        };
        if let Some(other) = there.and_then(|found| other(self.tag(), found)) {
            return Ok(Some(other));
        }
        for tag in &self.options.also {
            if let Some(other) = self.repository.manifest(tag).await?.and_then(|found| other(tag, &found)) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Names the image by its tag where the registry has it under another name, without sending a byte of it.
    async fn adopt(
        &self,
        known: &Known,
        local: &Local,
        there: Option<&Manifest>,
    ) -> Result<Option<Outcome>, PushError> {
        if matches!(self.source, Source::Engine(_)) && self.options.way == Way::Daemon {
            return Ok(None);
        }
        let is_it = |image: &&Image| {
            local.is(&image.manifest)
                || image
                    .configuration
                    .as_ref()
                    .is_some_and(|configuration| local.has_configuration(configuration))
        };
        for image in known.images().iter().filter(is_it) {
            if known.bring(self.repository, image).await? {
                let manifest = &image.manifest;
                self.console.detail(format!("{} has this image under another name", self.repository.path()));
                let ready = Ready {
                    digest: manifest.digest.clone(),
                    media_type: manifest.media_type.clone(),
                    body: manifest.body.clone(),
                    id: None,
                    sent: 0,
                };
                return Ok(Some(self.put(ready, there).await?));
            }
        }
        Ok(None)
    }

    /// The engine's storage, where the image may be read from it.
    async fn storage(&self, local: &Local) -> Option<Storage> {
        let (Source::Engine(engine), Local::Engine(image)) = (self.source, local) else { return None };
        if self.options.way == Way::Daemon {
            return None;
        }
        let storage = engine.storage(image).await;
        if let Err(reason) = &storage {
            self.console.detail(format!("the engine's storage can't be read here: {}", shown(reason)));
        }
        storage.ok()
    }

    /// Sends everything but the manifest.
    async fn send_directly(
        &self,
        local: Local,
        mut storage: Option<Storage>,
        known: Known,
    ) -> Result<Ready, PushError> {
        let mut work = Work {
            repository: Arc::clone(self.repository),
            known: Arc::new(known),
            compress: !matches!(self.source, Source::OciArchive(_) | Source::Folder(_)),
            checks: matches!(self.source, Source::DockerArchive(_)),
            compression: Arc::new(Compression::new(self.options.level, self.options.threads)),
            progress: Progress::new(self.console.clone()),
        };
        if storage.is_some() {
            self.console.detail("reading layers in the engine's storage");
        }
        let mut tries = 0;
        loop {
            let (image, tag) = (self.image, self.tag());
            let sent = match (self.source, &local) {
                (Source::Engine(engine), Local::Engine(local)) => match &storage {
                    Some(storage) => direct::from_storage(storage, local, image, tag, &work).await,
                    None => direct::from_engine(engine, local, image, tag, &work).await,
                },
                (Source::Folder(folder), Local::Graph(graph)) => {
                    direct::from_folder(folder, graph.clone(), &work).await
                }
                (Source::DockerArchive(file), Local::Saved(saved, paths)) => {
                    direct::from_docker_archive(file.as_ref(), Some((saved, paths)), image, tag, &work).await
                }
                (Source::DockerArchive(file), _) => {
                    direct::from_docker_archive(file.as_ref(), None, image, tag, &work).await
                }
                (Source::OciArchive(file), Local::Graph(graph)) => {
                    direct::from_oci_archive(file.as_ref(), Some(graph), image, tag, &work).await
                }
                (Source::OciArchive(file), _) => {
                    direct::from_oci_archive(file.as_ref(), None, image, tag, &work).await
                }
                (Source::Engine(_) | Source::Folder(_), _) => return Err(PushError::NoReference),
            };
            let from_stdin = matches!(self.source, Source::DockerArchive(None) | Source::OciArchive(None));
            tries += 1;
            match sent {
                Err(error @ PushError::Storage(_)) => {
                    self.console.note(format!("{}; taking the engine's export", shown(&error.to_string())));
                    (storage, tries) = (None, 0);
                }
                Err(PushError::Interrupted(reason) | PushError::NoEngine(reason))
                    if tries < TRIES && !from_stdin =>
                {
                    self.console.detail(format!("{}; reading it again", shown(&reason)));
                    tokio::time::sleep(pause(tries, None)).await;
                }
                // What was skipped as known was another layer: everything is looked at then.
                Err(PushError::Mismatch { .. }) if tries < 2 && !from_stdin => work.known = Arc::default(),
                result => return result,
            }
        }
    }

    /// Puts a manifest whose blobs are there under the tag.
    async fn put(&self, ready: Ready, there: Option<&Manifest>) -> Result<Outcome, PushError> {
        // While layers were sent somebody else may have put something there.
        let since = if self.options.no_clobber { self.repository.manifest(self.tag()).await? } else { None };
        let there = since.as_ref().or(there);
        if let Some(clobbers) = self.clobbers(there, |found| ready.is(found)).await? {
            return Ok(clobbers);
        }
        if let Some(there) = there.filter(|there| ready.is(there)) {
            return self.already_there(there, ready.sent).await;
        }
        if self.options.dry_run {
            self.console.note(format!("{} would be pushed", self.reference()));
            let pushed = Pushed {
                reference: self.reference(),
                digest: ready.digest,
                changed: true,
                engine: Some("direct"),
                sent: 0,
            };
            return Ok(Outcome::There { pushed, unnamed: None });
        }
        match self.repository.put_manifest(self.tag(), &ready.media_type, ready.body.clone()).await {
            // Another job may have put the same under a tag that can't be moved any more.
            Err(error @ PushError::Refused { .. }) => {
                let found = self.repository.manifest(self.tag()).await.ok().flatten();
                return match found.filter(|found| ready.is(found)) {
                    Some(found) => self.already_there(&found, ready.sent).await,
                    None => Err(error),
                };
            }
            put => put?,
        }
        self.confirm(&ready.digest, &|found| found.digest == ready.digest, "direct", ready.sent).await
    }

    /// The image once the registry has confirmed it by tag and by digest, under its further tags too.
    async fn confirm(
        &self,
        pushed: &str,
        is_it: &dyn Fn(&Manifest) -> bool,
        engine: &'static str,
        sent: u64,
    ) -> Result<Outcome, PushError> {
        let manifest = self.repository.confirmed(self.tag(), pushed, is_it).await?;
        let (_, unnamed) = self.name_also(&manifest).await;
        let reference = self.reference();
        self.console.note(format!("{reference} pushed, {} sent ({engine})", indicatif::HumanBytes(sent)));
        let digest = manifest.digest;
        let pushed = Pushed { reference, digest, changed: true, engine: Some(engine), sent };
        Ok(Outcome::There { pushed, unnamed })
    }

    /// Puts the manifest under the further tags; whether any had to be, and why one could not.
    async fn name_also(&self, manifest: &Manifest) -> (bool, Option<PushError>) {
        let mut changed = false;
        for tag in &self.options.also {
            match self.name(manifest, tag).await {
                Ok(is_new) => changed |= is_new,
                Err(cause) => {
                    let (reference, cause) = (self.reference(), Box::new(cause));
                    return (changed, Some(PushError::Unnamed { reference, tag: tag.clone(), cause }));
                }
            }
        }
        (changed, None)
    }

    /// Puts the manifest under a further tag, unless it is there.
    async fn name(&self, manifest: &Manifest, tag: &str) -> Result<bool, PushError> {
        let there = self.repository.manifest(tag).await?;
        if there.is_some_and(|there| there.digest == manifest.digest) {
            return Ok(false);
        }
        if !self.options.dry_run {
            self.repository.put_manifest(tag, &manifest.media_type, manifest.body.clone()).await?;
            let is_it = |found: &Manifest| found.digest == manifest.digest;
            self.repository.confirmed(tag, &manifest.digest, &is_it).await?;
        }
        Ok(true)
    }
}
