//! How many characters of an id make a tag.

use std::path::PathBuf;

use gix::ObjectId;

use crate::error::TagError;
use crate::object_ids;
use crate::settings::{CoreAbbrev, SHORTEST, Settings};

/// The shortest that git makes unless it is asked to (`FALLBACK_DEFAULT_ABBREV` in git's object-name.h).
const SHORTEST_UNASKED: usize = 7;

/// An id, and what of its clone bears on the abbreviation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The id.
    pub id: ObjectId,
    /// Whether it is still to be seen that there is an object of this id.
    pub unseen: bool,
    /// Where the clone has its objects.
    pub objects: PathBuf,
    /// What is set in it.
    pub settings: Settings,
    /// Whether it is shallow.
    pub shallow: bool,
}

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

/// An abbreviated id, and whether every full clone would abbreviate it the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abbreviation {
    /// The characters.
    pub text: String,
    /// What this clone has less of than others, so that they may get another length.
    pub unstable: Option<Unstable>,
}

/// Why the length depends on what a clone happens to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstable {
    /// It is shallow.
    Shallow,
    /// It leaves out objects that its remote has promised.
    Partial,
    /// It has so many objects outside packs, which don't count, that the length would grow if they were packed.
    Loose,
}

/// Abbreviates an id as `git rev-parse --short` does.
pub fn abbreviate(subject: &Subject, length: Length) -> Result<Abbreviation, TagError> {
    let full = subject.id.to_string();
    let cut = |length: usize| full[..length.min(full.len())].to_owned();
    let around = object_ids::around(&subject.id, &subject.objects, subject.settings.multi_pack_index)?;
    if subject.unseen && !around.found {
        return Err(TagError::NoObject(full));
    }
    let is_part = match (subject.shallow, subject.settings.partial) {
        (true, _) => Some(Unstable::Shallow),
        (_, true) => Some(Unstable::Partial),
        _ => None,
    };
    let (text, unstable) = match length {
        Length::Full => (full.clone(), None),
        Length::Fixed(length) => (cut(length), None),
        Length::Automatic => match subject.settings.core_abbrev(full.len())? {
            CoreAbbrev::Full => (full.clone(), None),
            CoreAbbrev::AtLeast(length) => (cut(around.unique.max(length)), is_part),
            CoreAbbrev::Automatic => {
                let length = expected_length(around.packed);
                let grows = around.packed == 0 || expected_length(around.packed + around.loose) > length;
                (cut(around.unique.max(length)), is_part.or(grows.then_some(Unstable::Loose)))
            }
        },
    };
    Ok(Abbreviation { text, unstable })
}

/// With how many digits two of so many packed objects are likely to differ: half the binary digits of
/// their number, by `repo_find_unique_abbrev_r` in git's object-name.c.
fn expected_length(packed: u64) -> usize {
    let bits = (u64::BITS - packed.leading_zeros()) as usize;
    bits.div_ceil(2).max(SHORTEST_UNASKED)
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
}
