//! Files of a tree on disk, and what has become of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use git2::{Repository, Tree};
use step::{Failure, FailureKind, ResultExt};

use crate::lfs;
use crate::tree::{Changes, FileEntry, SUBMODULE, file_at};

const REGULAR: i32 = 0o100_644;
const EXECUTABLE: i32 = 0o100_755;
const LINK: i32 = 0o120_000;

/// Why a checkout's content can't become a commit.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// The limit of the checkout was overstepped.
    #[error("the command wrote {}, which is outside --path {}", .path.display(), .limit.display())]
    Outside {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: PathBuf,
    },
    /// Something that Git has no form for.
    #[error("{} is neither a file nor a symbolic link", .0.display())]
    Special(PathBuf),
    /// A repository in a repository, whose commit is all that the outer one has of it.
    #[error("{} is a submodule, which is not checked out for COMMAND", .0.display())]
    Submodule(PathBuf),
    /// A file's content where only a pointer to it may be.
    #[error("{} is kept by Git LFS, and only a pointer to its content can be committed", .0.display())]
    Lfs(PathBuf),
    /// A tree that no git makes, and that would write where nobody wants it.
    #[error("the tree has files below {}, which is no directory", .0.display())]
    Malformed(PathBuf),
}

impl From<CheckoutError> for Failure {
    fn from(error: CheckoutError) -> Self {
        let hint = match &error {
            CheckoutError::Outside { .. } => Some("widen --path, or leave it out"),
            CheckoutError::Lfs(_) => Some("`git lfs` makes a pointer and uploads the content"),
            CheckoutError::Submodule(_) => {
                Some("move it in a clone of your own, which mr-push takes in the place of COMMAND")
            }
            CheckoutError::Special(_) | CheckoutError::Malformed(_) => None,
        };
        let failure = Self::new(FailureKind::Input, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A file as it is on disk.
pub struct Content {
    /// The content, or where a link leads.
    pub bytes: Vec<u8>,
    /// Regular, executable, or a symbolic link.
    pub mode: i32,
}

impl Content {
    /// Reads it; `None` for a device, a socket or a pipe.
    pub fn read(file: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::symlink_metadata(file)?;
        if metadata.is_symlink() {
            let bytes = fs::read_link(file)?.as_os_str().as_bytes().to_vec();
            return Ok(Some(Self { bytes, mode: LINK }));
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Some(Self { bytes: fs::read(file)?, mode: if executable { EXECUTABLE } else { REGULAR } }))
    }

    /// Whether it is a file, and not a link.
    pub const fn is_file(&self) -> bool {
        self.mode != LINK
    }
}

/// Writes the files into the directory, with their modes and links.
pub fn write(repository: &Repository, files: &Changes, directory: &Path) -> Result<(), Failure> {
    for (path, entry) in files {
        let Some(entry) = entry else { continue };
        // Written through a link, a file would be somewhere else.
        if let Some(above) = path.ancestors().skip(1).find(|above| files.contains_key(*above)) {
            return Err(CheckoutError::Malformed(above.to_owned()).into());
        }
        let target = directory.join(path);
        write_file(repository, *entry, &target)
            .or_fail_with(FailureKind::Output, || format!("can't check out {}", path.display()))?;
    }
    Ok(())
}

fn write_file(repository: &Repository, entry: FileEntry, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if entry.mode == SUBMODULE {
        // As git does where submodules are not asked for.
        return fs::create_dir(target);
    }
    let blob = repository.find_blob(entry.blob).map_err(io::Error::other)?;
    if entry.mode == LINK {
        return symlink(std::ffi::OsStr::from_bytes(blob.content()), target);
    }
    fs::write(target, blob.content())?;
    let mode = if entry.mode == EXECUTABLE { 0o755 } else { 0o644 };
    fs::set_permissions(target, fs::Permissions::from_mode(mode))
}

/// The files of the directories above a checkout's limit that say how files below it are treated.
pub fn rules_above(tree: &Tree<'_>, limit: &Path) -> Changes {
    let names = [".gitignore", ".gitattributes"];
    let paths = limit.ancestors().skip(1).flat_map(|above| names.map(|name| above.join(name)));
    let found = paths.filter_map(|path| file_at(tree, &path).map(|file| (path, Some(file))));
    found.filter(|(_, file)| file.is_some_and(|file| file.mode == REGULAR)).collect()
}

/// What differs between the files that were checked out and what the directory holds now; new content
/// is put into the store. New files that `.gitignore` files name are left out. `rules` come into the directory here.
pub fn changes(
    repository: &Repository,
    before: &Changes,
    directory: &Path,
    limit: &Path,
    rules: &Changes,
) -> Result<Changes, Failure> {
    let unreadable = || "can't read what the command left";
    let mut found = BTreeSet::new();
    walk(before, directory, Path::new(""), &mut found).or_fail_with(FailureKind::Input, unreadable)?;
    for (path, _) in before.iter().filter(|(path, _)| is_submodule(before, path)) {
        if directory.join(path).join(".git").exists() {
            return Err(CheckoutError::Submodule(path.clone()).into());
        }
        // What was an empty directory has become files.
        walk(&Changes::new(), directory, path, &mut found)
            .or_else(|error| if is_none(&error) { Ok(()) } else { Err(error) })
            .or_fail_with(FailureKind::Input, unreadable)?;
    }
    let absent = rules.iter().filter(|(path, _)| !found.contains(*path));
    write(repository, &absent.map(|(path, file)| (path.clone(), *file)).collect(), directory)?;
    repository
        .set_workdir(directory, false)
        .or_fail_with(FailureKind::Internal, || "can't use the checkout's ignore rules")?;
    let mut changes = Changes::new();
    for path in &found {
        let known = before.get(path).copied().flatten();
        if known.is_none() && repository.is_path_ignored(path).unwrap_or(false) {
            continue;
        }
        if !path.starts_with(limit) {
            return Err(CheckoutError::Outside { path: path.clone(), limit: limit.to_owned() }.into());
        }
        let now = stored(repository, known, directory, path)?;
        if known != Some(now) {
            changes.insert(path.clone(), Some(now));
        }
    }
    for (path, entry) in before {
        let is_submodule = entry.is_some_and(|entry| entry.mode == SUBMODULE);
        let is_filled = || found.iter().any(|file| file != path && file.starts_with(path));
        let gone = !found.contains(path) && (!is_submodule || !directory.join(path).is_dir() || is_filled());
        if gone {
            changes.insert(path.clone(), None);
        }
    }
    Ok(changes)
}

/// Every file and link, except in `.git` directories and submodules.
fn walk(before: &Changes, directory: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            found.insert(path);
        } else if entry.file_name() != ".git" && !is_submodule(before, &path) {
            walk(before, directory, &path, found)?;
        }
    }
    Ok(())
}

/// Whether there is no directory: nothing, or a file.
fn is_none(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_submodule(before: &Changes, path: &Path) -> bool {
    before.get(path).copied().flatten().is_some_and(|entry| entry.mode == SUBMODULE)
}

/// Puts a file's content into the store.
fn stored(
    repository: &Repository,
    known: Option<FileEntry>,
    directory: &Path,
    path: &Path,
) -> Result<FileEntry, Failure> {
    let content = Content::read(&directory.join(path))
        .or_fail_with(FailureKind::Input, || format!("can't read {}", path.display()))?;
    let content = content.ok_or_else(|| CheckoutError::Special(path.to_owned()))?;
    let was_pointer = || {
        let blob = known.and_then(|known| repository.find_blob(known.blob).ok());
        blob.is_some_and(|blob| lfs::is_pointer(blob.content()))
    };
    if content.is_file()
        && !lfs::is_pointer(&content.bytes)
        && (was_pointer() || lfs::is_tracked(repository, path))
    {
        return Err(CheckoutError::Lfs(path.to_owned()).into());
    }
    let blob = repository
        .blob(&content.bytes)
        .or_fail_with(FailureKind::Output, || format!("can't store {}", path.display()))?;
    Ok(FileEntry { blob, mode: content.mode })
}
