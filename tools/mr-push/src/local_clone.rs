//! A change that is there already: the work tree of a local clone.

use std::path::{Path, PathBuf};

use git2::{Delta, DiffOptions, ErrorCode, ObjectType, Oid, Repository};
use step::{Failure, FailureKind, ResultExt};

use crate::checkout::{CheckoutError, Content};
use crate::lfs;
use crate::tree::{Changes, FileEntry, file_at};

/// A local clone, and what its work tree holds beyond its HEAD.
pub struct LocalClone {
    repository: Repository,
    root: PathBuf,
}

/// Why a clone's work tree can't become a commit on the target.
#[derive(Debug, thiserror::Error)]
pub enum LocalCloneError {
    /// The argument is a URL.
    #[error("`{0}` is not a local clone, and there is no COMMAND to run in a checkout of it")]
    NotLocal(String),
    /// The clone has no files.
    #[error("`{0}` has no work tree")]
    Bare(String),
    /// The target's file is not the one that was edited.
    #[error("{} is another on the target branch than in the clone's HEAD", .0.display())]
    Stale(PathBuf),
    /// There is no server to push to.
    #[error("the clone has no remote `{0}`")]
    NoRemote(String),
}

impl LocalClone {
    /// Opens the clone.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let usage = |error: LocalCloneError| Failure::new(FailureKind::Usage, error);
        let repository = Repository::open(path).map_err(|error| match error.code() {
            ErrorCode::NotFound => usage(LocalCloneError::NotLocal(step::url_without_credentials(path)))
                .hint("mr-push [OPTIONS] REPOSITORY -- COMMAND…, or the path of a clone without COMMAND"),
            _ => Failure::new(FailureKind::Input, error).context(format!("can't open {path}")),
        })?;
        let root = repository.workdir().map(Path::to_owned);
        let root = root.ok_or_else(|| usage(LocalCloneError::Bare(path.to_owned())))?;
        // What is read through the clone's attributes is kept in memory: the clone stays as it is.
        let in_memory = repository.odb().and_then(|odb| odb.add_new_mempack_backend(1000).map(|_| ()));
        in_memory.or_fail(FailureKind::Internal)?;
        Ok(Self { repository, root })
    }

    /// The URL that the clone pushes to.
    pub fn push_url(&self, remote: &str) -> Result<String, Failure> {
        let found = self.repository.find_remote(remote).ok().and_then(|remote| {
            let url = remote.pushurl().ok().flatten().or(remote.url().ok());
            url.map(ToOwned::to_owned)
        });
        found.ok_or_else(|| Failure::new(FailureKind::Input, LocalCloneError::NoRemote(remote.to_owned())))
    }

    /// The commit time of HEAD, in seconds since 1970.
    pub fn head_time(&self) -> Option<i64> {
        Some(self.repository.head().ok()?.peel_to_commit().ok()?.time().seconds())
    }

    /// What the work tree changes below the limit, with new content put into the store. Files that the
    /// target has changed since are refused rather than overwritten.
    pub fn changes(
        &self,
        store: &Repository,
        target: &git2::Tree<'_>,
        limit: &Path,
    ) -> Result<Changes, Failure> {
        let mut changes = self.read(store, limit)?;
        let head = self.head_tree();
        changes.retain(|path, wanted| file_at(target, path) != *wanted);
        for path in changes.keys() {
            let edited = head.as_ref().and_then(|head| file_at(head, path));
            if file_at(target, path) != edited {
                return Err(Failure::new(FailureKind::Input, LocalCloneError::Stale(path.clone()))
                    .hint("bring the clone up to date with the target branch, and make the change again"));
            }
        }
        Ok(changes)
    }

    fn head_tree(&self) -> Option<git2::Tree<'_>> {
        self.repository.head().ok()?.peel_to_tree().ok()
    }

    fn read(&self, store: &Repository, limit: &Path) -> Result<Changes, Failure> {
        let unreadable = || "can't read the clone's work tree".to_owned();
        let mut options = DiffOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).ignore_submodules(true);
        if !limit.as_os_str().is_empty() {
            options.disable_pathspec_match(true).pathspec(limit);
        }
        let diff = self
            .repository
            .diff_tree_to_workdir_with_index(self.head_tree().as_ref(), Some(&mut options))
            .or_fail_with(FailureKind::Input, unreadable)?;
        let mut changes = Changes::new();
        for delta in diff.deltas() {
            let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
            let Some(path) = file.path().map(Path::to_owned) else { continue };
            let entry = match delta.status() {
                Delta::Deleted => None,
                _ => match self.stored(store, &path, delta.old_file().id())? {
                    Stored::Unchanged => continue,
                    Stored::As(entry) => Some(entry),
                },
            };
            changes.insert(path, entry);
        }
        Ok(changes)
    }

    /// Puts a file of the work tree into the store as `git add` would: line ends and `$Id$` by its attributes.
    fn stored(&self, store: &Repository, path: &Path, old: Oid) -> Result<Stored, Failure> {
        let unreadable = || format!("can't read {}", path.display());
        let file = self.root.join(path);
        let content = Content::read(&file).or_fail_with(FailureKind::Input, unreadable)?;
        let content = content.ok_or_else(|| CheckoutError::Special(path.to_owned()))?;
        let is_file = content.is_file();
        let mut bytes = content.bytes;
        if is_file {
            if lfs::is_tracked(&self.repository, path) && !lfs::is_pointer(&bytes) {
                let pointer = Oid::hash_object(ObjectType::Blob, lfs::pointer_to(&bytes).as_bytes());
                return match pointer {
                    Ok(pointer) if pointer == old => Ok(Stored::Unchanged),
                    _ => Err(CheckoutError::Lfs(path.to_owned()).into()),
                };
            }
            let cleaned = self.repository.blob_path(&file).and_then(|blob| self.repository.find_blob(blob));
            bytes = cleaned.or_fail_with(FailureKind::Input, unreadable)?.content().to_vec();
        }
        let blob = store
            .blob(&bytes)
            .or_fail_with(FailureKind::Output, || format!("can't store {}", path.display()))?;
        Ok(Stored::As(FileEntry { blob, mode: content.mode }))
    }
}

/// What has become of a file that may have changed.
enum Stored {
    Unchanged,
    As(FileEntry),
}
