//! Which layers of an archive are sent: those of the image that is meant, as soon as it can be told which these are.
//!
//! The documents of a file are read before its layers, unless all of it is compressed. A stream tells it only where it
//! names its images before their layers come, which no engine's does: `docker save` sorts its entries by path (`blobs/`,
//! `index.json`, `manifest.json`), and podman, crane and buildx end with what names the rest. To wait for that would take as much room
//! as the stream. So all its layers are sent, and those of other images are told of at its end; nothing names them in the
//! registry, whose garbage collection takes them.

use image_reference::ImageReference;

use super::{Documents, Links, Paths, by_digest, graph, paths_of_saved, root};
use crate::error::PushError;

/// What the documents that have come tell of it, once they do.
pub(super) type Told<'a> = &'a dyn Fn(&Documents) -> Result<Option<Paths>, PushError>;

/// Which layers of an archive are sent.
pub enum Wanted<'a> {
    /// All: it has one image.
    All,
    /// Those at these paths.
    At(Paths),
    /// Those that the archive itself will tell.
    Told(Told<'a>),
}

/// The same while an archive is read.
pub(super) struct Choice<'a> {
    told: Option<Told<'a>>,
    paths: Option<Paths>,
    documents: usize,
}

impl<'a> From<Wanted<'a>> for Choice<'a> {
    fn from(wanted: Wanted<'a>) -> Self {
        let (told, paths) = match wanted {
            Wanted::All => (None, None),
            Wanted::At(paths) => (None, Some(paths)),
            Wanted::Told(told) => (Some(told), None),
        };
        Self { told, paths, documents: 0 }
    }
}

impl Choice<'_> {
    /// Whether this layer is sent, by what is known of it.
    pub(super) fn has(&mut self, path: &str, documents: &Documents) -> Result<bool, PushError> {
        if let Some(told) = self.told.filter(|_| self.paths.is_none() && self.documents < documents.len()) {
            self.documents = documents.len();
            self.paths = told(documents)?;
        }
        // Links lead to layers in folders of their own, as `docker save` wrote them before engine 25; in a stream they
        // may come behind what they lead to.
        let may_be_linked = self.told.is_some() && path.ends_with("/layer.tar");
        Ok(may_be_linked || self.paths.as_ref().is_none_or(|paths| paths.contains(path)))
    }

    /// Whether other images' layers are among those that were sent.
    pub(super) fn is_exceeded<'p>(
        &self,
        mut sent: impl Iterator<Item = &'p String>,
        links: &Links,
        documents: &Documents,
    ) -> bool {
        let Some(told) = self.told else { return false };
        // An archive that does not hold together is told of by whoever needs its parts.
        let Ok(Some(paths)) = told(documents) else { return false };
        let paths = with_targets(paths, links);
        sent.any(|path| !paths.contains(path))
    }
}

/// These paths, and what those lead to that are links.
pub fn with_targets(mut paths: Paths, links: &Links) -> Paths {
    let targets: Vec<String> =
        paths.iter().filter_map(|path| target(path, links)).map(ToOwned::to_owned).collect();
    paths.extend(targets);
    paths
}

/// What a link leads to in the end, other links between.
pub(super) fn target<'a>(path: &str, links: &'a Links) -> Option<&'a str> {
    let mut target = links.get(path)?;
    // No chain is longer than all links are, unless it is a ring.
    for _ in 0..links.len() {
        match links.get(target) {
            Some(next) => target = next,
            None => return Some(target),
        }
    }
    None
}

/// The paths of what an image of a `docker save` stream needs, if the documents tell them by now.
pub fn told_by_manifest(
    documents: &Documents,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Option<Paths>, PushError> {
    if !documents.contains_key("manifest.json") {
        return Ok(None);
    }
    paths_of_saved(documents, image, tag, name).map(Some)
}

/// The paths of what an image of a layout's stream needs, if the documents tell them by now.
pub fn told_by_index(
    documents: &Documents,
    image: &ImageReference,
    tag: &str,
    name: &str,
) -> Result<Option<Paths>, PushError> {
    if !documents.contains_key("index.json") {
        return Ok(None);
    }
    let root = root(documents, image, tag, name)?;
    // Manifests may come behind the index.
    let graph = graph(&root, name, &by_digest(documents)).ok();
    Ok(graph.map(|graph| graph.paths()))
}
