//! Why a value is not changed: typed, with the place in the file.

use std::fmt;

use serde_json::json;
use step::{Failure, FailureKind};

use crate::position::Position;
use crate::yaml::scalar::Unwritable;

/// Why a value is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Bytes that are not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Not YAML.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// The value can't be replaced where it stands.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The value stands in an anchored node that aliases repeat.
    #[error("the value is shared: changing it would also change {}", .0.join(", "))]
    Shared(Vec<String>),
    /// An alias stands for the value, and others do so elsewhere.
    #[error(
        "the value is the alias {0} of a value that stands elsewhere, and changing that would also change {list}",
        list = .1.join(", ")
    )]
    Aliased(String, Vec<String>),
    /// The container's image comes from a merge key.
    #[error(
        "the container `{0}` takes its image from elsewhere by a merge key (<<), and changing that would also change \
         {list}",
        list = .1.join(", ")
    )]
    Merged(String, Vec<String>),
    /// Aliases of aliases.
    #[error("aliases of aliases make more of the document than can be looked through")]
    TooManyAliases,
    /// The same key twice in a mapping.
    #[error("the key `{key}` stands here and in line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line that it stands in first.
        first: usize,
    },
    /// An image in parts has no key for a part of the reference.
    #[error("the image has no key for the reference's {0}, and keys are never created")]
    NoKeyFor(&'static str),
    /// The reference lacks a part that the file has a key for.
    #[error("the image has a {0} here, and the reference has none: what is there would be stale")]
    Stale(&'static str),
    /// Two of the images asked for fit the same place.
    #[error("two of the images asked for belong here: {0} and {1}")]
    Conflict(String, String),
    /// A template that `--strict` doesn't let pass.
    #[error("a template that is not YAML can't be verified")]
    Template,
    /// The second reader can't read what the first one could.
    #[error("the second YAML reader can't read the document: {0}")]
    SecondReader(String),
    /// The edit did not do what it was meant to do.
    #[error("the edit is not what was meant: {0}; nothing was written")]
    Verification(String),
}

impl Refusal {
    const fn kind(&self) -> FailureKind {
        match self {
            Self::Verification(_) => FailureKind::Internal,
            _ => FailureKind::Input,
        }
    }

    /// The `refusal.type` of `--output json`.
    const fn name(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "notUtf8",
            Self::Syntax(_) => "notYaml",
            Self::Unwritable(unwritable) => match unwritable {
                Unwritable::SeveralLines => "severalLines",
                Unwritable::Block => "blockScalar",
                Unwritable::Tag(_) => "tag",
                Unwritable::Alias(_) => "alias",
                Unwritable::Collection(_) => "collection",
                Unwritable::NoPlace => "noPlace",
            },
            Self::Shared(_) => "shared",
            Self::Aliased(..) | Self::TooManyAliases => "alias",
            Self::Merged(..) => "merged",
            Self::DuplicateKey { .. } => "duplicateKey",
            Self::NoKeyFor(_) => "noKey",
            Self::Stale(_) => "stale",
            Self::Conflict(..) => "conflict",
            Self::Template => "template",
            Self::SecondReader(_) => "secondReader",
            Self::Verification(_) => "verification",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "manifests are UTF-8; convert the file first, e.g. with iconv",
            Self::Syntax(_) => {
                "mend the file; only one with {{ }} outside of quotes and comments is edited without being YAML"
            }
            Self::Unwritable(_) => "write the value on one line, as a string",
            Self::Shared(_) => "--allow-shared changes it in all of these places",
            Self::Aliased(..) => {
                "--break-alias writes the image in the alias's place, --allow-shared changes it in all of these places"
            }
            Self::Merged(..) => {
                "--allow-shared changes it in all of these places; or write the container's image in the container"
            }
            Self::TooManyAliases => "write what they stand for",
            Self::DuplicateKey { .. } => "remove one of them: readers disagree on which counts",
            Self::NoKeyFor(_) => "add the key to the file once, or leave that part out of the reference",
            Self::Stale(_) => "give the whole reference, as imgpush prints it, or remove the key",
            Self::Conflict(..) => "narrow it by --container, --kind, --name or --doc",
            Self::Template => "leave out --strict to edit literal image lines, checked by their bytes only",
            Self::SecondReader(_) => "write it in the YAML that all readers share",
            Self::Verification(_) => "please report this, with the file",
        }
    }
}

/// A refusal and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file, as it was given.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// What is wrong there.
    pub refusal: Refusal,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&step::printable(&format!("{}:{}: {}", self.file, self.position, self.refusal)))
    }
}

impl std::error::Error for Located {}

impl From<Located> for Failure {
    fn from(located: Located) -> Self {
        let (kind, hint) = (located.refusal.kind(), located.refusal.hint());
        let mut proof = json!({
            "type": located.refusal.name(),
            "file": located.file,
            "line": located.position.line,
            "column": located.position.column,
        });
        if let Refusal::Shared(places) | Refusal::Aliased(_, places) | Refusal::Merged(_, places) =
            &located.refusal
        {
            proof["places"] = json!(places);
        }
        Self::new(kind, located).hint(hint).with("refusal", proof)
    }
}
