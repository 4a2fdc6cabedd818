//! A path of a revision of a repository, read without a work tree.

use std::path::{Path, PathBuf};

use git_remote::{Remote, RemoteUrl, Settings};
use git2::{ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};

use super::is_manifest;
use crate::error::SyncError;
use crate::manifest::{Manifest, parse};

/// A repository that manifests are read from, with what was fetched of it before.
pub struct Checkout {
    url: RemoteUrl,
    revision: String,
    path: String,
    settings: Settings,
    cache: PathBuf,
}

impl Checkout {
    /// Names a path of a revision; `cache` is a folder that keeps what was fetched.
    pub fn new(url: RemoteUrl, revision: String, path: &str, settings: Settings, cache: PathBuf) -> Self {
        let path = path.trim_matches('/').trim_start_matches("./").to_owned();
        Self { url, revision, path: if path == "." { String::new() } else { path }, settings, cache }
    }

    /// The commit that the revision names now, by one look at the server's refs.
    pub fn newest(&self) -> Result<Oid, SyncError> {
        Ok(Remote::connect(&self.url, &self.settings)?.resolve(&self.revision)?.commit)
    }

    /// Fetches the revision and reads its manifests. None at all is an error: it would prune everything.
    pub fn read(&self) -> Result<(Oid, Vec<Manifest>), SyncError> {
        let repository =
            Repository::open_bare(&self.cache).or_else(|_| Repository::init_bare(&self.cache))?;
        let commit =
            Remote::connect(&self.url, &self.settings)?.fetch_revision(&self.revision, &repository)?;
        let manifests = self.manifests(&repository, commit)?;
        if manifests.is_empty() {
            return Err(SyncError::EmptySource(format!("{} of {}", self.shown_path(), self.revision)));
        }
        Ok((commit, manifests))
    }

    fn shown_path(&self) -> &str {
        if self.path.is_empty() { "the root" } else { &self.path }
    }

    fn manifests(&self, repository: &Repository, commit: Oid) -> Result<Vec<Manifest>, SyncError> {
        let root = repository.find_commit(commit)?.tree()?;
        let missing = || SyncError::EmptySource(format!("{} of {}", self.shown_path(), self.revision));
        let tree = if self.path.is_empty() {
            root
        } else {
            let entry = root.get_path(Path::new(&self.path)).map_err(|_| missing())?;
            repository.find_tree(entry.id()).map_err(|_| missing())?
        };
        let mut files = Vec::new();
        tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
            if let (Some(ObjectType::Blob), Ok(name)) = (entry.kind(), entry.name())
                && is_manifest(Path::new(name))
            {
                files.push((format!("{folder}{name}"), entry.id()));
            }
            TreeWalkResult::Ok
        })?;
        let mut manifests = Vec::new();
        for (name, id) in files {
            let blob = repository.find_blob(id)?;
            let place = if self.path.is_empty() { name } else { format!("{}/{name}", self.path) };
            let text = std::str::from_utf8(blob.content())
                .map_err(|_| SyncError::Manifest { place: place.clone(), problem: "not UTF-8".to_owned() })?;
            manifests.extend(parse(text, &place)?);
        }
        Ok(manifests)
    }
}
