//! One run: read, patch, decide whether everything asked for was found, write or print.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use step::{Dotenv, ExitStatus, Failure, FailureKind, Format, Io, ResultExt};

use crate::explain;
use crate::files;
use crate::gate::{self, Other};
use crate::lock::{self, Locks};
use crate::patch::{Change, Hit, Outcome, Request, Source, patch_all};
use crate::position::Position;
use crate::replace::{ReplaceError, Replacement, may_write, rehearse, replace_all};
use crate::report;
use crate::select::{Target, Where};

/// What is read.
#[derive(Debug, Clone)]
pub enum Input {
    /// Stdin.
    Stdin,
    /// These files.
    Files(Vec<PathBuf>),
}

/// Where the result belongs.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Stdout gets the manifest.
    Stdout,
    /// Each file is replaced.
    InPlace,
    /// No place: what would become of each file is told.
    Told,
    /// This file is written.
    File(PathBuf),
}

/// All that the command line asks for.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Job {
    /// What to change.
    pub request: Request,
    /// Whether a name or a path may mean images of several repositories.
    pub all: bool,
    /// What is read.
    pub input: Input,
    /// Where the result belongs.
    pub destination: Destination,
    /// Whether files are written at all.
    pub write: bool,
    /// Whether it is asked if they could be written.
    pub rehearse: bool,
    /// Whether a change leads to status 1.
    pub check: bool,
    /// Whether a diff is printed.
    pub diff: bool,
    /// How the result is told.
    pub format: Format,
    /// The most threads to use; without it, one a processor.
    pub jobs: Option<NonZeroUsize>,
}

/// A file before and after.
#[derive(Debug)]
pub struct Patched {
    /// What was read.
    pub source: Source,
    /// The file that the result belongs into, if it is a file.
    pub target: Option<PathBuf>,
    /// What the target holds now: nothing where it doesn't exist.
    pub before: Before,
    /// What it shall hold, if that is not what was read.
    pub after: Option<Vec<u8>>,
    /// What was found and changed.
    pub outcome: Outcome,
}

/// What a target holds before it is written.
#[derive(Debug)]
pub enum Before {
    /// What was read: it is the same file.
    Source,
    /// Something of its own.
    Other(Vec<u8>),
    /// Nothing: the file doesn't exist.
    Nothing,
    /// Whatever a pipe or a device holds: it is written to, not replaced.
    Stream,
}

impl Patched {
    /// Whether the target changes.
    pub fn changed(&self) -> bool {
        match &self.before {
            Before::Source => self.after.is_some(),
            Before::Other(content) => content.as_slice() != self.after(),
            Before::Nothing | Before::Stream => true,
        }
    }

    /// What the target holds now.
    pub fn before(&self) -> Option<&[u8]> {
        match &self.before {
            Before::Source => Some(&self.source.bytes),
            Before::Other(content) => Some(content),
            Before::Nothing | Before::Stream => None,
        }
    }

    /// What it shall hold.
    pub fn after(&self) -> &[u8] {
        self.after.as_deref().unwrap_or(&self.source.bytes)
    }

    /// The name that results carry.
    pub fn name(&self) -> String {
        self.target.as_ref().map_or_else(|| self.source.name.clone(), |target| target.display().to_string())
    }
}

/// Does the job.
pub fn run(job: &Job, io: &mut Io) -> Result<ExitStatus, Failure> {
    let locks = lock_targets(job)?;
    let sources = files::read(&job.input)?;
    let outcomes = patch_all(&sources, &job.request, job.jobs)?;
    let hits: Vec<&Hit> = outcomes.iter().flat_map(|outcome| &outcome.hits).collect();
    require_hits(job, &sources, &hits)?;
    let mut warnings: Vec<String> = hits.iter().filter(|hit| hit.unpinned).map(|hit| unpinned(hit)).collect();
    warnings.extend(outcomes.iter().flat_map(|outcome| outcome.warnings.clone()));
    let patched = sources.into_iter().zip(outcomes);
    let patched =
        patched.map(|(source, outcome)| place(source, outcome, job)).collect::<Result<Vec<_>, _>>()?;
    for file in &patched {
        for change in &file.outcome.changes {
            let place = format!("{}:{}", file.source.name, change.position);
            let detail = format!("{place}: {} {} -> {}", change.path, change.old, change.new);
            io.console.detail(step::printable(&detail));
        }
    }
    warnings.extend(patched.iter().filter(|file| file.outcome.is_unverified()).map(unverified));
    for warning in &warnings {
        io.console.warn(step::printable(warning));
    }
    if job.write || job.rehearse {
        write(&patched, job.write)?;
    }
    drop(locks);
    print(job, &patched, &warnings, io)?;
    let changed = patched.iter().any(Patched::changed);
    Ok(if job.check && changed { ExitStatus::No } else { ExitStatus::Done })
}

/// Answers whether nothing but images changed.
pub fn verify(before: &Path, after: &Path, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
    let answer = gate::compare(before, after)?;
    match format {
        Format::Json => io.out.line(report::answer_json(&answer))?,
        Format::Dotenv => {
            let mut dotenv = Dotenv::new();
            dotenv.set("ONLY_IMAGES", if answer.only_images() { "true" } else { "false" })?;
            io.out.bytes(dotenv.text().as_bytes())?;
        }
        Format::Text => {
            for (file, change) in &answer.images {
                let Change { position: Position { line, .. }, path, old, new, .. } = change;
                io.out.line(step::printable(&format!("image {file}:{line} {path} {old} -> {new}")))?;
            }
            for Other { file, line, what } in &answer.others {
                io.out.line(step::printable(&format!("other {file}:{line} {what}")))?;
            }
        }
    }
    Ok(if answer.only_images() { ExitStatus::Done } else { ExitStatus::No })
}

/// Keeps other runs from editing what this one reads and replaces.
fn lock_targets(job: &Job) -> Result<Option<Locks>, Failure> {
    let targets = match (&job.destination, &job.input) {
        (Destination::InPlace, Input::Files(files)) => files::replaceable(files)?,
        (Destination::File(to), _) if !files::is_special(to) => vec![files::end_of(to)],
        _ => Vec::new(),
    };
    let targets = || targets.iter().map(AsRef::as_ref);
    job.write.then(|| lock::directories_of(targets(), lock::PATIENCE)).transpose()
}

/// Every target must have been found, and found once where one was meant.
fn require_hits(job: &Job, sources: &[Source], hits: &[&Hit]) -> Result<(), Failure> {
    for (number, target) in job.request.targets.iter().enumerate() {
        let hits: Vec<&Hit> = hits.iter().filter(|hit| hit.target == number).copied().collect();
        if hits.is_empty() {
            return Err(explain::nothing_found(target, sources, &job.request));
        }
        if !job.all && is_ambiguous(target, &hits) {
            return Err(explain::several_found(target, &hits));
        }
    }
    Ok(())
}

/// A name means one image, wherever it is used; a path without `[]` means one node.
fn is_ambiguous(target: &Target, hits: &[&Hit]) -> bool {
    match &target.place {
        Where::Container(_) => hits.iter().any(|hit| hit.now != hits[0].now),
        Where::At(path) => hits.len() > 1 && !path.is_plural(),
        Where::Repository | Where::Policy(_) => false,
    }
}

fn place(source: Source, outcome: Outcome, job: &Job) -> Result<Patched, Failure> {
    let after = (!outcome.changes.is_empty()).then(|| outcome.apply(&source.bytes));
    let (target, before) = match &job.destination {
        Destination::Stdout => (None, Before::Source),
        Destination::InPlace | Destination::Told => (Some(PathBuf::from(&source.name)), Before::Source),
        Destination::File(to) => (Some(to.clone()), files::what_is_at(to)?),
    };
    Ok(Patched { source, target, before, after, outcome })
}

/// Writes what changes, or only asks whether it could.
fn write(patched: &[Patched], really: bool) -> Result<(), Failure> {
    let (streams, files): (Vec<_>, Vec<_>) =
        patched.iter().filter(|file| file.changed()).partition(|file| matches!(file.before, Before::Stream));
    for file in streams {
        let path = file.target.as_deref().unwrap_or(Path::new("-"));
        let written = if really { write_to(path, file.after()) } else { may_write(path, Access::WRITE_OK) };
        written.or_fail_with(FailureKind::Output, || format!("can't write to {}", path.display()))?;
    }
    let replacements: Vec<Replacement<'_>> = files
        .into_iter()
        .filter_map(|file| {
            let path = file.target.as_deref()?;
            Some(Replacement {
                path,
                before: file.before(),
                content: file.after(),
                mode_of: Path::new(&file.source.name),
            })
        })
        .collect();
    let replaced = if really { replace_all(&replacements) } else { rehearse(&replacements) };
    replaced.map_err(|(path, error)| {
        let (kind, hint) = match &error {
            ReplaceError::Changed => (FailureKind::Transient, "run it again; all files are as they were"),
            ReplaceError::System(error) if error.kind() == ErrorKind::ResourceBusy => (
                FailureKind::Output,
                "a mounted file can't be replaced: mount its directory; all files are as they were",
            ),
            ReplaceError::System(_) => (FailureKind::Output, "all files are as they were"),
        };
        Failure::new(kind, error).context(format!("can't write {}", path.display())).hint(hint)
    })
}

/// A pipe waits for its reader here, as a shell's redirection does.
fn write_to(stream: &Path, content: &[u8]) -> io::Result<()> {
    File::options().write(true).open(stream)?.write_all(content)
}

fn unpinned(hit: &Hit) -> String {
    let place = &hit.place;
    format!(
        "{place}: there is no key for the digest, so the image is not pinned; add `digest: \"\"` beside the tag"
    )
}

fn unverified(file: &Patched) -> String {
    format!("{} is a template, not YAML: checked by its bytes, not for its meaning", file.source.name)
}

fn print(job: &Job, patched: &[Patched], warnings: &[String], io: &mut Io) -> Result<(), Failure> {
    match job.format {
        Format::Json => return io.out.line(report::json(patched, warnings)),
        Format::Dotenv => return io.out.bytes(report::dotenv(patched)?.text().as_bytes()),
        Format::Text => {}
    }
    for file in patched {
        if job.diff {
            io.out.bytes(report::diff(file).as_bytes())?;
        } else if matches!(job.destination, Destination::Stdout) && !job.check {
            io.out.bytes(file.after())?;
        } else if file.changed() {
            io.out.line(file.name())?;
        }
    }
    Ok(())
}
