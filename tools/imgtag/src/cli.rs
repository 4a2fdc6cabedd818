//! The command line of imgtag, and the only place that reads the environment.

use std::path::PathBuf;

use step::{
    Dotenv, ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, Talk, document, environment,
};

use crate::abbreviation::{Abbreviation, Length, abbreviate, abbreviate_head};
use crate::error::TagError;
use crate::tag::{self, Tag};
use crate::{candidates, plain, repository};

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
so `safe.directory` is not needed.";

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
const ELSEWHERE: [&str; 7] = [
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
];

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

    /// The last commit that touched PATH instead of REV itself; with --tree the content of PATH
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

    /// Add SUFFIX where tracked files differ from the commit; `verify` takes it off
    #[arg(long, value_name = "SUFFIX", num_args = 0..=1, require_equals = true, default_missing_value = DIRTY)]
    dirty: Option<String>,

    /// Refuse (1) where tracked files differ from the commit
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
        if let Some(tag) = &self.tag {
            return self.verify(tag, io);
        }
        let tag = self.tag()?;
        for warning in &tag.warnings {
            io.console.warn(warning);
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
}

impl Cli {
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
        let repository = repository::open(&self.directory)?;
        let unprefixed = tag::without_image(tag).strip_prefix(self.prefix.as_str()).unwrap_or_default();
        let name = unprefixed.strip_suffix(self.dirty.as_deref().unwrap_or(DIRTY)).unwrap_or(unprefixed);
        if name != unprefixed {
            io.console.warn(format!("`{tag}` has more in it than the commit: tracked files differed"));
        }
        let commit = match candidates::commits(&repository, name)?.as_slice() {
            [commit] => Ok(commit.to_string()),
            [] => Err(format!("`{tag}` names no commit of this repository")),
            several => {
                let list = candidates::described(&repository, several);
                Err(format!("`{tag}` is ambiguous; it may be {list}"))
            }
        };
        let commit = match commit {
            Ok(commit) => commit,
            Err(reason) => {
                io.console.note(reason);
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
        if let Some(head) = self.plain_head() {
            let abbreviation = abbreviate_head(&head, self.length);
            return self.describe(head.id, &abbreviation, head.shallow, None);
        }
        let repository = repository::open(&self.directory)?;
        let id = match (self.tree, self.path.as_slice()) {
            (true, paths) => repository::content(&repository, &self.revision, paths)?,
            (false, []) => repository::resolve(&repository, &self.revision)?,
            (false, paths) => repository::last_touching(&repository, &self.revision, paths)?,
        };
        let abbreviation = abbreviate(&repository, id, self.length)?;
        let dirty =
            if self.clean || self.dirty.is_some() { Some(repository::is_dirty(&repository)?) } else { None };
        let shallow = repository.is_shallow().map_err(TagError::unreadable)?;
        self.describe(id.to_string(), &abbreviation, shallow, dirty)
    }

    /// HEAD, where nothing more is asked for and the clone is a plain one.
    fn plain_head(&self) -> Option<plain::Head> {
        let asks_more = self.tree || self.clean || self.dirty.is_some() || !self.path.is_empty();
        if asks_more
            || !matches!(self.revision.as_str(), HEAD | "@")
            || ELSEWHERE.iter().any(|name| environment::var_os(name).is_some())
        {
            return None;
        }
        let home = PathBuf::from(environment::var_os("HOME")?);
        let of_user =
            environment::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        let settings = [PathBuf::from("/etc/gitconfig"), of_user.join("git/config"), home.join(".gitconfig")];
        plain::head(&self.directory, &settings).ok()
    }

    /// The tag of an abbreviated id, and what a user should know of it.
    fn describe(
        &self,
        commit: String,
        abbreviation: &Abbreviation,
        shallow: bool,
        dirty: Option<bool>,
    ) -> Result<Tag, TagError> {
        let suffix = self.dirty.as_deref().filter(|_| dirty == Some(true)).unwrap_or_default();
        let tag = tag::assemble(&self.prefix, &abbreviation.text, suffix)?;
        let mut warnings = Vec::new();
        if !abbreviation.stable {
            let what = if shallow { "is shallow" } else { "has no packed objects" };
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
            commit,
            length: abbreviation.text.len(),
            shallow,
            dirty,
            stable: abbreviation.stable,
            warnings,
        })
    }
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
