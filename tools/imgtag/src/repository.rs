//! The repository: opened whoever owns it, and asked for objects.

use std::path::Path;

use gix::bstr::ByteSlice as _;
use gix::sec::trust;

use crate::candidates;
use crate::error::TagError;

/// Opens the repository at a folder or above it.
///
/// Its owner does not matter: nothing that its configuration names is executed, so a clone that
/// another user made, as in a container job, is read like any other.
pub fn open(folder: &Path) -> Result<gix::Repository, TagError> {
    let options = || gix::open::Options::default().with(gix::sec::Trust::Full);
    let trusted = trust::Mapping { full: options(), reduced: options() };
    gix::ThreadSafeRepository::discover_opts(folder, gix::discover::upwards::Options::default(), trusted)
        .map(|repository| repository.to_thread_local())
        .map_err(|error| TagError::NoRepository {
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string(),
            reason: error.to_string(),
        })
}

/// The object that a revision names, as `git rev-parse` finds it.
pub fn resolve(repository: &gix::Repository, revision: &str) -> Result<gix::ObjectId, TagError> {
    if let Ok(head) = repository.head()
        && head.is_unborn()
        && matches!(revision, "HEAD" | "@")
    {
        let branch = head.referent_name().map(|name| name.shorten().to_string()).unwrap_or_default();
        return Err(TagError::Unborn(branch));
    }
    let error = match repository.rev_parse_single(revision.as_bytes().as_bstr()) {
        Ok(id) => return Ok(id.detach()),
        Err(error) => error.to_string().replace('\n', " "),
    };
    // What stands before the first operator may be an id that gix can't complete.
    let (prefix, rest) = revision.split_at(revision.find(['^', '~', ':', '@']).unwrap_or(revision.len()));
    match candidates::objects(repository, prefix).unwrap_or_default().as_slice() {
        [id] if prefix.len() < id.kind().len_in_hex() => resolve(repository, &format!("{id}{rest}")),
        several @ [_, _, ..] => Err(TagError::Ambiguous {
            prefix: prefix.to_owned(),
            candidates: candidates::described(repository, several),
        }),
        // Where even HEAD's object can't be read, the objects are to blame and not the revision.
        _ => Err(match repository.head().ok().and_then(|head| head.id()).map(|id| (id, id.object())) {
            Some((id, Err(broken))) => TagError::unreadable(format!("{id}: {broken}")),
            _ => TagError::Revision { revision: revision.to_owned(), reason: error },
        }),
    }
}

/// The commit behind a revision; an annotated tag stands for what it tags.
fn commit<'repo>(repository: &'repo gix::Repository, revision: &str) -> Result<gix::Commit<'repo>, TagError> {
    let id = resolve(repository, revision)?;
    let object = repository.find_object(id).map_err(TagError::unreadable)?;
    object
        .peel_to_commit()
        .map_err(|error| TagError::Revision { revision: revision.to_owned(), reason: error.to_string() })
}

/// The id of the content: the revision's tree, or what it has at one path.
pub fn content(
    repository: &gix::Repository,
    revision: &str,
    paths: &[String],
) -> Result<gix::ObjectId, TagError> {
    let commit = commit(repository, revision)?;
    match paths {
        [] => Ok(commit.tree_id().map_err(TagError::unreadable)?.detach()),
        [path] => entry(&commit, path)?
            .ok_or_else(|| TagError::NoPath { revision: revision.to_owned(), path: path.clone() }),
        several => {
            let mut hasher = gix::hash::hasher(repository.object_hash());
            for path in several {
                let id = entry(&commit, path)?
                    .ok_or_else(|| TagError::NoPath { revision: revision.to_owned(), path: path.clone() })?;
                hasher.update(path.as_bytes());
                hasher.update(&[0]);
                hasher.update(id.as_bytes());
            }
            hasher.try_finalize().map_err(TagError::unreadable)
        }
    }
}

/// The last commit that touched one of the paths: what `git log -1 -- PATH` finds.
///
/// History is simplified as git does: where a merge has a parent with the same content at the
/// paths, only that parent is followed.
pub fn last_touching(
    repository: &gix::Repository,
    revision: &str,
    paths: &[String],
) -> Result<gix::ObjectId, TagError> {
    let named = || paths.join(", ");
    let shallow = repository.shallow_commits().map_err(TagError::unreadable)?;
    let mut current = commit(repository, revision)?;
    let mut there = entries(&current, paths)?;
    loop {
        if shallow.as_ref().is_some_and(|ends| ends.contains(&current.id)) {
            return Err(TagError::TooShallow { path: named() });
        }
        let mut same = None;
        let mut parents = 0;
        for parent in current.parent_ids() {
            parents += 1;
            let parent = parent.object().map_err(TagError::unreadable)?.into_commit();
            if entries(&parent, paths)? == there {
                same = Some(parent);
                break;
            }
        }
        match same {
            Some(parent) => {
                current = parent;
                there = entries(&current, paths)?;
            }
            None if parents == 0 && there.iter().all(Option::is_none) => {
                return Err(TagError::NeverTouched { revision: revision.to_owned(), path: named() });
            }
            None => return Ok(current.id),
        }
    }
}

fn entries(commit: &gix::Commit<'_>, paths: &[String]) -> Result<Vec<Option<gix::ObjectId>>, TagError> {
    paths.iter().map(|path| entry(commit, path)).collect()
}

fn entry(commit: &gix::Commit<'_>, path: &str) -> Result<Option<gix::ObjectId>, TagError> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let tree = commit.tree().map_err(TagError::unreadable)?;
    if path.is_empty() || path == "." {
        return Ok(Some(tree.id));
    }
    let found = tree.lookup_entry_by_path(Path::new(path)).map_err(TagError::unreadable)?;
    Ok(found.map(|entry| entry.object_id()))
}

/// Whether tracked files differ from the commit.
pub fn is_dirty(repository: &gix::Repository) -> Result<bool, TagError> {
    if repository.workdir().is_none() {
        return Err(TagError::NoWorkTree);
    }
    repository.is_dirty().map_err(TagError::unreadable)
}
