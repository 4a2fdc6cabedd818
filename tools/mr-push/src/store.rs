//! The temporary directory of a run: an object store and, beside it, the checkout.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use git2::Repository;
use step::{Cleanup, Failure, FailureKind, ResultExt};

/// Gone when it is dropped, and when a signal or a panic ends the process.
pub struct Store {
    /// Where objects are kept between fetch and push.
    pub repository: Repository,
    directory: PathBuf,
    _cleanup: Cleanup,
}

impl Store {
    /// An empty store in the system's temporary directory, which nobody else can read.
    pub fn new() -> Result<Self, Failure> {
        let made = tempfile::Builder::new().prefix("mr-push-").tempdir();
        let directory = made.or_fail_with(FailureKind::Output, || "can't make a temporary directory")?.keep();
        let gone = directory.clone();
        let cleanup = Cleanup::new(move || {
            // What still can't be removed is not ours: a mount, or another user's.
            let _ = remove(&gone);
        });
        let repository = Repository::init_bare(directory.join("objects.git"))
            .or_fail_with(FailureKind::Output, || "can't make a temporary repository")?;
        Ok(Self { repository, directory, _cleanup: cleanup })
    }

    /// Where all of it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new, empty directory for a checkout; an earlier one is removed.
    pub fn empty_checkout(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join("checkout");
        let cleared = remove(&path).and_then(|()| fs::create_dir(&path));
        cleared.or_fail_with(FailureKind::Output, || "can't make a temporary checkout")?;
        Ok(path)
    }

    /// What stdin holds, to be read as often as the command has to run; none for a terminal, which
    /// the command gets itself.
    pub fn keep_stdin(&self) -> Result<Option<Input>, Failure> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Ok(None);
        }
        let path = self.directory.join("stdin");
        let copied = File::create(&path).and_then(|mut file| io::copy(&mut stdin.lock(), &mut file));
        copied.or_fail_with(FailureKind::Output, || "can't keep stdin for the command")?;
        Ok(Some(Input(path)))
    }
}

/// Removes a directory, if it is there, with what is unwritable in it: package managers leave such directories.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(directory)?;
            fs::remove_dir_all(directory)
        }
        result => result,
    }
}

fn make_writable(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// A stdin that can be read again.
#[derive(Debug)]
pub struct Input(PathBuf);

impl Input {
    /// From its beginning.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_directories_go_too() {
        let outer = tempfile::tempdir().unwrap();
        let checkout = outer.path().join("checkout");
        let locked = checkout.join("module/version");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("file"), "x").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(checkout.join("module"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&checkout).unwrap();
        assert!(!checkout.exists());
        remove(&checkout).unwrap();
    }
}
