//! A change that is there already: the work tree of a local clone.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use git2::{
    AttrCheckFlags, Config, Delta, DiffOptions, ErrorCode, Index, IndexEntry, IndexEntryExtendedFlag,
    ObjectType, Oid, Repository,
};
use step::{Console, Failure, FailureKind, ResultExt};

use crate::checkout::{CheckoutError, Content};
use crate::commit::tree_of;
use crate::lfs;
use crate::store::Store;
use crate::tree::{Changes, FileEntry, SUBMODULE, file_at, files_below};

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
    /// A merge is under way.
    #[error("{} has conflicts", .0.display())]
    Unmerged(PathBuf),
    /// `git add` would store something else than what is there.
    #[error("{} is stored by the filter `{filter}` of the clone's configuration, which is not run here", .path.display())]
    Filtered {
        /// The file.
        path: PathBuf,
        /// The filter's name, or the attribute that stands for one.
        filter: String,
    },
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

    /// The file of its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.repository.commondir().join("config")
    }

    /// Its configuration, with the user's and the machine's.
    pub fn config(&self) -> Option<Config> {
        self.repository.config().ok()
    }

    /// The commit time of HEAD, in seconds since 1970.
    pub fn head_time(&self) -> Option<i64> {
        Some(self.repository.head().ok()?.peel_to_commit().ok()?.time().seconds())
    }

    /// What the work tree changes below the limit, with new content put into the store. Files that the
    /// target has changed since are refused rather than overwritten.
    pub fn changes(
        &self,
        store: &Store,
        base: Oid,
        limit: &Path,
        console: &Console,
    ) -> Result<Changes, Failure> {
        let target = tree_of(&store.repository, base)?;
        if self.has_commits_beyond(base) {
            console.warn("the clone's HEAD has commits that the target has not; only what the work tree changes since is taken");
        }
        let mut changes = self.read(store, limit)?;
        let head = self.head_tree();
        changes.retain(|path, wanted| file_at(&target, path) != *wanted);
        for path in changes.keys() {
            let edited = head.as_ref().and_then(|head| file_at(head, path));
            if file_at(&target, path) != edited {
                return Err(Failure::new(FailureKind::Input, LocalCloneError::Stale(path.clone()))
                    .hint("bring the clone up to date with the target branch, and make the change again"));
            }
        }
        Ok(changes)
    }

    fn head_tree(&self) -> Option<git2::Tree<'_>> {
        self.repository.head().ok()?.peel_to_tree().ok()
    }

    /// Whether commits of HEAD are not on the target, as far as the clone knows that.
    fn has_commits_beyond(&self, base: Oid) -> bool {
        let Some(head) = self.repository.head().ok().and_then(|head| head.target()) else { return false };
        head != base && self.repository.graph_descendant_of(base, head).is_ok_and(|is_behind| !is_behind)
    }

    fn read(&self, store: &Store, limit: &Path) -> Result<Changes, Failure> {
        let unreadable = || "can't read the clone's work tree".to_owned();
        let index = self.repository.index().or_fail_with(FailureKind::Input, unreadable)?;
        if let Some(path) = unmerged(&index) {
            return Err(Failure::new(FailureKind::Input, LocalCloneError::Unmerged(path))
                .hint("end the merge first: correct it, and `git add` it"));
        }
        // Our own files, where the temporary directory is inside the clone.
        let own = store.directory().canonicalize().ok().zip(self.root.canonicalize().ok());
        let own = own.and_then(|(own, root)| own.strip_prefix(root).ok().map(Path::to_owned));
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
            if own.as_ref().is_some_and(|own| path.starts_with(own)) {
                continue;
            }
            let staged = index.get_path(&path, 0);
            let entry = match delta.status() {
                // A sparse checkout has not all files.
                Delta::Deleted if staged.as_ref().is_some_and(is_left_out) => continue,
                Delta::Deleted => None,
                _ => match self.stored(&store.repository, &path, delta.old_file().id(), staged.as_ref())? {
                    Stored::Unchanged => continue,
                    Stored::As(entry) => Some(entry),
                },
            };
            changes.insert(path, entry);
        }
        self.read_submodules(&index, limit, &mut changes).or_fail_with(FailureKind::Input, unreadable)?;
        Ok(changes)
    }

    /// The submodules' commits: as they are checked out, or else as they are staged.
    fn read_submodules(&self, index: &Index, limit: &Path, changes: &mut Changes) -> Result<(), git2::Error> {
        let head = match self.head_tree() {
            Some(head) => files_below(&self.repository, &head, limit)?,
            None => Changes::new(),
        };
        let is_submodule = |entry: &FileEntry| entry.mode == SUBMODULE;
        for (path, _) in head.iter().filter(|(_, entry)| entry.as_ref().is_some_and(is_submodule)) {
            if index.get_path(path, 0).is_none() {
                changes.entry(path.clone()).or_insert(None);
            }
        }
        for staged in index.iter().filter(|entry| entry.mode.cast_signed() == SUBMODULE) {
            let path = path_of(&staged);
            if !path.starts_with(limit) {
                continue;
            }
            let checked_out = Repository::open(self.root.join(&path)).ok();
            let commit = checked_out.and_then(|repository| repository.head().ok()?.target());
            let now = FileEntry { blob: commit.unwrap_or(staged.id), mode: SUBMODULE };
            if head.get(&path).copied().flatten() != Some(now) {
                changes.insert(path, Some(now));
            }
        }
        Ok(())
    }

    /// Puts a file of the work tree into the store as `git add` would: line ends and `$Id$` by its attributes.
    fn stored(
        &self,
        store: &Repository,
        path: &Path,
        old: Oid,
        staged: Option<&IndexEntry>,
    ) -> Result<Stored, Failure> {
        let unreadable = || format!("can't read {}", path.display());
        let file = self.root.join(path);
        let content = Content::read(&file).or_fail_with(FailureKind::Input, unreadable)?;
        let content = content.ok_or_else(|| CheckoutError::Special(path.to_owned()))?;
        let is_file = content.is_file();
        let mut bytes = content.bytes;
        let mut mode = content.mode;
        if let Some(staged) = staged.filter(|_| is_file && !self.trusts_modes()) {
            mode = staged.mode.cast_signed();
        }
        if is_file {
            if lfs::is_tracked(&self.repository, path) && !lfs::is_pointer(&bytes) {
                let pointer = Oid::hash_object(ObjectType::Blob, lfs::pointer_to(&bytes).as_bytes());
                return match pointer {
                    Ok(pointer) if pointer == old => Ok(Stored::Unchanged),
                    _ => Err(CheckoutError::Lfs(path.to_owned()).into()),
                };
            }
            // `git add` has run the filter, and nothing has changed since.
            let current = staged.filter(|staged| is_current(staged, &file));
            let blob = match (self.foreign_filter(path), current) {
                (None, _) => self.repository.blob_path(&file),
                (Some(_), Some(staged)) if staged.id == old && staged.mode.cast_signed() == mode => {
                    return Ok(Stored::Unchanged);
                }
                (Some(_), Some(staged)) => Ok(staged.id),
                (Some(filter), None) => {
                    let error = LocalCloneError::Filtered { path: path.to_owned(), filter };
                    let hint = format!("`git add {}` runs it; what is staged is taken then", path.display());
                    return Err(Failure::new(FailureKind::Input, error).hint(hint));
                }
            };
            let cleaned = blob.and_then(|blob| self.repository.find_blob(blob));
            bytes = cleaned.or_fail_with(FailureKind::Input, unreadable)?.content().to_vec();
        }
        let blob = store
            .blob(&bytes)
            .or_fail_with(FailureKind::Output, || format!("can't store {}", path.display()))?;
        Ok(Stored::As(FileEntry { blob, mode }))
    }

    /// Whether a file's mode says whether it is executable.
    fn trusts_modes(&self) -> bool {
        self.config().and_then(|config| config.get_bool("core.fileMode").ok()).unwrap_or(true)
    }

    /// A program that `git add` would have the file's content go through, or an encoding that it would be changed from.
    fn foreign_filter(&self, path: &Path) -> Option<String> {
        let attribute = |name: &str| {
            let value = self.repository.get_attr(path, name, AttrCheckFlags::FILE_THEN_INDEX);
            value.ok().flatten().map(ToOwned::to_owned)
        };
        if let Some(encoding) = attribute("working-tree-encoding").filter(|name| !is_utf_8(name)) {
            return Some(format!("working-tree-encoding={encoding}"));
        }
        let (filter, config) = (attribute("filter")?, self.config()?);
        let is_configured = ["clean", "process"]
            .iter()
            .any(|key| config.get_string(&format!("filter.{filter}.{key}")).is_ok());
        (is_configured && filter != "lfs").then_some(filter)
    }
}

fn is_utf_8(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("UTF-8") || encoding.eq_ignore_ascii_case("UTF8")
}

/// The first file with a conflict.
fn unmerged(index: &Index) -> Option<PathBuf> {
    let conflict = index.conflicts().ok()?.next()?.ok()?;
    conflict.our.or(conflict.their).or(conflict.ancestor).map(|entry| path_of(&entry))
}

fn path_of(entry: &IndexEntry) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path))
}

/// Whether a sparse checkout leaves it out.
fn is_left_out(entry: &IndexEntry) -> bool {
    IndexEntryExtendedFlag::from_bits_truncate(entry.flags_extended)
        .contains(IndexEntryExtendedFlag::SKIP_WORKTREE)
}

/// Whether a file is as it was when it was staged, as git tells it: by its time and size.
fn is_current(staged: &IndexEntry, file: &Path) -> bool {
    let Ok(now) = file.symlink_metadata() else { return false };
    let time = (i64::from(staged.mtime.seconds()), i64::from(staged.mtime.nanoseconds()));
    u64::from(staged.file_size) == now.len() && time == (now.mtime(), now.mtime_nsec())
}

/// What has become of a file that may have changed.
enum Stored {
    Unchanged,
    As(FileEntry),
}
