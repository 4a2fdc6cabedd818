//! The command line of imgtag, and the only place that reads the environment.

use std::path::{Path, PathBuf};

use step::{
    Dotenv, ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, Talk, document, environment,
};

use crate::abbreviation::{Length, Subject, Unstable, abbreviate};
use crate::error::TagError;
use crate::tag::{self, Tag};
use crate::{candidates, history, plain, repository, work_tree};
use gix::config::Source;

const EXAMPLES: &str = "\
Examples:
  imgtag                                     the tag of HEAD, as `git rev-parse --short HEAD` prints it
  imgtag --length 12                         the same length in every clone, however shallow
  imgtag --image registry.test/team/app      registry.test/team/app:4b1c9e2
  imgtag --path services/api                 the last commit that touched services/api
  imgtag --tree --path services/api          the content of services/api: the same after a rebase
  imgtag --dirty -o json                     with -dirty where tracked files differ, as JSON
  imgtag verify registry.test/app:4b1c9e2    the full id of the commit that the tag names, or 1

`imgtag verify` without a TAG, or `imgtag refs/heads/verify`, is the tag of a branch of that name.

A repository that another user owns is read like any other: nothing that its configuration names is executed,
so `safe.directory` is not needed. (In one of your own, --dirty and --clean run the filters that it sets, such as
git-lfs, where a file may have changed.) GIT_DIR names the repository, as it does for git.";

/// The word that asks for the way back.
const VERIFY: &str = "verify";

/// Unless another revision is given.
const HEAD: &str = "HEAD";

/// Unless another folder is given.
const HERE: &str = ".";

/// The variables that stand for arguments.
const REV_VARIABLE: &str = "IMGTAG_REV";
const LENGTH_VARIABLE: &str = "IMGTAG_LENGTH";
const IMAGE_VARIABLE: &str = "IMGTAG_IMAGE";
const PREFIX_VARIABLE: &str = "IMGTAG_PREFIX";
const OUTPUT_VARIABLE: &str = "IMGTAG_OUTPUT";
const VARIABLES: [&str; 5] =
    [REV_VARIABLE, LENGTH_VARIABLE, IMAGE_VARIABLE, PREFIX_VARIABLE, OUTPUT_VARIABLE];

/// Those by which git, and gix as well, take settings or objects from elsewhere.
const ELSEWHERE: [&str; 10] = [
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    GIT_DIR,
];

/// The repository, instead of one that is looked for: git sets it for its hooks.
const GIT_DIR: &str = "GIT_DIR";

/// What `--dirty` adds where it is given no suffix.
const DIRTY: &str = "-dirty";

/// Commit to image tag: the one tag that every job of a pipeline computes alike
#[derive(Debug, clap::Parser)]
#[command(
    name = "imgtag",
    version,
    override_usage = "imgtag [OPTIONS] [REV]\n       imgtag [OPTIONS] verify TAG",
    after_long_help = EXAMPLES
)]
pub struct Cli {
    /// The commit, as git writes revisions: a branch, a tag, HEAD~2, an id
    #[arg(value_name = "REV", default_value = HEAD, env = REV_VARIABLE)]
    revision: String,

    /// With `verify` in front of it: a tag, or IMAGE:TAG, whose commit is asked for; 1 where there is none or several
    #[arg(value_name = "TAG")]
    tag: Option<String>,

    /// Look for the repository here instead of the current folder
    #[arg(short = 'C', value_name = "DIR", default_value = HERE)]
    directory: PathBuf,

    /// Length of the tag in characters: 4 to 64, `full`, or `auto` as git chooses it here
    #[arg(long, value_name = "N", default_value = "auto", env = LENGTH_VARIABLE)]
    length: Length,

    /// The last commit that touched PATH instead of REV itself; with --tree the content of PATH. A PATH is relative to
    /// the current folder, or to the top of the work tree as `:/PATH`. Every word after it is one: REV stands in front
    #[arg(long, value_name = "PATH", num_args = 1..)]
    path: Vec<String>,

    /// The tag of the content (the tree at REV) instead of the commit
    #[arg(long)]
    tree: bool,

    /// Print REPOSITORY:TAG
    #[arg(long, value_name = "REPOSITORY", env = IMAGE_VARIABLE)]
    image: Option<String>,

    /// Put S in front of the tag
    #[arg(long, value_name = "S", default_value = "", env = PREFIX_VARIABLE)]
    prefix: String,

    /// Add SUFFIX where tracked files, at PATH or anywhere, differ from REV; `verify` takes it off
    #[arg(long, value_name = "SUFFIX", num_args = 0..=1, require_equals = true, default_missing_value = DIRTY)]
    dirty: Option<String>,

    /// Refuse (1) where tracked files, at PATH or anywhere, differ from REV
    #[arg(long, conflicts_with = "dirty")]
    clean: bool,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, env = OUTPUT_VARIABLE)]
    output: Format,

    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "imgtag";
    const IS_BRIEF: bool = true;

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: self.output == Format::Json }
    }

    fn without_arguments() -> Option<Self> {
        VARIABLES.iter().all(|name| environment::var_os(name).is_none()).then(|| Self {
            revision: HEAD.to_owned(),
            tag: None,
            directory: PathBuf::from(HERE),
            length: Length::Automatic,
            path: Vec::new(),
            tree: false,
            image: None,
            prefix: String::new(),
            dirty: None,
            clean: false,
            output: Format::default(),
            talk: Talk::default(),
        })
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        self.answer(io).map_err(Failure::printable)
    }
}

impl Cli {
    fn answer(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        // As git does it: what follows is relative to that folder.
        if self.directory != Path::new(HERE) && !self.directory.as_os_str().is_empty() {
            std::env::set_current_dir(&self.directory).map_err(|error| {
                let message = format!("can't change to {}: {error}", self.directory.display());
                Failure::message(FailureKind::Input, message).hint("-C takes a folder in a clone")
            })?;
        }
        if let Some(tag) = &self.tag {
            return self.verify(tag, io);
        }
        let tag = self.tag()?;
        for warning in &tag.warnings {
            io.console.warn(step::printable(warning));
        }
        if self.clean && tag.dirty == Some(true) {
            io.console.note("tracked files differ from the commit");
            if self.output == Format::Json {
                io.out.line(document(Self::NAME, tag.fields()))?;
            }
            return Ok(ExitStatus::No);
        }
        match self.output {
            Format::Text => io.out.line(tag.image.as_ref().unwrap_or(&tag.tag))?,
            Format::Json => io.out.line(document(Self::NAME, tag.fields()))?,
            Format::Dotenv => {
                let mut report = Dotenv::new();
                report.set("IMAGE_TAG", &tag.tag)?;
                if let Some(image) = &tag.image {
                    report.set("IMAGE", image)?;
                }
                io.out.bytes(report.text().as_bytes())?;
            }
        }
        Ok(ExitStatus::Done)
    }

    /// From a tag back to the commit.
    fn verify(&self, tag: &str, io: &mut Io) -> Result<ExitStatus, Failure> {
        if self.revision != VERIFY {
            let message = format!("unexpected argument '{tag}' after the revision '{}'", self.revision);
            return Err(
                Failure::message(FailureKind::Usage, message).hint("imgtag REV, or imgtag verify TAG")
            );
        }
        if self.tree || self.clean || !self.path.is_empty() {
            let message = "verify looks for a commit: it takes no --tree, --path or --clean";
            return Err(Failure::message(FailureKind::Usage, message));
        }
        let repository = open()?;
        let unprefixed = tag::without_image(tag).strip_prefix(self.prefix.as_str()).unwrap_or_default();
        let name = unprefixed.strip_suffix(self.dirty.as_deref().unwrap_or(DIRTY)).unwrap_or(unprefixed);
        if name != unprefixed {
            let warning = format!("`{tag}` has more in it than the commit: tracked files differed");
            io.console.warn(step::printable(&warning));
        }
        let commit = match candidates::commits(&repository, name)?.as_slice() {
            [commit] => Ok(commit.to_string()),
            [] if repository.is_shallow().map_err(TagError::library)?
                && candidates::may_be_elsewhere(&repository, name) =>
            {
                return Err(TagError::BeforeTheEnd(tag.to_owned()).into());
            }
            [] => Err(format!("`{tag}` names no commit of this repository")),
            several => {
                let list = candidates::described(&repository, several);
                Err(format!("`{tag}` is ambiguous; it may be {list}"))
            }
        };
        let commit = match commit {
            Ok(commit) => commit,
            Err(reason) => {
                io.console.note(step::printable(&reason));
                if self.output == Format::Json {
                    io.out.line(document(Self::NAME, tag::verified(name, None)))?;
                }
                return Ok(ExitStatus::No);
            }
        };
        match self.output {
            Format::Text => io.out.line(&commit)?,
            Format::Json => {
                io.out.line(document(Self::NAME, tag::verified(name, Some(&commit))))?;
            }
            Format::Dotenv => {
                let mut report = Dotenv::new();
                report.set("IMAGE_TAG", name)?;
                report.set("IMAGE_COMMIT", &commit)?;
                io.out.bytes(report.text().as_bytes())?;
            }
        }
        Ok(ExitStatus::Done)
    }

    fn tag(&self) -> Result<Tag, TagError> {
        if let Some(subject) = self.plain() {
            return self.describe(&subject, None);
        }
        let repository = open()?;
        let paths = self.path.iter().map(|path| repository::from_top(&repository, path));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        if paths.len() > 1 {
            self.are_paths(&repository, &paths)?;
        }
        let id = match (self.tree, paths.as_slice()) {
            (true, paths) => repository::content(&repository, &self.revision, paths)?,
            (false, []) => repository::resolve(&repository, &self.revision)?,
            (false, paths) => {
                let start = repository::commit(&repository, &self.revision)?;
                history::last_touching(&repository, start, &self.revision, paths)?
            }
        };
        // A partial clone need not have what is at a path, nor any clone a submodule's commit.
        let unseen = !self.tree && !self.revision.contains(':');
        let dirty = if self.clean || self.dirty.is_some() {
            let tree = repository::tree(&repository, &self.revision)?.id;
            Some(work_tree::is_dirty(&repository, tree, &paths)?)
        } else {
            None
        };
        self.describe(&repository::subject(&repository, id, unseen)?, dirty)
    }

    /// Each of several is one: a revision behind `--path` would go unnoticed, and the tag be another commit's.
    fn are_paths(&self, repository: &gix::Repository, paths: &[String]) -> Result<(), TagError> {
        for (word, path) in self.path.iter().zip(paths) {
            let known = if self.tree {
                repository::content(repository, &self.revision, std::slice::from_ref(path)).map(drop)
            } else {
                history::knows(repository, &self.revision, path)
            };
            let Err(error) = known else { continue };
            let is_missing = matches!(
                error,
                TagError::NoPath { .. } | TagError::NeverTouched { .. } | TagError::TooShallow { .. }
            );
            if is_missing && repository::resolve(repository, word).is_ok() {
                return Err(TagError::RevisionAsPath { word: word.clone(), revision: self.revision.clone() });
            }
            // What a shallow clone does not have may be beyond its end.
            if !matches!(error, TagError::TooShallow { .. }) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// HEAD or a full id, where nothing more is asked for and the clone is a plain one.
    fn plain(&self) -> Option<Subject> {
        let asks_more = self.tree || self.clean || self.dirty.is_some() || !self.path.is_empty();
        if asks_more || ELSEWHERE.iter().any(|name| environment::var_os(name).is_some()) {
            return None;
        }
        let home = PathBuf::from(environment::var_os("HOME")?);
        let of_user =
            environment::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        let settings = [
            (PathBuf::from("/etc/gitconfig"), Source::System),
            (of_user.join("git/config"), Source::Git),
            (home.join(".gitconfig"), Source::User),
        ];
        plain::named(&self.revision, Path::new(HERE), settings).ok()
    }

    /// The tag of an object, and what a user should know of it.
    fn describe(&self, subject: &Subject, dirty: Option<bool>) -> Result<Tag, TagError> {
        let abbreviation = abbreviate(subject, self.length)?;
        let suffix = self.dirty.as_deref().filter(|_| dirty == Some(true)).unwrap_or_default();
        let tag = tag::assemble(&self.prefix, &abbreviation.text, suffix)?;
        let mut warnings = Vec::new();
        if let Some(why) = abbreviation.unstable {
            let what = match why {
                Unstable::Shallow => "is shallow",
                Unstable::Partial => "is a partial one",
                Unstable::Loose => "has objects that are in no pack, which don't count",
            };
            warnings.push(format!(
                "this clone {what}: another one may make this tag longer; --length N makes it the same everywhere"
            ));
        }
        if tag::reads_as_number(&tag) {
            warnings.push(format!(
                "YAML reads `{tag}` as a number unless it is quoted; --prefix makes it a word"
            ));
        }
        Ok(Tag {
            image: self.image.as_deref().map(|repository| tag::image(repository, &tag)).transpose()?,
            tag,
            commit: subject.id.to_string(),
            length: abbreviation.text.len(),
            shallow: subject.shallow,
            dirty,
            stable: abbreviation.unstable.is_none(),
            warnings,
        })
    }
}

fn open() -> Result<gix::Repository, TagError> {
    let git_dir = environment::var_os(GIT_DIR).map(PathBuf::from);
    repository::open(Path::new(HERE), git_dir.as_deref())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn no_arguments_are_what_parsing_makes_of_them() {
        let parsed = Cli::try_parse_from(["imgtag"]).unwrap();
        assert_eq!(format!("{:?}", Cli::without_arguments().unwrap()), format!("{parsed:?}"));
    }
}
