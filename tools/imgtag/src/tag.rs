//! The tag, and what a user should know of it.

use serde_json::{Map, Value, json};

use crate::error::TagError;

/// A tag and the facts it rests on.
#[derive(Debug, Clone)]
pub struct Tag {
    /// The tag itself.
    pub tag: String,
    /// `REPOSITORY:TAG`, where a repository was given.
    pub image: Option<String>,
    /// The full id of the object that was abbreviated.
    pub commit: String,
    /// How many of the id's characters the tag has.
    pub length: usize,
    /// Whether the clone is shallow.
    pub shallow: bool,
    /// Whether tracked files differ, where that was asked.
    pub dirty: Option<bool>,
    /// Whether another clone of the same commit computes the same tag.
    pub stable: bool,
    /// What may go wrong with this tag.
    pub warnings: Vec<String>,
}

impl Tag {
    /// The fields of `--output json`.
    pub fn fields(&self) -> Map<String, Value> {
        let Value::Object(fields) = json!({
            "tag": self.tag,
            "image": self.image,
            "commit": self.commit,
            "length": self.length,
            "shallow": self.shallow,
            "dirty": self.dirty,
            "stable": self.stable,
            "warnings": self.warnings,
        }) else {
            return Map::new();
        };
        fields
    }
}

/// Puts prefix, id and suffix together; the result is one that every registry takes.
pub fn assemble(prefix: &str, id: &str, suffix: &str) -> Result<String, TagError> {
    let tag = format!("{prefix}{id}{suffix}");
    if image_reference::is_tag(&tag) { Ok(tag) } else { Err(TagError::NotATag(tag)) }
}

/// The reference of the image in a repository.
pub fn image(repository: &str, tag: &str) -> Result<String, TagError> {
    if image_reference::is_repository(repository) {
        Ok(format!("{repository}:{tag}"))
    } else {
        Err(TagError::NotARepository(repository.to_owned()))
    }
}

/// The tag of `REPOSITORY:TAG` or `REPOSITORY:TAG@DIGEST`; a tag alone is one already.
pub fn without_image(reference: &str) -> &str {
    let named = reference.split_once('@').map_or(reference, |(named, _)| named);
    named.rsplit_once(':').map_or(named, |(_, tag)| tag)
}

/// The fields of `--output json` for a tag whose commit was looked for.
pub fn verified(tag: &str, commit: Option<&str>) -> Map<String, Value> {
    Map::from_iter([("tag".to_owned(), json!(tag)), ("commit".to_owned(), json!(commit))])
}

/// Whether YAML reads the tag as a number unless it is quoted: `1234567`, `87290323`, `12345e7`, and with a prefix
/// `1.4567890` or `0x1234567`; `0b10` is a short id and a binary number. Version 1.1 passes over underscores.
pub fn reads_as_number(tag: &str) -> bool {
    let digits = tag.replace('_', "");
    let is_of_base = |(start, base): (&str, u32)| {
        let digits = digits.strip_prefix(start).unwrap_or_default();
        !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base))
    };
    tag.starts_with(|first: char| first.is_ascii_digit())
        && (digits.parse::<f64>().is_ok() || [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().any(is_of_base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_yaml_sees() {
        for tag in
            ["1234567", "8729e32", "0000000", "1.4567890", "1_4567890", "0x4b1c9e2", "0b10", "0b_10", "0o17"]
        {
            assert!(reads_as_number(tag), "{tag}");
        }
        for tag in [
            "4b1c9e2",
            "e123456",
            "12345e",
            "g1234567",
            "_1234567",
            "0x",
            "0b",
            "0b12",
            "0o18",
            "1.2.3456789",
            "1234567-dirty",
        ] {
            assert!(!reads_as_number(tag), "{tag}");
        }
    }

    #[test]
    fn the_tag_of_a_reference() {
        for reference in ["4b1c9e2", "r.test:5000/a/b:4b1c9e2", "r.test/a:4b1c9e2@sha256:00"] {
            assert_eq!(without_image(reference), "4b1c9e2", "{reference}");
        }
    }

    #[test]
    fn a_tag_always_fits_the_grammar() {
        assert_eq!(assemble("v-", "4b1c9e2", "-dirty").unwrap(), "v-4b1c9e2-dirty");
        assert!(assemble("-", "4b1c9e2", "").is_err());
        assert!(assemble("", "4b1c9e2", "+dirty").is_err());
        assert!(assemble(&"p".repeat(100), &"0".repeat(40), "").is_err());
    }
}
