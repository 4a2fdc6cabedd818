//! The objects that an abbreviated id may stand for.

use std::collections::HashSet;

use gix::objs::Kind;

use crate::error::TagError;
use crate::settings::SHORTEST;

/// Every object whose id begins with these characters; none where they are no abbreviated id.
pub fn objects(repository: &gix::Repository, characters: &str) -> Result<Vec<gix::ObjectId>, TagError> {
    let full = repository.object_hash().len_in_hex();
    if !(SHORTEST..=full).contains(&characters.len()) {
        return Ok(Vec::new());
    }
    // gix makes a sha1 prefix of a short one, and finds no loose object of a sha256 repository with it.
    let padded = format!("{characters:0<full$}");
    let Ok(id) = gix::ObjectId::from_hex(padded.as_bytes()) else { return Ok(Vec::new()) };
    let prefix = gix::hash::Prefix::new(&id, characters.len()).map_err(TagError::library)?;
    let mut found = HashSet::new();
    repository.objects.lookup_prefix(prefix, Some(&mut found)).map_err(TagError::library)?;
    let mut sorted: Vec<_> = found.into_iter().collect();
    sorted.sort();
    Ok(sorted)
}

/// Those of them that are commits: a commit's tag is not mistaken for a file of the same beginning.
pub fn commits(repository: &gix::Repository, characters: &str) -> Result<Vec<gix::ObjectId>, TagError> {
    let mut found = objects(repository, characters)?;
    found.retain(|id| kind(repository, *id) == Some(Kind::Commit));
    Ok(found)
}

/// Whether a commit that is not here may have an id that begins with these characters.
pub fn may_be_elsewhere(repository: &gix::Repository, characters: &str) -> bool {
    let full = repository.object_hash().len_in_hex();
    let is_id = (SHORTEST..=full).contains(&characters.len())
        && characters.bytes().all(|character| character.is_ascii_hexdigit());
    let is_here = || gix::ObjectId::from_hex(characters.as_bytes()).is_ok_and(|id| repository.has_object(id));
    is_id && !is_here()
}

/// The candidates as git lists them: id, type and, of a commit, its day and subject.
pub fn described(repository: &gix::Repository, ids: &[gix::ObjectId]) -> String {
    let of = |id: &gix::ObjectId| {
        let kind = kind(repository, *id).map_or_else(|| "object".to_owned(), |kind| kind.to_string());
        let about = repository.find_commit(*id).ok().and_then(|commit| {
            let day = commit.time().ok()?.format(gix::date::time::format::SHORT).ok()?;
            let subject = commit.message().ok()?.summary().into_owned();
            Some(format!(" {day} {subject}"))
        });
        format!("{id} ({kind}{})", about.unwrap_or_default())
    };
    ids.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn kind(repository: &gix::Repository, id: gix::ObjectId) -> Option<Kind> {
    repository.find_header(id).ok().map(|header| header.kind())
}
