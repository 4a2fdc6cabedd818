//! How many characters of an id make a tag.

use gix::bstr::ByteSlice as _;
use gix::odb::store::prefix::disambiguate::Candidate;

use crate::error::TagError;
use crate::plain::Head;

/// The shortest abbreviation that git makes (`MINIMUM_ABBREV` in git's environment.h).
pub const SHORTEST: usize = 4;

/// The shortest that git makes unless it is asked to (`FALLBACK_DEFAULT_ABBREV` in git's object-name.h).
const SHORTEST_UNASKED: u32 = 7;

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

/// From its value as it stands there, and what that comes to as a number by git's rules.
fn core_abbrev(value: Option<&[u8]>, number: Option<i64>, id_length: usize) -> Result<CoreAbbrev, TagError> {
    let Some(value) = value else { return Ok(CoreAbbrev::Automatic) };
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
    let is_shallow = || repository.is_shallow().map_err(TagError::unreadable);
    let (text, stable) = match length {
        Length::Full => (full.clone(), true),
        Length::Fixed(length) => (cut(length), true),
        Length::Automatic => {
            let settings = repository.config_snapshot();
            let value = settings.string("core.abbrev").map(|value| value.to_vec());
            match core_abbrev(value.as_deref(), settings.integer("core.abbrev"), full.len())? {
                CoreAbbrev::Full => (full.clone(), true),
                CoreAbbrev::Automatic => {
                    let packed = repository.objects.packed_object_count().map_err(TagError::unreadable)?;
                    (unique(repository, id, expected_length(packed))?, packed > 0 && !is_shallow()?)
                }
                CoreAbbrev::AtLeast(length) => (unique(repository, id, length)?, !is_shallow()?),
            }
        }
    };
    Ok(Abbreviation { text, stable })
}

/// At least so many digits of an id, and more where other objects' ids begin with them.
fn unique(repository: &gix::Repository, id: gix::ObjectId, length: usize) -> Result<String, TagError> {
    let candidate = Candidate::new(id, length).map_err(TagError::unreadable)?;
    match repository.objects.disambiguate_prefix(candidate).map_err(TagError::unreadable)? {
        Some(prefix) => Ok(prefix.to_string()),
        None => Err(TagError::unreadable(format!("the object {id} is not there"))),
    }
}

/// Abbreviates HEAD of a plain clone, in which nothing is set of lengths.
pub fn abbreviate_head(head: &Head, length: Length) -> Abbreviation {
    let cut = |length: usize| head.id[..length.min(head.id.len())].to_owned();
    match length {
        Length::Full => Abbreviation { text: head.id.clone(), stable: true },
        Length::Fixed(length) => Abbreviation { text: cut(length), stable: true },
        Length::Automatic => Abbreviation {
            text: cut(head.unique.max(expected_length(head.packed))),
            stable: head.packed > 0 && !head.shallow,
        },
    }
}

/// With how many digits two of so many packed objects are likely to differ: half the binary digits of
/// their number, by `repo_find_unique_abbrev_r` in git's object-name.c.
fn expected_length(packed: u64) -> usize {
    let bits = u64::BITS - packed.leading_zeros();
    bits.div_ceil(2).max(SHORTEST_UNASKED) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_by_packed_objects() {
        for (packed, length) in [(0, 7), (16_383, 7), (16_384, 8), (65_535, 8), (65_536, 9), (262_144, 10)] {
            assert_eq!(expected_length(packed), length, "{packed}");
        }
    }

    #[test]
    fn core_abbrev_as_git_reads_it() {
        let read = |value: &str, number| core_abbrev(Some(value.as_bytes()), number, 40);
        assert_eq!(core_abbrev(None, None, 40).unwrap(), CoreAbbrev::Automatic);
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
}
