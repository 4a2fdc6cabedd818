//! Files replaced by new content: all of them or none, each at once.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};
use rustix::io::Errno;
use step::Cleanup;
use tempfile::{Builder, NamedTempFile};

/// As many symbolic links as Linux itself follows.
const MOST_LINKS: usize = 40;

/// A file's new content.
#[derive(Debug)]
pub struct Replacement<'a> {
    /// The file; a symbolic link is followed.
    pub path: &'a Path,
    /// What it must hold still, if it is there.
    pub before: Option<&'a [u8]>,
    /// What it shall hold.
    pub content: &'a [u8],
    /// The file whose mode a new file gets, if it is one.
    pub mode_of: &'a Path,
}

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The system said no.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Somebody wrote to the file since it was read.
    #[error("it has changed since it was read")]
    Changed,
}

/// Replaces files. Where one can't be, those already replaced get their old content back, also when
/// a signal ends the process.
pub fn replace_all(replacements: &[Replacement<'_>]) -> Result<(), (PathBuf, ReplaceError)> {
    let failed = |replacement: &Replacement<'_>, error: ReplaceError| (replacement.path.to_owned(), error);
    let mut staged = Vec::new();
    for replacement in replacements {
        staged.push((replacement, stage(replacement).map_err(|error| failed(replacement, error.into()))?));
    }
    let journal = Arc::new(Journal::default());
    let undo = {
        let journal = Arc::clone(&journal);
        Cleanup::new(move || journal.undo())
    };
    for (replacement, stage) in staged {
        let replaced = journal.replace(&stage.target, stage.new, replacement.before);
        replaced.map_err(|error| failed(replacement, error))?;
        stage.removal.disarm();
    }
    journal.keep();
    undo.disarm();
    Ok(())
}

/// Whether the files could be replaced, as far as can be told without writing.
pub fn rehearse(replacements: &[Replacement<'_>]) -> Result<(), (PathBuf, ReplaceError)> {
    for replacement in replacements {
        let rehearsed = target_of(replacement.path).and_then(|target| may_replace(&target));
        rehearsed.map_err(|error| (replacement.path.to_owned(), error.into()))?;
    }
    Ok(())
}

/// Whether a file, there or not yet, could be replaced: its directory decides, and what the file system says of it.
fn may_replace(target: &Path) -> io::Result<()> {
    may_write(directory_of(target), Access::WRITE_OK | Access::EXEC_OK)?;
    let there = match statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Err(Errno::NOENT) => return Ok(()),
        there => there?,
    };
    let attributes = there.stx_attributes;
    if attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        return Err(Errno::PERM.into());
    }
    if attributes.contains(StatxAttributes::MOUNT_ROOT) { Err(Errno::BUSY.into()) } else { Ok(()) }
}

/// Whether this process may, as its effective user, write there.
pub fn may_write(path: &Path, access: Access) -> io::Result<()> {
    match accessat(CWD, path, access, AtFlags::EACCESS) {
        // The kernel can't tell: it has no such question.
        Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
        answer => Ok(answer?),
    }
}

/// A file's new content beside it, under a name of its own.
struct Staged {
    target: PathBuf,
    new: NamedTempFile,
    removal: Cleanup,
}

/// Writes the content beside the file it will become.
fn stage(replacement: &Replacement<'_>) -> io::Result<Staged> {
    let target = target_of(replacement.path)?;
    let old = fs::metadata(&target).ok();
    // A new file may be as executable as its template, and is as readable as the user wants new files to be.
    let like = || fs::metadata(replacement.mode_of).ok().filter(Metadata::is_file);
    let mode = match &old {
        Some(_) => 0o600,
        None => like().map_or(0o666, |like| like.mode() & 0o777),
    };
    let (mut new, removal) = create_beside(&target, mode)?;
    new.write_all(replacement.content)?;
    if let Some(old) = old {
        // Only root may give files away; what others write is theirs.
        let _ = fchown(new.as_file(), Some(old.uid()), Some(old.gid()));
        new.as_file().set_permissions(old.permissions())?;
    }
    new.as_file().sync_all()?;
    Ok(Staged { target, new, removal })
}

/// The file itself, behind symbolic links.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => end_of_links(path),
        target => target,
    }
}

/// The file that symbolic links lead to, where it doesn't exist.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&end) {
            Ok(next) => end = end.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// A new file beside another, and what removes it, which is there before the file is. The user's umask
/// is taken off the mode.
fn create_beside(target: &Path, mode: u32) -> io::Result<(NamedTempFile, Cleanup)> {
    let mut removal = None;
    let new = in_directory_of(target, |path| {
        let left = path.to_owned();
        let armed = Cleanup::new(move || drop(fs::remove_file(left)));
        match File::options().read(true).write(true).create_new(true).mode(mode).open(path) {
            Ok(file) => {
                removal = Some(armed);
                Ok(file)
            }
            Err(error) => {
                // Whatever is there is not ours.
                armed.disarm();
                Err(error)
            }
        }
    })?;
    let removal = removal.ok_or(io::ErrorKind::NotFound)?;
    Ok((new, removal))
}

fn in_directory_of<R>(
    target: &Path,
    make: impl FnMut(&Path) -> io::Result<R>,
) -> io::Result<NamedTempFile<R>> {
    Builder::new().prefix(".manifest-patch-").make_in(directory_of(target), make)
}

/// The directory that a path names a file in.
pub fn directory_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What was replaced so far: each file, and a second name of its old content if it had one.
#[derive(Default)]
struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    replaced: Vec<(PathBuf, Option<PathBuf>)>,
    /// Whether everything was brought back. Nothing may be replaced after that.
    undone: bool,
}

impl Journal {
    /// Replaces a file. Whoever wants to undo it waits until this is done.
    fn replace(&self, target: &Path, new: NamedTempFile, before: Option<&[u8]>) -> Result<(), ReplaceError> {
        let mut entries = self.entries();
        if entries.undone {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let old = if target.exists() { Some(second_name(target)?) } else { None };
        let now = before.zip(old.as_ref()).map(|(before, old)| (before, fs::read(old)));
        let differs = now.is_some_and(|(before, now)| now.is_ok_and(|now| now != before));
        // A file may be named twice.
        if differs && !entries.replaced.iter().any(|(replaced, _)| replaced == target) {
            let _ = old.map(fs::remove_file);
            return Err(ReplaceError::Changed);
        }
        entries.replaced.push((target.to_owned(), old));
        new.persist(target).map_err(|error| error.error)?;
        if let Some(directory) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Not every file system can do that; the content itself is on the disk.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }

    /// Forgets the old content.
    fn keep(&self) {
        for (_, old) in self.entries().replaced.drain(..) {
            // A second name that stays is harmless.
            let _ = old.map(fs::remove_file);
        }
    }

    /// Brings the old content back. There is nobody left to tell where that fails.
    fn undo(&self) {
        let mut entries = self.entries();
        entries.undone = true;
        for (target, old) in entries.replaced.drain(..).rev() {
            let Some(old) = old else {
                let _ = fs::remove_file(target);
                continue;
            };
            let _ = fs::rename(&old, target);
            // Renaming one name of a file to another name of it removes neither.
            let _ = fs::remove_file(old);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A second name for a file's content, by a hard link or else a copy.
fn second_name(target: &Path) -> io::Result<PathBuf> {
    let named = in_directory_of(target, |path| {
        fs::hard_link(target, path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::copy(target, path).map(drop),
        })
    })?;
    named.into_temp_path().keep().map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_comes_back_where_another_can_not_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "old").unwrap();
        fs::create_dir(path("two")).unwrap();
        let paths = [path("one"), path("new"), path("two")];
        let replacements = paths.each_ref().map(|path| Replacement {
            path,
            before: None,
            content: b"new",
            mode_of: Path::new("-"),
        });
        let (at, error) = replace_all(&replacements).unwrap_err();
        assert_eq!(at, path("two"), "{error}");
        assert_eq!(fs::read(path("one")).unwrap(), b"old");
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["one", "two"]);

        replace_all(&replacements[..2]).unwrap();
        assert_eq!(
            (fs::read(path("one")).unwrap(), fs::read(path("new")).unwrap()),
            (b"new".to_vec(), b"new".to_vec())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
    #[test]
    fn what_somebody_else_wrote_stays() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&paths[0], "read").unwrap();
        fs::write(&paths[1], "not what was read").unwrap();
        let replacements = paths.each_ref().map(|path| Replacement {
            path,
            before: Some(b"read"),
            content: b"new",
            mode_of: Path::new("-"),
        });
        let (at, error) = replace_all(&replacements).unwrap_err();
        assert!(matches!(error, ReplaceError::Changed) && at == paths[1]);
        let contents = paths.each_ref().map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(contents, ["read", "not what was read"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
