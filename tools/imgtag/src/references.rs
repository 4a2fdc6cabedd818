//! Revisions of a repository whose references are in reftable format: the reference in front becomes an id, and the Git
//! library does the rest.

use gix::bstr::{BStr, ByteSlice as _};

use crate::error::TagError;
use crate::reftable::References;
use crate::repository::{by_library, not_one};

/// Whether the references are in a format that the Git library can't read.
pub fn in_tables(repository: &gix::Repository) -> bool {
    repository.config_snapshot().string("extensions.refStorage").is_some_and(|format| format == "reftable")
}

/// The revision with an id instead of a reference; nothing where it names none.
pub fn by_id(repository: &gix::Repository, revision: &str) -> Result<Option<String>, TagError> {
    let hash = repository.object_hash();
    let references = References::read(repository.git_dir(), repository.common_dir(), hash)?;
    if let Some(text) = revision.strip_prefix(":/").filter(|text| !text.is_empty()) {
        return Ok(youngest(repository, &references, text));
    }
    let end = ["^", "~", ":", "@{"].iter().filter_map(|mark| revision.find(mark)).min();
    let (name, rest) = revision.split_at(end.unwrap_or(revision.len()));
    if rest.starts_with("@{") {
        let reason = "logs and upstreams are not read of references in reftable format";
        return Err(not_one(repository, revision, reason));
    }
    if name.len() == hash.len_in_hex() && name.bytes().all(|character| character.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let name = if name == "@" { "HEAD" } else { name };
    if let Some(id) = references.named(name) {
        return Ok(Some(format!("{id}{rest}")));
    }
    match references.follow(BStr::new(name)) {
        Err(Some(branch)) if name == "HEAD" => {
            let short = branch.strip_prefix(b"refs/heads/").unwrap_or(&branch);
            Err(TagError::Unborn(short.to_str_lossy().into_owned()))
        }
        _ => Ok(None),
    }
}

/// Of all that can be reached, the youngest commit whose message matches.
fn youngest(repository: &gix::Repository, references: &References, text: &str) -> Option<String> {
    let matching = references.tips().into_iter().filter_map(|tip| {
        let from_tip = format!("{tip}^{{/{text}}}");
        let found = by_library(repository, &from_tip).ok()?;
        let time = repository.find_commit(found).ok()?.time().ok()?;
        Some((time.seconds, found))
    });
    matching.max_by_key(|(time, _)| *time).map(|(_, id)| id.to_string())
}
