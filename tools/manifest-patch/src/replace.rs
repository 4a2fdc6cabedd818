//! Files replaced by new content: all of them or none, each at once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use step::Cleanup;
use tempfile::{Builder, NamedTempFile};

/// A file's new content.
#[derive(Debug)]
pub struct Replacement<'a> {
    /// The file; a symbolic link is followed.
    pub path: &'a Path,
    /// What it shall hold.
    pub content: &'a [u8],
    /// The file whose mode a new file gets.
    pub mode_of: &'a Path,
}

/// Replaces files. Where one can't be, those already replaced get their old content back, also when
/// a signal ends the process.
pub fn replace_all(replacements: &[Replacement<'_>]) -> Result<(), (PathBuf, io::Error)> {
    let failed = |replacement: &Replacement<'_>, error| (replacement.path.to_owned(), error);
    let mut staged = Vec::new();
    for replacement in replacements {
        staged.push((replacement, stage(replacement).map_err(|error| failed(replacement, error))?));
    }
    let journal = Arc::new(Journal::default());
    let undo = {
        let journal = Arc::clone(&journal);
        Cleanup::new(move || journal.undo())
    };
    for (replacement, stage) in staged {
        journal.replace(stage).map_err(|error| failed(replacement, error))?;
    }
    undo.disarm();
    journal.keep();
    Ok(())
}

/// A file's new content beside it, under a name of its own.
struct Staged {
    target: PathBuf,
    new: NamedTempFile,
    removal: Cleanup,
}

/// Writes the content beside the file it will become.
fn stage(replacement: &Replacement<'_>) -> io::Result<Staged> {
    let target = match fs::canonicalize(replacement.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => replacement.path.to_owned(),
        target => target?,
    };
    let permissions =
        fs::metadata(&target).or_else(|_| fs::metadata(replacement.mode_of)).map(|m| m.permissions());
    let mut new = beside(&target)?;
    let left = new.path().to_owned();
    let removal = Cleanup::new(move || drop(fs::remove_file(left)));
    new.write_all(replacement.content)?;
    if let Ok(permissions) = permissions {
        new.as_file().set_permissions(permissions)?;
    }
    new.as_file().sync_all()?;
    Ok(Staged { target, new, removal })
}

fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Builder::new().prefix(".manifest-patch-").tempfile_in(directory)
}

/// What was replaced so far: each file, and a second name of its old content if it had one.
#[derive(Default)]
struct Journal(Mutex<Vec<(PathBuf, Option<PathBuf>)>>);

impl Journal {
    fn replace(&self, Staged { target, new, removal }: Staged) -> io::Result<()> {
        let old = if target.exists() { Some(second_name(&target)?) } else { None };
        self.entries().push((target.clone(), old));
        new.persist(&target).map_err(|error| error.error)?;
        removal.disarm();
        if let Some(directory) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Not every file system can do that; the content itself is on the disk.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }

    /// Forgets the old content.
    fn keep(&self) {
        for (_, old) in self.entries().drain(..) {
            // A second name that stays is harmless.
            let _ = old.map(fs::remove_file);
        }
    }

    /// Brings the old content back. There is nobody left to tell where that fails.
    fn undo(&self) {
        for (target, old) in self.entries().drain(..).rev() {
            let Some(old) = old else {
                let _ = fs::remove_file(target);
                continue;
            };
            let _ = fs::rename(&old, target);
            // Renaming one name of a file to another name of it removes neither.
            let _ = fs::remove_file(old);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(PathBuf, Option<PathBuf>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A second name for a file's content, by a hard link or else a copy.
fn second_name(target: &Path) -> io::Result<PathBuf> {
    let name = beside(target)?.into_temp_path();
    let path = name.to_path_buf();
    // Closing removes the file, which frees the name for the link.
    name.close()?;
    if fs::hard_link(target, &path).is_err() {
        fs::copy(target, &path)?;
    }
    Ok(path)
}
