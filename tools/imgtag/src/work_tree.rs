//! The work tree: whether its tracked files differ from those of a tree.

use std::ops::ControlFlow;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};
use gix::index::entry::{Flags, Stat};
use gix::index::{File, State};
use gix::status::tree_index::TrackRenames;
use gix::submodule::config::Ignore;
use gix::worktree::IndexPersistedOrInMemory;
use gix::worktree::stack::state::attributes::Source;

use crate::error::TagError;
use crate::references;

/// Whether tracked files, at the paths where there are any, differ from those of a tree.
pub fn is_dirty(repository: &gix::Repository, tree: ObjectId, paths: &[String]) -> Result<bool, TagError> {
    if repository.workdir().is_none() {
        return Err(TagError::NoWorkTree);
    }
    // To find submodules, the Git library looks into HEAD, which it can't find there.
    if references::in_tables(repository) {
        return Err(TagError::DirtyInTables);
    }
    let literally = |path: &String| BString::from(format!(":(top,literal){path}"));
    let patterns: Vec<BString> = paths.iter().filter(|path| !path.is_empty()).map(literally).collect();
    let persisted = repository.index_or_empty().map_err(TagError::library)?;
    let index = if persisted.is_sparse() {
        IndexPersistedOrInMemory::InMemory(File::from_state(
            in_full(repository, &persisted)?,
            repository.index_path(),
        ))
    } else {
        IndexPersistedOrInMemory::Persisted(persisted)
    };
    let mut search = repository
        .pathspec(false, patterns.iter().map(|pattern| pattern.as_bstr()), false, &index, Source::IdMapping)
        .map_err(TagError::library)?;
    let mut differs = false;
    repository
        .tree_index_status(&tree, &index, Some(&mut search), TrackRenames::Disabled, |_, _, _| {
            differs = true;
            Ok(ControlFlow::Break(()))
        })
        .map_err(TagError::library)?;
    if differs {
        return Ok(true);
    }
    let mut of_submodules = Vec::new();
    for submodule in repository.submodules().map_err(TagError::library)?.into_iter().flatten() {
        let path = submodule.path().map_err(TagError::library)?;
        let entry = index.entry_by_path(path.as_bstr()).filter(|entry| entry.mode.is_submodule());
        if let Some(entry) = entry.filter(|_| search.is_included(path.as_bstr(), Some(true))) {
            of_submodules.push((submodule, entry.id));
        }
    }
    let changes = repository
        .status(gix::progress::Discard)
        .map_err(TagError::library)?
        .index(index)
        .index_worktree_rewrites(None)
        .index_worktree_submodules(None)
        .index_worktree_options_mut(|options| options.dirwalk_options = None)
        .into_index_worktree_iter(patterns)
        .map_err(TagError::library)?;
    // The first change is enough, but what can't be read is no answer.
    if let Some(change) = changes.into_iter().next() {
        return change.map(|_| true).map_err(TagError::library);
    }
    for (submodule, id) in of_submodules {
        if is_submodule_dirty(repository, &submodule, id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a submodule that is checked out has another commit than the index, or tracked files that differ from it. The
/// Git library counts untracked files too, as git does not, and loses its way in a submodule's submodules.
fn is_submodule_dirty(
    repository: &gix::Repository,
    submodule: &gix::Submodule<'_>,
    id: ObjectId,
) -> Result<bool, TagError> {
    let of_all = repository.config_snapshot().string("diff.ignoreSubmodules");
    let ignore = match of_all.and_then(|value| Ignore::try_from(value.as_ref()).ok()) {
        Some(ignore) => ignore,
        None => submodule.ignore().map_err(TagError::library)?.unwrap_or_default(),
    };
    if ignore == Ignore::All || !submodule.state().map_err(TagError::library)?.worktree_checkout {
        return Ok(false);
    }
    let Some(mut inside) = submodule.open().map_err(TagError::library)? else { return Ok(false) };
    let folder = submodule.path().map_err(TagError::library)?;
    let folder = folder.to_path().map_err(TagError::unreadable)?;
    inside.set_workdir(repository.workdir().map(|top| top.join(folder))).map_err(TagError::library)?;
    if inside.head_id().ok().map(gix::Id::detach) != Some(id) {
        return Ok(true);
    }
    if ignore == Ignore::Dirty {
        return Ok(false);
    }
    let tree = inside.head_tree_id_or_empty().map_err(TagError::library)?.detach();
    is_dirty(&inside, tree, &[])
}

/// The index with the files of every folder that it has as a whole, as a sparse one does. The Git library compares no
/// other.
fn in_full(repository: &gix::Repository, sparse: &State) -> Result<State, TagError> {
    let mut full = State::new(sparse.object_hash());
    full.set_timestamp(sparse.timestamp());
    for entry in sparse.entries() {
        let path = entry.path(sparse);
        if !entry.mode.is_sparse() {
            full.dangerously_push_entry(entry.stat, entry.id, entry.flags, entry.mode, path);
            continue;
        }
        let is_there = |path: &[u8]| {
            let file = path.to_path().ok().and_then(|path| Some(repository.workdir()?.join(path)));
            file.is_some_and(|file| file.symlink_metadata().is_ok())
        };
        let folder = repository.index_from_tree(&entry.id).map_err(TagError::library)?;
        let is_folder_there = is_there(path);
        for file in folder.entries() {
            let mut inside = path.to_owned();
            inside.extend_from_slice(file.path(&folder));
            // As git has it, a file that is there is looked at, wherever it lies.
            let flags = if is_folder_there && is_there(&inside) {
                file.flags
            } else {
                file.flags | Flags::EXTENDED | Flags::SKIP_WORKTREE
            };
            full.dangerously_push_entry(Stat::default(), file.id, flags, file.mode, inside.as_bstr());
        }
    }
    full.sort_entries();
    Ok(full)
}
