//! `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, parsed and written back.

use std::fmt;
use std::str::FromStr;

use crate::grammar::{is_digest, is_path, is_registry, is_tag, split_registry};

/// The registry that docker means where a name has none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("an image reference is missing")]
    Empty,
    /// The host in front of the first slash.
    #[error("`{reference}`: `{registry}` is not a registry host")]
    Registry {
        /// The whole text.
        reference: String,
        /// The part at fault.
        registry: String,
    },
    /// The repository's path.
    #[error(
        "`{reference}`: `{repository}` is not a repository (lower-case letters, digits, and . _ - between them)"
    )]
    Repository {
        /// The whole text.
        reference: String,
        /// The part at fault.
        repository: String,
    },
    /// The tag.
    #[error(
        "`{reference}`: `{tag}` is not a tag (letters, digits, _ . -, at most 128, not starting with . or -)"
    )]
    Tag {
        /// The whole text.
        reference: String,
        /// The part at fault.
        tag: String,
    },
    /// The digest.
    #[error("`{reference}`: `{digest}` is not a digest (sha256: and 64 hex digits)")]
    Digest {
        /// The whole text.
        reference: String,
        /// The part at fault.
        digest: String,
    },
}

/// A reference as it was written; nothing is added to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    registry: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// The registry's host, if one is written.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The repository without its registry, as it is written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The repository with its registry, as it is written.
    pub fn repository(&self) -> String {
        self.registry
            .as_ref()
            .map_or_else(|| self.path.clone(), |registry| format!("{registry}/{}", self.path))
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is written.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether both mean the same repository: `app`, `library/app` and `docker.io/library/app` do.
    pub fn same_repository(&self, other: &Self) -> bool {
        self.normal_repository() == other.normal_repository()
    }

    fn normal_repository(&self) -> (&str, String) {
        match self.registry.as_deref() {
            None | Some("docker.io" | "index.docker.io") if !self.path.contains('/') => {
                (DEFAULT_REGISTRY, format!("library/{}", self.path))
            }
            None | Some("docker.io" | "index.docker.io") => (DEFAULT_REGISTRY, self.path.clone()),
            Some(registry) => (registry, self.path.clone()),
        }
    }

    /// The same repository under another tag and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        format!("{}:{tag}", self.repository()).parse()
    }

    /// The same reference pinned to a digest.
    pub fn with_digest(&self, digest: &str) -> Result<Self, ReferenceError> {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        format!("{}{tag}@{digest}", self.repository()).parse()
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let reference = || text.to_owned();
        let (named, digest) =
            text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
        // A colon after the last slash starts the tag; before it, it is the registry's port.
        let name_end = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[name_end..].find(':') {
            Some(colon) => (&named[..name_end + colon], Some(&named[name_end + colon + 1..])),
            None => (named, None),
        };
        let (registry, path) = split_registry(name);
        if let Some(registry) = registry.filter(|registry| !is_registry(registry)) {
            return Err(ReferenceError::Registry { reference: reference(), registry: registry.to_owned() });
        }
        if !is_path(path) {
            return Err(ReferenceError::Repository { reference: reference(), repository: path.to_owned() });
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag { reference: reference(), tag: tag.to_owned() });
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(ReferenceError::Digest { reference: reference(), digest: digest.to_owned() });
        }
        Ok(Self {
            registry: registry.map(ToOwned::to_owned),
            path: path.to_owned(),
            tag: tag.map(ToOwned::to_owned),
            digest: digest.map(ToOwned::to_owned),
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn parts_are_told_apart() {
        let image: ImageReference = format!("127.0.0.1:5000/team/app:v1@{DIGEST}").parse().unwrap();
        assert_eq!(image.registry(), Some("127.0.0.1:5000"));
        assert_eq!(image.path(), "team/app");
        assert_eq!(image.tag(), Some("v1"));
        assert_eq!(image.digest(), Some(DIGEST));
        assert_eq!(image.to_string(), format!("127.0.0.1:5000/team/app:v1@{DIGEST}"));
    }

    #[test]
    fn short_names_mean_the_default_registry() {
        let same =
            |a: &str, b: &str| a.parse::<ImageReference>().unwrap().same_repository(&b.parse().unwrap());
        assert!(same("app:1", "docker.io/library/app:2"));
        assert!(same("team/app", "index.docker.io/team/app"));
        assert!(!same("app", "team/app"));
        assert!(!same("a.p", "app"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<ImageReference>().unwrap_err();
        assert!(matches!(error("UPPER CASE:::bad"), ReferenceError::Repository { .. }));
        assert!(matches!(error("app:"), ReferenceError::Tag { .. }));
        assert!(matches!(error("app@sha256:12"), ReferenceError::Digest { .. }));
        assert!(matches!(error("bad_host.test/app"), ReferenceError::Registry { .. }));
        assert!(matches!(error(""), ReferenceError::Empty));
    }
}
