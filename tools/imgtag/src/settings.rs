//! The settings that bear on abbreviations: git's, read from the files that git reads.

use std::path::Path;

use gix::bstr::{BString, ByteSlice as _};
use gix::config::file::{Metadata, init::Options};
use gix::config::{File, Source};

use crate::error::TagError;
use crate::plain::{NotPlain, contents};

/// The shortest abbreviation that git makes (`MINIMUM_ABBREV` in git's environment.h).
pub const SHORTEST: usize = 4;

/// What `core.abbrev` asks for, by the rules of git's `git_default_core_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreAbbrev {
    /// As many characters as the number of objects suggests.
    Automatic,
    /// All.
    Full,
    /// This many.
    AtLeast(usize),
}

/// What a clone and its user have set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `core.abbrev` as it stands there, and what that comes to as a number by git's rules.
    abbrev: Option<(BString, Option<i64>)>,
    /// Whether an index of several packs is used (`core.multiPackIndex`).
    pub multi_pack_index: bool,
    /// Whether the clone leaves out objects that its remote has promised.
    pub partial: bool,
}

impl Settings {
    fn none() -> Self {
        Self { abbrev: None, multi_pack_index: true, partial: false }
    }

    /// As the Git library has them.
    pub fn of(repository: &gix::Repository) -> Self {
        let mut settings = Self::none();
        settings.take(repository.config_snapshot().plumbing());
        settings
    }

    fn take(&mut self, file: &File) {
        if let Some(value) = file.string("core.abbrev") {
            self.abbrev = Some((value, file.integer("core.abbrev").ok().flatten()));
        }
        if let Ok(Some(used)) = file.boolean("core.multiPackIndex") {
            self.multi_pack_index = used;
        }
        self.partial |= file.string("extensions.partialClone").is_some()
            || file
                .sections_by_name("remote")
                .into_iter()
                .flatten()
                .any(|remote| remote.value("promisor").is_some_and(|value| value != "false"));
    }

    /// What `core.abbrev` asks for.
    pub fn core_abbrev(&self, id_length: usize) -> Result<CoreAbbrev, TagError> {
        let Some((value, number)) = &self.abbrev else { return Ok(CoreAbbrev::Automatic) };
        let text = value.to_str_lossy();
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(CoreAbbrev::Automatic),
            "no" | "off" | "false" | "" => Ok(CoreAbbrev::Full),
            _ => match number.and_then(|number| usize::try_from(number).ok()) {
                Some(length) if (SHORTEST..=id_length).contains(&length) => Ok(CoreAbbrev::AtLeast(length)),
                _ => Err(TagError::Abbrev(text.into_owned())),
            },
        }
    }
}

/// What the files of a clone say of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What the ids are made with.
    pub hash: gix::hash::Kind,
    /// Whether a linked work tree has settings of its own.
    pub of_worktree: bool,
    /// Whether references are in reftable format.
    pub reftable: bool,
}

/// In small letters, what is in every setting that bears on abbreviations or on a clone's format.
const BEARING: [&[u8]; 5] = [b"abbrev", b"include", b"extensions", b"multipackindex", b"promisor"];

/// Reads settings file by file; later ones win.
#[derive(Debug)]
pub struct Reader {
    /// What was read so far.
    pub settings: Settings,
    /// What the clone's own file said.
    pub format: Format,
}

impl Default for Reader {
    /// Nothing is set.
    fn default() -> Self {
        let format = Format { hash: gix::hash::Kind::Sha1, of_worktree: false, reftable: false };
        Self { settings: Settings::none(), format }
    }
}

impl Reader {
    /// Reads a file, if it is there.
    pub fn read(&mut self, file: &Path, source: Source) -> Result<(), NotPlain> {
        let Some(text) = contents(file)? else { return Ok(()) };
        if source == Source::Local && !has_known_version(&text) {
            return Err(NotPlain);
        }
        let small = text.to_ascii_lowercase();
        // Hardly ever anything of it is set, and looking for it is quicker than parsing.
        if !BEARING.iter().any(|name| small.contains_str(name)) {
            return Ok(());
        }
        let parsed = File::from_bytes_no_includes(&text, Metadata::from(source), Options::default());
        let parsed = parsed.map_err(|_| NotPlain)?;
        if ["include", "includeif"].iter().any(|name| parsed.sections_by_name(name).is_some()) {
            return Err(NotPlain);
        }
        self.settings.take(&parsed);
        if source == Source::Local { self.take_format(&parsed) } else { Ok(()) }
    }

    /// Those extensions that change nothing here, and those that are understood.
    fn take_format(&mut self, file: &File) -> Result<(), NotPlain> {
        for section in file.sections_by_name("extensions").into_iter().flatten() {
            for name in section.value_names() {
                match name.to_ascii_lowercase().as_str() {
                    "noop" | "preciousobjects" | "partialclone" | "relativeworktrees" => {}
                    "worktreeconfig" => {
                        let set = file.boolean("extensions.worktreeConfig").map_err(|_| NotPlain)?;
                        self.format.of_worktree = set == Some(true);
                    }
                    "refstorage" => {
                        let value = file.string("extensions.refStorage").ok_or(NotPlain)?;
                        self.format.reftable = match value.as_slice() {
                            b"files" => false,
                            b"reftable" => true,
                            _ => return Err(NotPlain),
                        };
                    }
                    "objectformat" => {
                        let value = file.string("extensions.objectFormat").ok_or(NotPlain)?;
                        self.format.hash = match value.as_slice() {
                            b"sha1" => gix::hash::Kind::Sha1,
                            b"sha256" => gix::hash::Kind::Sha256,
                            _ => return Err(NotPlain),
                        };
                    }
                    _ => return Err(NotPlain),
                }
            }
        }
        Ok(())
    }
}

/// Whether a clone's version is one that this program knows, written as git writes it.
fn has_known_version(text: &[u8]) -> bool {
    const KEY: &str = "repositoryformatversion = ";
    text.find(KEY).is_none_or(|at| matches!(text[at + KEY.len()..], [b'0' | b'1', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_abbrev_as_git_reads_it() {
        let read = |value: &str, number| {
            let abbrev = Some((value.into(), number));
            Settings { abbrev, ..Settings::none() }.core_abbrev(40)
        };
        assert_eq!(Settings::none().core_abbrev(40).unwrap(), CoreAbbrev::Automatic);
        assert_eq!(read("Auto", None).unwrap(), CoreAbbrev::Automatic);
        for value in ["no", "off", "false", ""] {
            assert_eq!(read(value, None).unwrap(), CoreAbbrev::Full, "{value}");
        }
        assert_eq!(read("0xc", Some(12)).unwrap(), CoreAbbrev::AtLeast(12));
        for (value, number) in
            [("0", Some(0)), ("3", Some(3)), ("41", Some(41)), ("seven", None), ("-8", Some(-8))]
        {
            assert!(read(value, number).is_err(), "{value}");
        }
    }

    #[test]
    fn versions_that_git_writes() {
        for text in ["", "[core]\n\trepositoryformatversion = 0\n", "[core]\n\trepositoryformatversion = 1\n"]
        {
            assert!(has_known_version(text.as_bytes()), "{text}");
        }
        for text in ["[core]\n\trepositoryformatversion = 2\n", "[core]\n\trepositoryformatversion = 10\n"] {
            assert!(!has_known_version(text.as_bytes()), "{text}");
        }
    }
}
