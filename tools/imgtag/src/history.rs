//! The last commit that touched a path: what `git log -1 -- PATH` finds.

use std::rc::Rc;

use gix::ObjectId;
use gix::commitgraph::Graph;
use gix::objs::tree::{EntryKind, EntryMode};
use gix::objs::{CommitRefIter, Find as _, TreeRefIter};

use crate::error::TagError;
use crate::pack_objects::Packs;
use crate::repository;

/// After so many commits it pays to open the packs anew, and to keep what is read out of them.
const LONG: usize = 50;

/// What a tree has under a name: the id, and what kind of entry it is.
pub type Entry = (ObjectId, EntryMode);

/// A commit's tree and parents.
struct Commit {
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
}

/// What a commit has at a path: at each of its folders, from the top, and at its end.
type Way = Vec<Option<Entry>>;

struct History<'repo> {
    repository: &'repo gix::Repository,
    /// Git's index of commits, where the clone has one.
    graph: Option<Graph>,
    packs: Option<Packs>,
    /// Trees of the commit that is looked at.
    trees: Vec<(ObjectId, Rc<Vec<u8>>)>,
}

/// The last commit, from `start` back, that touched one of the paths.
///
/// History is simplified as git does: where a merge has a parent with the same content at the paths, only that parent
/// is followed.
pub fn last_touching(
    repository: &gix::Repository,
    start: ObjectId,
    revision: &str,
    paths: &[String],
) -> Result<ObjectId, TagError> {
    let shallow = repository.shallow_commits().map_err(TagError::library)?;
    // Git's index may know more than a shallow clone has.
    let graph = match shallow {
        None => repository.commit_graph_if_enabled().map_err(TagError::library)?,
        Some(_) => None,
    };
    let mut history = History { repository, graph, packs: None, trees: Vec::new() };
    let names: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
    let listed = || paths.join(", ");
    let mut current = history.commit(start)?;
    let mut there = history.ways(&current, &names, None)?;
    let mut seen = 0;
    loop {
        seen += 1;
        // Where objects are replaced, the Git library knows by which.
        if seen == LONG && repository.objects.store_ref().replacements().next().is_none() {
            let objects = repository.objects.store_ref().path();
            history.packs = Some(Packs::open(objects, repository.object_hash())?);
        }
        if shallow.as_ref().is_some_and(|ends| ends.contains(&current.id)) {
            return Err(TagError::TooShallow { path: listed() });
        }
        let mut same = None;
        for parent in &current.parents {
            let parent = history.commit(*parent)?;
            let ways = if parent.tree == current.tree {
                there.clone()
            } else {
                history.ways(&parent, &names, Some(&there))?
            };
            if ways.iter().zip(&there).all(|(parent, child)| parent.last() == child.last()) {
                same = Some((parent, ways));
                break;
            }
        }
        match same {
            Some((parent, ways)) => (current, there) = (parent, ways),
            None if current.parents.is_empty() && there.iter().all(|way| way.last() == Some(&None)) => {
                return Err(TagError::NeverTouched { revision: revision.to_owned(), path: listed() });
            }
            None => return Ok(current.id),
        }
    }
}

/// That a revision has the path, or that a commit before it had.
pub fn knows(repository: &gix::Repository, revision: &str, path: &str) -> Result<(), TagError> {
    match repository::content(repository, revision, &[path.to_owned()]) {
        Err(TagError::NoPath { .. }) => {
            let start = repository::commit(repository, revision)?;
            last_touching(repository, start, revision, &[path.to_owned()]).map(drop)
        }
        found => found.map(drop),
    }
}

impl History<'_> {
    fn commit(&mut self, id: ObjectId) -> Result<Commit, TagError> {
        if let Some(graph) = &self.graph
            && let Some(commit) = graph.commit_by_id(id)
        {
            let parents = commit.iter_parents().map(|parent| parent.map(|at| graph.id_at(at).to_owned()));
            let parents = parents.collect::<Result<_, _>>().map_err(TagError::library)?;
            return Ok(Commit { id, tree: commit.root_tree_id().to_owned(), parents });
        }
        let data = self.object(id)?;
        let mut commit = CommitRefIter::from_bytes(&data, id.kind());
        let tree = commit.tree_id().map_err(TagError::library)?;
        Ok(Commit { id, tree, parents: commit.parent_ids().collect() })
    }

    fn object(&mut self, id: ObjectId) -> Result<Rc<Vec<u8>>, TagError> {
        if let Some(packs) = &mut self.packs
            && let Some(object) = packs.object(&id)?
        {
            return Ok(object);
        }
        let mut buffer = Vec::new();
        let found = self.repository.objects.try_find(&id, &mut buffer).map_err(TagError::library)?;
        found.ok_or_else(|| TagError::NoObject(id.to_string()))?;
        Ok(Rc::new(buffer))
    }

    /// What a commit has at the paths. Where it has the same folder as a child of it, the rest is the same too.
    fn ways(
        &mut self,
        commit: &Commit,
        paths: &[Vec<&str>],
        child: Option<&[Way]>,
    ) -> Result<Vec<Way>, TagError> {
        self.trees.clear();
        let mut ways = Vec::with_capacity(paths.len());
        for (number, names) in paths.iter().enumerate() {
            let child = child.map(|ways| &ways[number]);
            let mut way: Way = Vec::with_capacity(names.len());
            let mut folder = Some(commit.tree);
            for (depth, name) in names.iter().enumerate() {
                let entry = match folder {
                    Some(tree) if name.is_empty() => Some((tree, EntryKind::Tree.into())),
                    Some(tree) => self.entry(tree, name)?,
                    None => None,
                };
                way.push(entry);
                if let Some(child) = child
                    && child[depth] == entry
                {
                    way.extend_from_slice(&child[depth + 1..]);
                    break;
                }
                folder = entry.filter(|(_, mode)| mode.is_tree()).map(|(id, _)| id);
            }
            ways.push(way);
        }
        Ok(ways)
    }

    fn entry(&mut self, tree: ObjectId, name: &str) -> Result<Option<Entry>, TagError> {
        let at = if let Some(at) = self.trees.iter().position(|(id, _)| *id == tree) {
            at
        } else {
            let data = self.object(tree)?;
            self.trees.push((tree, data));
            self.trees.len() - 1
        };
        for entry in TreeRefIter::from_bytes(&self.trees[at].1, tree.kind()) {
            let entry = entry.map_err(TagError::library)?;
            if entry.filename == name {
                return Ok(Some((entry.oid.to_owned(), entry.mode)));
            }
        }
        Ok(None)
    }
}
