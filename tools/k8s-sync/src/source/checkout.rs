//! A path of a revision of a repository, read without a work tree.

use std::path::{Component, Path, PathBuf};

use git_remote::{Remote, RemoteUrl, Settings};
use git2::build::CheckoutBuilder;
use git2::{FileMode, ObjectType, Oid, Repository, Tree, TreeWalkMode, TreeWalkResult};
use tempfile::TempDir;

use super::is_manifest;
use super::render::{self, Release, Renderer};
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
        Self { url, revision, path: if path == "." { String::new() } else { path }, settings, cache }
    }

    /// The commit that the revision names now, by one look at the server's refs.
    pub fn newest(&self) -> Result<Oid, SyncError> {
        Ok(Remote::connect(&self.url, &self.settings)?.resolve(&self.revision)?.commit)
    }

    /// Fetches the revision and reads its manifests. None at all is an error: it would prune everything.
    pub fn read(&self, release: Release<'_>) -> Result<(Oid, Vec<Manifest>), SyncError> {
        let repository =
            Repository::open_bare(&self.cache).or_else(|_| Repository::init_bare(&self.cache))?;
        let commit =
            Remote::connect(&self.url, &self.settings)?.fetch_revision(&self.revision, &repository)?;
        let manifests = self.manifests(&repository, commit, release)?;
        if manifests.is_empty() {
            return Err(SyncError::EmptySource(format!("{} of {}", self.shown_path(), self.revision)));
        }
        Ok((commit, manifests))
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
        release: Release<'_>,
    ) -> Result<Vec<Manifest>, SyncError> {
        let root = repository.find_commit(commit)?.tree()?;
        let missing = || SyncError::EmptySource(format!("{} of {}", self.shown_path(), self.revision));
        let tree = if self.path.is_empty() {
            root.clone()
        } else {
            let entry = root.get_path(Path::new(&self.path)).map_err(|_| missing())?;
            repository.find_tree(entry.id()).map_err(|_| missing())?
        };
        if let Some(renderer) = Renderer::of(|name| tree.get_name(name).is_some()) {
            // All of it: a kustomization may name bases beside its own folder.
            let files = export(repository, &root)?;
            let shown = format!("{} of {}", self.shown_path(), self.revision);
            return renderer.render(&files.path().join(&self.path), &shown, release);
        }
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
            render::refuse_below(Path::new(&place))?;
            let text = std::str::from_utf8(blob.content())
                .map_err(|_| SyncError::Manifest { place: place.clone(), problem: "not UTF-8".to_owned() })?;
            manifests.extend(parse(text, &place)?);
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
        if leads_out(&name, &target) {
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

/// Whether a link in a repository leads out of it.
fn leads_out(name: &str, target: &str) -> bool {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut depth = 0_usize;
    for part in Path::new(folder).join(target).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::leads_out;

    #[test]
    fn links_stay_inside() {
        for (target, out) in [
            ("b", false),
            ("../b", false),
            ("../../b", true),
            ("/etc/passwd", true),
            ("../x/../../../b", true),
        ] {
            assert_eq!(leads_out("folder/a", target), out, "{target}");
        }
    }
}
