//! The repository: opened whoever owns it, and asked for objects.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use gix::sec::trust::Mapping;

use crate::abbreviation::Subject;
use crate::error::TagError;
use crate::settings::Settings;
use crate::{candidates, references};

/// Opens the repository at a folder or above it, or the one that `GIT_DIR` names.
///
/// Its owner does not matter for reading: a clone that another user made, as in a container job, is read like any other,
/// but the Git library takes from its settings nothing that it would execute.
pub fn open(folder: &Path, git_dir: Option<&Path>) -> Result<gix::Repository, TagError> {
    let options = gix::open::Options::default;
    // The Git library looks for a clone below the folder in which a clone has its files.
    let inside = folder.canonicalize().ok().filter(|folder| git_dir.is_none() && folder.ends_with(".git"));
    let inside = inside.filter(|folder| folder.join("HEAD").is_file() && folder.join("objects").is_dir());
    let opened = match git_dir.map(|git_dir| folder.join(git_dir)).or_else(|| inside.clone()) {
        Some(git_dir) => gix::ThreadSafeRepository::open_opts(git_dir, options()),
        None => gix::ThreadSafeRepository::discover_opts(
            folder,
            gix::discover::upwards::Options::default(),
            Mapping { full: options(), reduced: options() },
        ),
    };
    let repository = opened.map_err(|error| {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        closed(&folder).unwrap_or_else(|| TagError::NoRepository {
            folder: folder.display().to_string(),
            reason: error.to_string().replace('\n', " "),
        })
    })?;
    let mut repository = repository.to_thread_local();
    // As for git, one who is in there is in no work tree.
    if inside.is_some() {
        repository.set_workdir(None).map_err(TagError::library)?;
    }
    // The Git library goes on without settings that it may not read.
    match may_not_be_read(&repository.common_dir().join("config")) {
        Some(error) => Err(error),
        None => Ok(repository),
    }
}

/// That there is a repository, but that its files may not be read: the Git library goes on to the folder above.
fn closed(folder: &Path) -> Option<TagError> {
    folder.ancestors().find_map(|folder| may_not_be_read(&folder.join(".git/HEAD")))
}

fn may_not_be_read(file: &Path) -> Option<TagError> {
    let error =
        std::fs::File::open(file).err().filter(|error| error.kind() == ErrorKind::PermissionDenied)?;
    Some(TagError::unreadable(format!("{}: {error}", file.display())))
}

/// What of a repository bears on the abbreviation of an object that a revision or a path led to.
pub fn subject(repository: &gix::Repository, id: ObjectId, unseen: bool) -> Result<Subject, TagError> {
    Ok(Subject {
        id,
        // Git has the empty tree without any object.
        unseen: unseen && !id.is_empty_tree(),
        objects: repository.objects.store_ref().path().to_owned(),
        settings: Settings::of(repository),
        shallow: repository.is_shallow().map_err(TagError::library)?,
    })
}

/// The object that a revision names, as `git rev-parse` finds it.
pub fn resolve(repository: &gix::Repository, revision: &str) -> Result<ObjectId, TagError> {
    if references::in_tables(repository) {
        let by_id = references::by_id(repository, revision)?;
        return by_library(repository, by_id.as_deref().unwrap_or(revision));
    }
    if let Ok(head) = repository.head()
        && head.is_unborn()
        && matches!(revision, "HEAD" | "@")
    {
        let branch = head.referent_name().map(|name| name.shorten().to_string()).unwrap_or_default();
        return Err(TagError::Unborn(branch));
    }
    by_library(repository, revision)
}

pub(crate) fn by_library(repository: &gix::Repository, revision: &str) -> Result<ObjectId, TagError> {
    let error = match repository
        .rev_parse(over_lines(revision).as_bytes().as_bstr())
        .map(gix::revision::Spec::detach)
    {
        Ok(gix::revision::plumbing::Spec::Include(id)) => return Ok(id),
        Ok(_) => "it names several commits".to_owned(),
        // The first one says how it was parsed, the second one what is wrong.
        Err(error) => error.iter_errors().take(2).last().map_or_else(String::new, ToString::to_string),
    };
    // What stands before the first operator may be an id that gix can't complete.
    let (prefix, rest) = revision.split_at(revision.find(['^', '~', ':', '@']).unwrap_or(revision.len()));
    match candidates::objects(repository, prefix).unwrap_or_default().as_slice() {
        [id] if prefix.len() < id.kind().len_in_hex() => by_library(repository, &format!("{id}{rest}")),
        several @ [_, _, ..] => Err(TagError::Ambiguous {
            prefix: prefix.to_owned(),
            candidates: candidates::described(repository, several),
        }),
        // Where even HEAD's object can't be read, the objects are to blame and not the revision.
        _ => Err(match repository.head().ok().and_then(|head| head.id()).map(|id| id.object()) {
            Some(Err(broken)) => TagError::library(broken),
            _ => not_one(repository, revision, error),
        }),
    }
}

/// The message of a revision that is of no use.
pub(crate) fn not_one(
    repository: &gix::Repository,
    revision: &str,
    reason: impl std::fmt::Display,
) -> TagError {
    TagError::Revision {
        revision: revision.to_owned(),
        reason: reason.to_string().replace('\n', " "),
        shallow: repository.is_shallow().unwrap_or_default(),
    }
}

/// A revision whose regular expressions match over line ends, as git's do: a dot stands for one too.
fn over_lines(revision: &str) -> String {
    // `!-` is for messages that don't match, and `!!` for an exclamation mark.
    let with_flag = |text: &str| match text.as_bytes() {
        [b'!', b'-', ..] if text.contains('.') => format!("!-(?s){}", &text[2..]),
        [b'!', b'!', ..] if text.contains('.') => format!("(?s){}", &text[1..]),
        [first, ..] if *first != b'!' && text.contains('.') => format!("(?s){text}"),
        _ => text.to_owned(),
    };
    if let Some(text) = revision.strip_prefix(":/") {
        return format!(":/{}", with_flag(text));
    }
    let mut parts = revision.split("^{/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| format!("{all}^{{/{}", with_flag(part)))
}

/// The object behind a revision.
fn object<'repo>(repository: &'repo gix::Repository, revision: &str) -> Result<gix::Object<'repo>, TagError> {
    let id = resolve(repository, revision)?;
    repository.find_object(id).map_err(TagError::library)
}

/// The commit behind a revision; an annotated tag stands for what it tags.
pub fn commit(repository: &gix::Repository, revision: &str) -> Result<ObjectId, TagError> {
    let commit = object(repository, revision)?.peel_to_commit();
    commit.map(|commit| commit.id).map_err(|error| not_one(repository, revision, error))
}

/// The tree behind a revision: a commit's, an annotated tag's, or one that it names itself.
pub fn tree<'repo>(repository: &'repo gix::Repository, revision: &str) -> Result<gix::Tree<'repo>, TagError> {
    object(repository, revision)?.peel_to_tree().map_err(|error| not_one(repository, revision, error))
}

/// A path as git takes it: relative to the current folder, or to the top of the work tree where it begins with `:/`. The
/// result is relative to the top, which itself is the empty path.
pub fn from_top(repository: &gix::Repository, path: &str) -> Result<String, TagError> {
    let outside = || TagError::Outside(path.to_owned());
    let top = repository.workdir().and_then(|top| top.canonicalize().ok());
    let below_top = |path: &Path| Some(path.strip_prefix(top.as_deref()?).ok()?.to_owned());
    let (start, rest) = if let Some(rest) = path.strip_prefix(":/") {
        (PathBuf::new(), PathBuf::from(rest))
    } else if Path::new(path).is_absolute() {
        let path = Path::new(path);
        let rest = below_top(path).or_else(|| below_top(&path.canonicalize().ok()?));
        (PathBuf::new(), rest.ok_or_else(outside)?)
    } else {
        let here = std::env::current_dir().ok();
        (here.and_then(|here| below_top(&here)).unwrap_or_default(), PathBuf::from(path))
    };
    let mut names = Vec::new();
    for part in start.components().chain(rest.components()) {
        match part {
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => drop(names.pop().ok_or_else(outside)?),
            Component::Normal(name) => names.push(name.to_string_lossy()),
        }
    }
    Ok(names.join("/"))
}

/// The id of the content of a tree, or of what it has at the paths.
pub fn content(repository: &gix::Repository, revision: &str, paths: &[String]) -> Result<ObjectId, TagError> {
    let tree = tree(repository, revision)?;
    let at = |path: &String| {
        if path.is_empty() {
            return Ok(tree.id);
        }
        let entry = tree.lookup_entry_by_path(path).map_err(TagError::library)?;
        let none = || TagError::NoPath { revision: revision.to_owned(), path: path.clone() };
        entry.map(|entry| entry.object_id()).ok_or_else(none)
    };
    match paths {
        [] => Ok(tree.id),
        [path] => at(path),
        several => {
            let mut hasher = gix::hash::hasher(repository.object_hash());
            for path in several {
                hasher.update(path.as_bytes());
                hasher.update(&[0]);
                hasher.update(at(path)?.as_bytes());
            }
            hasher.try_finalize().map_err(TagError::library)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_stands_for_a_line_end_too() {
        for (given, taken) in [
            ("HEAD", "HEAD"),
            ("v1.0", "v1.0"),
            ("HEAD:/a.b", "HEAD:/a.b"),
            (":/fix", ":/fix"),
            (":/fix.*bug", ":/(?s)fix.*bug"),
            (":/!-a.b", ":/!-(?s)a.b"),
            (":/!!a.b", ":/(?s)!a.b"),
            ("v1.0^{/a.b}~1", "v1.0^{/(?s)a.b}~1"),
            ("HEAD^{/ab}^{/!-c.d}", "HEAD^{/ab}^{/!-(?s)c.d}"),
        ] {
            assert_eq!(over_lines(given), taken, "{given}");
        }
    }
}
