//! A path of a revision of a repository, read without a work tree.

use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use git_remote::{Remote, RemoteUrl, Settings};
use git2::build::CheckoutBuilder;
use git2::{FileMode, ObjectType, Oid, Repository, Tree, TreeWalkMode, TreeWalkResult};
use tempfile::TempDir;

use super::Reading;
use super::render::{self, Renderer};
use super::{cache, is_hidden, is_manifest};
use crate::error::SyncError;
use crate::manifest::{Manifest, parse};

/// The length of a commit's id.
const FULL_ID: usize = 40;

/// A repository that manifests are read from, with what was fetched of it before.
pub struct Checkout {
    url: RemoteUrl,
    revision: String,
    path: String,
    settings: Settings,
    cache: PathBuf,
    /// Whether there may be no manifest.
    may_be_empty: bool,
    /// Whether the folders below the path are left out.
    flat: bool,
    /// Held while the cache is written: operators of several clusters share it.
    writing: Mutex<()>,
}

/// A commit, for those who look on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which.
    pub id: Oid,
    /// Who wrote it.
    pub author: String,
    /// The message's first line.
    pub summary: String,
    /// When it was written.
    pub time: jiff::Timestamp,
}

impl Commit {
    /// Enough of the id to find it.
    pub fn short(&self) -> String {
        self.id.to_string().chars().take(10).collect()
    }
}

impl Checkout {
    /// Names a path of a revision; `cache` is a folder that keeps what was fetched.
    pub fn new(url: RemoteUrl, revision: String, path: &str, settings: Settings, cache: PathBuf) -> Self {
        let path = path.trim_matches('/').trim_start_matches("./").to_owned();
        let path = if path == "." { String::new() } else { path };
        Self {
            url,
            revision,
            path,
            settings,
            cache,
            may_be_empty: false,
            flat: false,
            writing: Mutex::default(),
        }
    }

    /// Takes a path without manifests as it is.
    #[must_use]
    pub fn allowing_none(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    /// Leaves out the folders below the path, as Argo CD does unless it is told otherwise.
    #[must_use]
    pub fn flat(self, flat: bool) -> Self {
        Self { flat, ..self }
    }

    /// The commit that the revision names now, by one look at the server's refs.
    pub fn newest(&self) -> Result<Oid, SyncError> {
        Ok(Remote::connect(&self.url, &self.settings)?.resolve(&self.revision)?.commit)
    }

    /// Fetches the revision and reads its manifests. None at all is an error: it would prune everything.
    pub fn read(&self, reading: Reading<'_>) -> Result<(Oid, Vec<Manifest>), SyncError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = || {
            let repository =
                Repository::open_bare(&self.cache).or_else(|_| Repository::init_bare(&self.cache))?;
            let commit = self.fetch(&repository)?;
            Ok((commit, self.manifests(&repository, commit, reading)?))
        };
        let (commit, manifests) = match attempt() {
            // What was kept is damaged, or somebody made room: it is fetched again.
            Err(SyncError::Git(_)) => {
                cache::clear(&self.cache);
                attempt()?
            }
            read => read?,
        };
        if manifests.is_empty() && !self.may_be_empty {
            return Err(SyncError::EmptySource(format!("{} of {}", self.shown_path(), self.revision)));
        }
        Ok((commit, manifests))
    }

    /// The revision's commit, fetched where it is not there yet. A full id that was fetched needs no server at all.
    fn fetch(&self, repository: &Repository) -> Result<Oid, SyncError> {
        let id = Oid::from_str(&self.revision).ok().filter(|_| self.revision.len() == FULL_ID);
        if let Some(id) = id.filter(|id| repository.find_commit(*id).is_ok()) {
            return Ok(id);
        }
        let commit =
            Remote::connect(&self.url, &self.settings)?.fetch_revision(&self.revision, repository)?;
        cache::make_room(&self.cache);
        Ok(commit)
    }

    /// Whether the path's manifests are rendered by a program.
    pub fn is_rendered(&self) -> Result<bool, SyncError> {
        let repository =
            Repository::open_bare(&self.cache).or_else(|_| Repository::init_bare(&self.cache))?;
        let commit = self.fetch(&repository)?;
        let root = repository.find_commit(commit)?.tree()?;
        let tree = self.tree(&repository, &root)?;
        Ok(Renderer::of(|name| tree.get_name(name).is_some()).is_some())
    }

    /// The folder of the path.
    fn tree<'r>(&self, repository: &'r Repository, root: &Tree<'r>) -> Result<Tree<'r>, SyncError> {
        if self.path.is_empty() {
            return Ok(root.clone());
        }
        let missing = || SyncError::MissingSource(format!("{} of {}", self.shown_path(), self.revision));
        let entry = root.get_path(Path::new(&self.path)).map_err(|_| missing())?;
        repository.find_tree(entry.id()).map_err(|_| missing())
    }

    /// Who made a commit that was fetched, when and why.
    pub fn describe(&self, commit: Oid) -> Result<Commit, SyncError> {
        let repository = Repository::open_bare(&self.cache)?;
        let found = repository.find_commit(commit)?;
        let time = found.author().when().seconds();
        Ok(Commit {
            id: commit,
            author: String::from_utf8_lossy(found.author().name_bytes()).into_owned(),
            summary: String::from_utf8_lossy(found.summary_bytes().unwrap_or_default()).into_owned(),
            time: jiff::Timestamp::from_second(time).unwrap_or_default(),
        })
    }

    fn shown_path(&self) -> &str {
        if self.path.is_empty() { "the root" } else { &self.path }
    }

    fn manifests(
        &self,
        repository: &Repository,
        commit: Oid,
        reading: Reading<'_>,
    ) -> Result<Vec<Manifest>, SyncError> {
        let root = repository.find_commit(commit)?.tree()?;
        let tree = self.tree(repository, &root)?;
        if let Some(renderer) = Renderer::of(|name| tree.get_name(name).is_some()) {
            // All of it: a kustomization may name bases beside its own folder.
            let files = export(repository, &root)?;
            let shown = format!("{} of {}", self.shown_path(), self.revision);
            return renderer.render(&files.path().join(&self.path), &shown, reading, files.path());
        }
        let mut files = Vec::new();
        let mut submodule = None;
        tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            if is_hidden(Path::new(&name)) || (self.flat && entry.kind() == Some(ObjectType::Tree)) {
                return TreeWalkResult::Skip;
            }
            let place = Path::new(&self.path).join(folder).join(&name);
            match entry.kind() {
                Some(ObjectType::Blob) if is_manifest(&place) => {
                    files.push((place, entry.id(), entry.filemode() == i32::from(FileMode::Link)));
                }
                Some(ObjectType::Commit) => submodule = Some(place),
                _ => {}
            }
            TreeWalkResult::Ok
        })?;
        let wrong = |place: &Path, problem: &str| SyncError::Manifest {
            place: place.display().to_string(),
            problem: problem.to_owned(),
        };
        if let Some(place) = submodule {
            return Err(wrong(
                &place,
                "a submodule, which is not fetched; --path can name a folder without one",
            ));
        }
        let mut manifests = Vec::new();
        for (place, id, is_link) in files {
            render::refuse_below(&place)?;
            let blob = repository.find_blob(id)?;
            let blob = if is_link {
                let target = String::from_utf8_lossy(blob.content()).into_owned();
                let meant = within(&place, &target)
                    .ok_or_else(|| wrong(&place, &format!("a link to {target}, outside the repository")))?;
                let entry = root.get_path(&meant).ok();
                let blob = entry.and_then(|entry| repository.find_blob(entry.id()).ok());
                blob.ok_or_else(|| wrong(&place, &format!("a link to {target}, which is no file there")))?
            } else {
                blob
            };
            let text = std::str::from_utf8(blob.content()).map_err(|_| wrong(&place, "not UTF-8"))?;
            manifests.extend(parse(text, &place.display().to_string(), reading.keys)?);
        }
        Ok(manifests)
    }
}

/// The files of a tree, in a folder that goes with the value. Links that lead out of it are refused: they would show a
/// renderer the files of this machine.
fn export(repository: &Repository, tree: &Tree<'_>) -> Result<TempDir, SyncError> {
    let mut links = Vec::new();
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        if entry.filemode() == i32::from(FileMode::Link) {
            links.push((format!("{folder}{}", entry.name().unwrap_or_default()), entry.id()));
        }
        TreeWalkResult::Ok
    })?;
    for (name, id) in links {
        let target = String::from_utf8_lossy(repository.find_blob(id)?.content()).into_owned();
        if within(Path::new(&name), &target).is_none() {
            let problem = format!("a link to {target}, outside the repository");
            return Err(SyncError::Manifest { place: name, problem });
        }
    }
    let unwritable =
        |cause| SyncError::Unreadable { path: "a temporary folder for the repository".to_owned(), cause };
    let folder = TempDir::with_prefix("k8s-sync-").map_err(unwritable)?;
    let mut how = CheckoutBuilder::new();
    how.target_dir(folder.path()).force().update_index(false).disable_filters(true);
    repository.checkout_tree(tree.as_object(), Some(&mut how))?;
    Ok(folder)
}

/// The path that a link in a repository means; none where it leads out of it.
fn within(link: &Path, target: &str) -> Option<PathBuf> {
    let mut meant = PathBuf::new();
    for part in link.parent().unwrap_or(Path::new("")).join(target).components() {
        match part {
            Component::Normal(name) => meant.push(name),
            Component::ParentDir if meant.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        for (target, meant) in [
            ("b", Some("folder/b")),
            ("../b", Some("b")),
            ("../../b", None),
            ("/etc/passwd", None),
            ("../x/../../../b", None),
        ] {
            assert_eq!(within(Path::new("folder/a"), target), meant.map(PathBuf::from), "{target}");
        }
    }
}
