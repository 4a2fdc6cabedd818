//! A change as a set of files, and the tree that it makes of another tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{FileMode, ObjectType, Oid, Repository, Tree};

/// One file as a tree knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEntry {
    /// The content.
    pub blob: Oid,
    /// Regular, executable, a symbolic link, or a submodule's commit.
    pub mode: i32,
}

/// What is to become of files: new content, or nothing.
pub type Changes = BTreeMap<PathBuf, Option<FileEntry>>;

/// The mode of a submodule's entry.
pub const SUBMODULE: i32 = 0o160_000;

/// All files below a directory of a tree, or the file at that path. An empty path is the whole tree.
pub fn files_below(repository: &Repository, tree: &Tree<'_>, path: &Path) -> Result<Changes, git2::Error> {
    let mut files = Changes::new();
    if path.as_os_str().is_empty() {
        collect(repository, tree, path, &mut files)?;
        return Ok(files);
    }
    let Ok(entry) = tree.get_path(path) else { return Ok(files) };
    if entry.kind() == Some(ObjectType::Tree) {
        collect(repository, &repository.find_tree(entry.id())?, path, &mut files)?;
    } else {
        files.insert(path.to_owned(), Some(FileEntry { blob: entry.id(), mode: entry.filemode_raw() }));
    }
    Ok(files)
}

fn collect(
    repository: &Repository,
    tree: &Tree<'_>,
    path: &Path,
    files: &mut Changes,
) -> Result<(), git2::Error> {
    for entry in tree {
        let name = entry.name_bytes();
        if !is_name(name) {
            let name = String::from_utf8_lossy(name);
            return Err(git2::Error::from_str(&format!("the tree has an entry named `{name}`")));
        }
        let path = path.join(os_name(name));
        if entry.kind() == Some(ObjectType::Tree) {
            collect(repository, &repository.find_tree(entry.id())?, &path, files)?;
        } else {
            files.insert(path, Some(FileEntry { blob: entry.id(), mode: entry.filemode_raw() }));
        }
    }
    Ok(())
}

/// Whether it may be an entry's name; git makes no others, and they would lead out of a checkout, or into a `.git`.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.eq_ignore_ascii_case(b".git")
}

/// The file at a path of a tree.
pub fn file_at(tree: &Tree<'_>, path: &Path) -> Option<FileEntry> {
    let entry = tree.get_path(path).ok()?;
    let is_file = entry.kind() != Some(ObjectType::Tree);
    is_file.then(|| FileEntry { blob: entry.id(), mode: entry.filemode_raw() })
}

/// Whether the tree has every changed file as the change wants it.
pub fn has_all(tree: &Tree<'_>, changes: &Changes) -> bool {
    changes.iter().all(|(path, wanted)| file_at(tree, path) == *wanted)
}

/// What one tree has otherwise than another; their files' contents need not be there.
pub fn between(repository: &Repository, old: &Tree<'_>, new: &Tree<'_>) -> Result<Changes, git2::Error> {
    let diff = repository.diff_tree_to_tree(Some(old), Some(new), None)?;
    let files = diff.deltas().flat_map(|delta| {
        let paths = [delta.old_file().path(), delta.new_file().path()];
        paths.map(|path| path.map(Path::to_owned))
    });
    Ok(files.flatten().map(|path| (path.clone(), file_at(new, &path))).collect())
}

/// A tree with changes applied, and the objects of it that the old tree does not have.
pub struct NewTree {
    /// The root.
    pub id: Oid,
    /// Trees and files' contents that are new.
    pub objects: Vec<Oid>,
}

/// Applies the changes to a tree. Directories that become empty vanish, as git has it.
pub fn apply(repository: &Repository, base: &Tree<'_>, changes: &Changes) -> Result<NewTree, git2::Error> {
    let mut objects = Vec::new();
    let parts: Vec<_> = changes.iter().map(|(path, entry)| (path.as_path(), *entry)).collect();
    let id = match rebuild(repository, Some(base), &parts, &mut objects)? {
        Some(id) => id,
        None => repository.treebuilder(None)?.write()?,
    };
    objects.push(id);
    objects.sort();
    objects.dedup();
    Ok(NewTree { id, objects })
}

type Part<'a> = (&'a Path, Option<FileEntry>);

/// The new tree, or `None` where nothing is left in it.
fn rebuild(
    repository: &Repository,
    base: Option<&Tree<'_>>,
    parts: &[Part<'_>],
    objects: &mut Vec<Oid>,
) -> Result<Option<Oid>, git2::Error> {
    let mut builder = repository.treebuilder(base)?;
    let mut below: BTreeMap<PathBuf, Vec<Part<'_>>> = BTreeMap::new();
    // A file may take the place of a directory, so removals go first.
    let (removed, written): (Vec<Part<'_>>, Vec<Part<'_>>) =
        parts.iter().partition(|(_, entry)| entry.is_none());
    for (path, entry) in removed.into_iter().chain(written) {
        let mut components = path.components();
        let Some(first) = components.next() else { continue };
        let name = Path::new(first.as_os_str());
        let rest = components.as_path();
        if !rest.as_os_str().is_empty() {
            below.entry(name.to_owned()).or_default().push((rest, entry));
        } else if let Some(file) = entry {
            builder.insert(name, file.blob, file.mode)?;
            if file.mode != SUBMODULE {
                objects.push(file.blob);
            }
        } else if builder.get(name)?.is_some_and(|old| old.kind() != Some(ObjectType::Tree)) {
            builder.remove(name)?;
        }
    }
    for (name, parts) in below {
        let old = base.and_then(|base| base.get_path(&name).ok());
        let old = old.filter(|entry| entry.kind() == Some(ObjectType::Tree));
        let old = old.map(|entry| repository.find_tree(entry.id())).transpose()?;
        let only_removals = parts.iter().all(|(_, entry)| entry.is_none());
        if old.is_none() && only_removals {
            continue;
        }
        match rebuild(repository, old.as_ref(), &parts, objects)? {
            Some(id) => {
                builder.insert(&name, id, FileMode::Tree.into())?;
                objects.push(id);
            }
            None if builder.get(&name)?.is_some_and(|entry| entry.kind() == Some(ObjectType::Tree)) => {
                builder.remove(&name)?;
            }
            None => {}
        }
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Some) }
}

fn os_name(bytes: &[u8]) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;

    std::ffi::OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        _directory: tempfile::TempDir,
        repository: Repository,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let repository = Repository::init_bare(directory.path()).unwrap();
            Self { _directory: directory, repository }
        }

        fn file(&self, text: &str) -> FileEntry {
            FileEntry { blob: self.repository.blob(text.as_bytes()).unwrap(), mode: 0o100_644 }
        }

        fn changes(&self, files: &[(&str, Option<&str>)]) -> Changes {
            let entry = |text: Option<&str>| text.map(|text| self.file(text));
            files.iter().map(|(path, text)| (PathBuf::from(path), entry(*text))).collect()
        }

        fn empty(&self) -> Tree<'_> {
            self.repository.find_tree(self.repository.treebuilder(None).unwrap().write().unwrap()).unwrap()
        }

        fn after(&self, base: &Tree<'_>, files: &[(&str, Option<&str>)]) -> Tree<'_> {
            let id = apply(&self.repository, base, &self.changes(files)).unwrap().id;
            self.repository.find_tree(id).unwrap()
        }

        fn paths(&self, tree: &Tree<'_>) -> Vec<String> {
            let files = files_below(&self.repository, tree, Path::new("")).unwrap();
            files.keys().map(|path| path.display().to_string()).collect()
        }
    }

    #[test]
    fn files_come_and_go_with_their_directories() {
        let bench = Bench::new();
        let first =
            bench.after(&bench.empty(), &[("a/b/c", Some("1")), ("a/d", Some("2")), ("e", Some("3"))]);
        assert_eq!(bench.paths(&first), ["a/b/c", "a/d", "e"]);
        let second = bench.after(&first, &[("a/b/c", None), ("f/g", Some("4"))]);
        assert_eq!(bench.paths(&second), ["a/d", "e", "f/g"]);
        assert_eq!(bench.paths(&bench.after(&second, &[("a/d", None), ("e", None), ("f/g", None)])), [""; 0]);
    }

    #[test]
    fn a_directory_becomes_a_file_and_back() {
        let bench = Bench::new();
        let directory = bench.after(&bench.empty(), &[("a/b", Some("1"))]);
        let file = bench.after(&directory, &[("a/b", None), ("a", Some("2"))]);
        assert_eq!(bench.paths(&file), ["a"]);
        let back = bench.after(&file, &[("a", None), ("a/b", Some("1"))]);
        assert_eq!(back.id(), directory.id());
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for bad in ["", ".", "..", "../x", "/etc/passwd", ".git", ".GIT"] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
        assert!(is_name(b".gitignore") && is_name(b"...") && is_name("ä".as_bytes()));
    }

    #[test]
    fn only_what_changed_is_new() {
        let bench = Bench::new();
        let base = bench.after(&bench.empty(), &[("a/b", Some("1")), ("c/d", Some("2"))]);
        let changes = bench.changes(&[("a/b", Some("3"))]);
        let new = apply(&bench.repository, &base, &changes).unwrap();
        // The root, `a` and its file.
        assert_eq!(new.objects.len(), 3);
        assert!(has_all(&bench.repository.find_tree(new.id).unwrap(), &changes));
        assert!(!has_all(&base, &changes));
    }
}
