//! The temporary directory of a run: an object store and, beside it, the checkout.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

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
            // Something in it may have been made unwritable on purpose; the rest still goes.
            let _ = std::fs::remove_dir_all(gone);
        });
        let repository = Repository::init_bare(directory.join("objects.git"))
            .or_fail_with(FailureKind::Output, || "can't make a temporary repository")?;
        Ok(Self { repository, directory, _cleanup: cleanup })
    }

    /// A new, empty directory for a checkout; an earlier one is removed.
    pub fn empty_checkout(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join("checkout");
        let cleared = match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir(&path),
        };
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

/// A stdin that can be read again.
#[derive(Debug)]
pub struct Input(PathBuf);

impl Input {
    /// From its beginning.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.0)
    }
}
