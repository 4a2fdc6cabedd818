//! One editor at a time: what is read must still be there when it is replaced.
//!
//! The lock is on the directory (flock), which stays when a file in it is replaced, and nothing is left behind. It binds
//! only who asks for it; who doesn't is noticed by the content, right before a file is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use step::{Failure, FailureKind};

use crate::replace::directory_of;

/// How long another editor is waited for: many times what it takes to edit the largest repository.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked whether the other one is done.
const INTERVAL: Duration = Duration::from_millis(2);

/// Each lock keeps a file open, and a process may open a thousand. What is changed at once in more directories is only
/// noticed by the content.
const MOST_LOCKS: usize = 256;

/// Directories in which nobody else edits as long as this value lives.
#[derive(Debug)]
#[must_use = "others edit again when this value is dropped"]
pub struct Locks {
    _directories: Vec<File>,
}

/// Locks the directories of files, which are no symbolic links, in an order that does not depend on how they are named, so
/// that no two processes wait for each other. A directory that can't be locked, such as one that may not be read, is none to wait for.
pub fn directories_of<'p>(
    files: impl IntoIterator<Item = &'p Path>,
    patience: Duration,
) -> Result<Locks, Failure> {
    let names: BTreeSet<&Path> = files.into_iter().map(directory_of).collect();
    let identified = names.into_iter().filter_map(|name| {
        let there = fs::metadata(name).ok()?;
        Some(((there.dev(), there.ino()), name))
    });
    let by_id: BTreeMap<(u64, u64), &Path> = identified.collect();
    let end = Instant::now() + patience;
    let mut locked = Vec::new();
    for name in by_id.values().take(MOST_LOCKS) {
        let Ok(directory) = File::open(name) else { continue };
        while let Err(TryLockError::WouldBlock) = directory.try_lock() {
            if Instant::now() >= end {
                let message = format!("another process edits files in {}", name.display());
                return Err(Failure::message(FailureKind::Transient, message)
                    .hint("run it again when that one has ended; `fuser` names it"));
            }
            sleep(INTERVAL);
        }
        locked.push(directory);
    }
    Ok(Locks { _directories: locked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_editor_is_waited_for_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one.yml", "two.yml"].map(|name| folder.path().join(name));
        let locks = directories_of([one.as_path(), &two], PATIENCE).unwrap();
        let failure = directories_of([two.as_path()], INTERVAL).unwrap_err();
        assert_eq!(failure.status().code(), 75);
        assert!(failure.to_string().contains("another process edits files in"), "{failure}");
        drop(locks);
        drop(directories_of([two.as_path()], INTERVAL).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
