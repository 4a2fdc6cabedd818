//! Image references: registry, repository, tag and digest.
//!
//! The grammar is the one of the distribution project (`reference/regexp.go`) and of the OCI
//! distribution specification ("Pulling manifests"): names and tags are ASCII, a tag has at most
//! 128 characters, a repository at most 255.

mod grammar;
mod reference;

pub use grammar::{MAX_TAG_LENGTH, is_repository, is_tag};
pub use reference::{DEFAULT_REGISTRY, ImageReference, ReferenceError};
