//! Files of a tree on disk, and what has become of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};
use step::{Failure, FailureKind, ResultExt};

use crate::tree::{Changes, FileEntry, SUBMODULE};

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
}

/// Writes the files into the directory, with their modes and links.
pub fn write(repository: &Repository, files: &Changes, directory: &Path) -> Result<(), Failure> {
    for (path, entry) in files {
        let Some(entry) = entry else { continue };
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

/// What differs between the files that were checked out and what the directory holds now; new content
/// is put into the store. New files that the checkout's `.gitignore` files name are left out.
pub fn changes(
    repository: &Repository,
    before: &Changes,
    directory: &Path,
    limit: &Path,
) -> Result<Changes, Failure> {
    repository
        .set_workdir(directory, false)
        .or_fail_with(FailureKind::Internal, || "can't use the checkout's ignore rules")?;
    let mut found = BTreeSet::new();
    walk(before, directory, Path::new(""), &mut found)
        .or_fail_with(FailureKind::Input, || "can't read what the command left")?;
    let mut changes = Changes::new();
    for path in &found {
        let known = before.get(path).copied().flatten();
        if known.is_none() && repository.is_path_ignored(path).unwrap_or(false) {
            continue;
        }
        if !path.starts_with(limit) {
            let error = CheckoutError::Outside { path: path.clone(), limit: limit.to_owned() };
            return Err(Failure::new(FailureKind::Input, error).hint("widen --path, or leave it out"));
        }
        let now = stored(repository, &directory.join(path), path)?;
        if known != Some(now) {
            changes.insert(path.clone(), Some(now));
        }
    }
    for (path, entry) in before {
        let is_submodule = entry.is_some_and(|entry| entry.mode == SUBMODULE);
        let gone = !found.contains(path) && (!is_submodule || !directory.join(path).is_dir());
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

fn is_submodule(before: &Changes, path: &Path) -> bool {
    before.get(path).copied().flatten().is_some_and(|entry| entry.mode == SUBMODULE)
}

/// Puts a file's content into the store.
fn stored(repository: &Repository, file: &Path, path: &Path) -> Result<FileEntry, Failure> {
    let entry = read(repository, file)
        .or_fail_with(FailureKind::Input, || format!("can't read {}", path.display()))?;
    entry.ok_or_else(|| Failure::new(FailureKind::Input, CheckoutError::Special(path.to_owned())))
}

/// The entry for a file as it is on disk; `None` for a device, a socket or a pipe.
pub fn read(repository: &Repository, file: &Path) -> io::Result<Option<FileEntry>> {
    let metadata = fs::symlink_metadata(file)?;
    let (content, mode) = if metadata.is_symlink() {
        (fs::read_link(file)?.as_os_str().as_bytes().to_vec(), LINK)
    } else if metadata.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        (fs::read(file)?, if executable { EXECUTABLE } else { REGULAR })
    } else {
        return Ok(None);
    };
    let blob: Oid = repository.blob(&content).map_err(io::Error::other)?;
    Ok(Some(FileEntry { blob, mode }))
}
