//! How many characters of an id make a tag.

use gix::bstr::ByteSlice as _;
use gix::prelude::ObjectIdExt as _;

use crate::error::TagError;

/// The shortest abbreviation that git makes (`MINIMUM_ABBREV` in git's environment.h).
pub const SHORTEST: usize = 4;

/// How long the tag should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As long as `git rev-parse --short` makes it here.
    Automatic,
    /// This many characters in every clone, or all if the id has fewer.
    Fixed(usize),
    /// The whole id.
    Full,
}

impl std::str::FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Automatic),
            "full" => Ok(Self::Full),
            number => match number.parse() {
                Ok(length) if (SHORTEST..=64).contains(&length) => Ok(Self::Fixed(length)),
                _ => Err("a number from 4 to 64, `auto` or `full`".to_owned()),
            },
        }
    }
}

/// What `core.abbrev` asks for, by the rules of git's `git_default_core_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CoreAbbrev {
    Automatic,
    Full,
    AtLeast(usize),
}

fn core_abbrev(value: Option<&[u8]>, id_length: usize) -> Result<CoreAbbrev, TagError> {
    let Some(value) = value else { return Ok(CoreAbbrev::Automatic) };
    let text = value.to_str_lossy();
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "auto" => Ok(CoreAbbrev::Automatic),
        "no" | "off" | "false" | "" => Ok(CoreAbbrev::Full),
        _ => match git_number(&lower) {
            Some(0) => Ok(CoreAbbrev::Full),
            Some(length) if (SHORTEST..=id_length).contains(&length) => Ok(CoreAbbrev::AtLeast(length)),
            _ => Err(TagError::Abbrev(text.into_owned())),
        },
    }
}

/// A number with git's unit suffixes.
fn git_number(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            match text.as_bytes().last()? {
                b'k' => 1 << 10,
                b'm' => 1 << 20,
                _ => 1 << 30,
            },
        ),
        None => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// An abbreviated id, and whether every full clone would abbreviate it the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abbreviation {
    /// The characters.
    pub text: String,
    /// False where the length depends on what this clone happens to hold.
    pub stable: bool,
}

/// Abbreviates the id of an object of this repository.
pub fn abbreviate(
    repository: &gix::Repository,
    id: gix::ObjectId,
    length: Length,
) -> Result<Abbreviation, TagError> {
    let full = id.to_string();
    let cut = |length: usize| full[..length.min(full.len())].to_owned();
    let (text, stable) = match length {
        Length::Full => (full.clone(), true),
        Length::Fixed(length) => (cut(length), true),
        Length::Automatic => {
            let configured = repository.config_snapshot().string("core.abbrev").map(|value| value.to_vec());
            match core_abbrev(configured.as_deref(), full.len())? {
                CoreAbbrev::Full => (full.clone(), true),
                CoreAbbrev::Automatic => {
                    let packed = repository.objects.packed_object_count().map_err(TagError::unreadable)?;
                    let shortest = id.attach(repository).shorten().map_err(TagError::unreadable)?;
                    (
                        shortest.to_string(),
                        packed > 0 && !repository.is_shallow().map_err(TagError::unreadable)?,
                    )
                }
                CoreAbbrev::AtLeast(_) => {
                    let shortest = id.attach(repository).shorten().map_err(TagError::unreadable)?;
                    (shortest.to_string(), !repository.is_shallow().map_err(TagError::unreadable)?)
                }
            }
        }
    };
    Ok(Abbreviation { text, stable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_abbrev_as_git_reads_it() {
        let read = |value: &str| core_abbrev(Some(value.as_bytes()), 40);
        assert_eq!(core_abbrev(None, 40).unwrap(), CoreAbbrev::Automatic);
        assert_eq!(read("Auto").unwrap(), CoreAbbrev::Automatic);
        for value in ["no", "off", "false", "", "0"] {
            assert_eq!(read(value).unwrap(), CoreAbbrev::Full, "{value}");
        }
        assert_eq!(read("12").unwrap(), CoreAbbrev::AtLeast(12));
        for value in ["3", "41", "true", "seven", "1k"] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
