//! Where an image comes from, and what can be known of it before its layers are read.

use std::path::PathBuf;

use image_reference::ImageReference;

use crate::archive::{
    Folder, Graph, Paths, Saved, by_digest, documents_of, graph, paths_of_saved, root, saved, with_targets,
};
use crate::engine::{Engine, LocalImage};
use crate::error::PushError;
use crate::registry::Manifest;

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

impl Source {
    /// What can be known at once.
    pub async fn look(&self, image: &ImageReference, tag: &str) -> Result<Local, PushError> {
        Ok(match self {
            Self::Engine(engine) => {
                Local::Engine(Box::new(engine.image(&format!("{}:{tag}", image.repository())).await?))
            }
            Self::Folder(folder) => Local::Graph(folder.graph(image, tag)?),
            Self::DockerArchive(Some(file)) => match documents_of(file)? {
                Some((documents, links)) => {
                    let name = file.display().to_string();
                    let paths = paths_of_saved(&documents, image, tag, &name)?;
                    Local::Saved(saved(&documents, image, tag, &name)?, with_targets(paths, &links))
                }
                None => Local::Unknown,
            },
            Self::OciArchive(Some(file)) => match documents_of(file)? {
                Some((documents, _)) => {
                    let name = file.display().to_string();
                    let root = root(&documents, image, tag, &name)?;
                    Local::Graph(graph(&root, &name, &by_digest(&documents))?)
                }
                None => Local::Unknown,
            },
            Self::DockerArchive(None) | Self::OciArchive(None) => Local::Unknown,
        })
    }
}

/// What is known of an image before anything is read of its layers.
pub enum Local {
    /// What the engine tells.
    Engine(Box<LocalImage>),
    /// What a layout's index leads to.
    Graph(Graph),
    /// What `docker save` wrote of it, and the paths of what it needs.
    Saved(Saved, Paths),
    /// Nothing: it comes on stdin.
    Unknown,
}

impl Local {
    /// Whether this is what stands there.
    pub fn is(&self, there: &Manifest) -> bool {
        let config = there.config.as_ref().map(|config| &config.digest);
        match self {
            // The classic store names an image by its configuration, the containerd store by its manifest.
            Self::Engine(image) => {
                config
                    .is_some_and(|config| *config == image.id || image.configuration.as_ref() == Some(config))
                    || there.digest == image.id
            }
            Self::Graph(graph) => graph.manifests.last().is_some_and(|(top, _)| top.digest == there.digest),
            Self::Saved(saved, _) => config == Some(&saved.id),
            Self::Unknown => false,
        }
    }

    /// Whether a configuration is this image's, where that can't be told from a digest.
    pub fn has_configuration(&self, configuration: &[u8]) -> bool {
        match self {
            Self::Engine(image) => image.description.as_ref().is_some_and(|told| told.is_of(configuration)),
            _ => false,
        }
    }
}
