//! Paths: where they begin, what touched them, and whether their files differ.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::Place;

fn says(place: &Place, folder: &Path, words: &[&str]) -> String {
    let output = place.imgtag(folder, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_path_begins_where_git_has_it_begin() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let sub = folder.join("sub");
    std::fs::create_dir_all(sub.join("deeper")).unwrap();
    let absolute = sub.join("file").display().to_string();
    let dir = sub.display().to_string();
    for (from, given, git) in [
        (&folder, "sub/file", "sub/file"),
        (&sub, "file", "file"),
        (&sub, ".", "."),
        (&sub, "../file", "../file"),
        (&sub, ":/file", ":/file"),
        (&sub.join("deeper"), "../file", "../file"),
        (&sub, &absolute, &absolute),
        (&place.home.path().join("r/sub"), &dir, &dir),
    ] {
        let expected = place.done(from, &["log", "-1", "--format=%h", "--", git]);
        assert_eq!(says(&place, from, &["--path", given]), expected, "{given} in {from:?}");
        let outside = place.imgtag(place.home.path(), &["-C", &from.display().to_string(), "--path", given]);
        assert_eq!(String::from_utf8_lossy(&outside.stdout).trim_end(), expected, "{given} with -C {from:?}");
    }
    assert_eq!(
        says(&place, &sub, &["--tree", "--path", "."]),
        place.done(&sub, &["rev-parse", "--short", "HEAD:./"])
    );
    assert_eq!(
        says(&place, &sub, &["HEAD:./file"]),
        place.done(&sub, &["rev-parse", "--short", "HEAD:./file"])
    );
    for outside in ["../..", "/elsewhere", "../../r2/file"] {
        let output = place.imgtag(&sub, &["--path", outside]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains("outside of the work tree"), "{error}");
    }
}

/// `--path` takes every word after it, and so takes a revision that stands there.
#[test]
fn a_revision_behind_the_paths_is_no_path() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    std::fs::write(folder.join("gone"), "once").unwrap();
    place.done(&folder, &["add", "gone"]);
    place.done(&folder, &["commit", "-qm", "once"]);
    place.done(&folder, &["rm", "-q", "gone"]);
    place.done(&folder, &["commit", "-qm", "gone"]);
    place.done(&folder, &["branch", "sub"]);
    let refused = |words: &[&str]| {
        let output = place.imgtag(&folder, words);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for words in
        [&["--path", "sub", "side"][..], &["--path", "side", "sub"], &["--tree", "--path", "sub", "side"]]
    {
        let error = refused(words);
        assert!(error.contains("`side` is no path of `HEAD` but a revision"), "{error}");
        assert!(error.contains("hint: the revision stands in front: imgtag REV --path PATH"), "{error}");
    }
    let error = refused(&["--path", "sub", "never"]);
    assert!(error.contains("no commit before `HEAD` has touched never"), "{error}");
    let last = |words: &[&str]| place.done(&folder, &[&["log", "-1", "--format=%h"], words].concat());
    assert_eq!(says(&place, &folder, &["--path", "sub", "file"]), last(&["--", "sub", "file"]));
    assert_eq!(says(&place, &folder, &["--path", "file", "gone"]), last(&["--", "file", "gone"]));
    assert_eq!(says(&place, &folder, &["side", "--path", "sub"]), last(&["side", "--", "sub"]));
}

#[test]
fn a_changed_mode_touches_a_file() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    std::fs::set_permissions(folder.join("file"), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.done(&folder, &["commit", "-qam", "executable"]);
    let head = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    assert_eq!(place.done(&folder, &["log", "-1", "--format=%h", "--", "file"]), head);
    assert_eq!(says(&place, &folder, &["--path", "file"]), head);
    assert_eq!(says(&place, &folder, &["--path", "sub", "file"]), head);
}

#[test]
fn the_content_of_whatever_has_a_tree() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    for (revision, tree) in [
        ("HEAD^{tree}", "HEAD^{tree}"),
        ("heavy", "heavy^{tree}"),
        ("HEAD:sub", "HEAD:sub"),
        ("side", "side^{tree}"),
    ] {
        let expected = place.done(&folder, &["rev-parse", "--short", tree]);
        assert_eq!(says(&place, &folder, &["--tree", revision]), expected, "{revision}");
    }
    let both = says(&place, &folder, &["--tree", "--path", "file", "sub"]);
    assert_eq!(both.len(), 7);
    assert_eq!(says(&place, &folder.join("sub"), &["--tree", "--path", "../file", "."]), both);
    assert_ne!(says(&place, &folder, &["--tree", "--path", "sub", "file"]), both);
}

#[test]
fn dirty_is_what_differs_from_the_revision_at_the_paths() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let is_dirty = |from: &Path, words: &[&str]| {
        let tag = says(&place, from, &[&["--dirty=-d"], words].concat());
        let clean = place.imgtag(from, &[&["--clean"], words].concat()).status.code();
        assert_eq!(clean, Some(i32::from(tag.ends_with("-d"))), "{words:?}");
        tag.ends_with("-d")
    };
    assert!(!is_dirty(&folder, &[]));
    assert!(is_dirty(&folder, &["HEAD~1"]), "the files are those of HEAD");
    std::fs::write(folder.join("file"), "changed").unwrap();
    assert!(is_dirty(&folder, &[]));
    assert!(is_dirty(&folder, &["--path", "file"]));
    assert!(is_dirty(&folder, &["--tree", "--path", "file"]));
    assert!(!is_dirty(&folder, &["--path", "sub"]));
    assert!(!is_dirty(&folder.join("sub"), &["--path", "."]));
    assert!(is_dirty(&folder.join("sub"), &[]));
    place.done(&folder, &["add", "file"]);
    assert!(is_dirty(&folder, &[]), "staged");
    place.done(&folder, &["reset", "-q", "--hard"]);
    assert!(!is_dirty(&folder, &[]));
    // Another time, the same content.
    std::fs::write(folder.join("file"), std::fs::read(folder.join("file")).unwrap()).unwrap();
    assert!(!is_dirty(&folder, &[]));
    std::fs::remove_file(folder.join("sub/file")).unwrap();
    assert!(is_dirty(&folder, &["--path", "sub"]));
    let bare = place.imgtag(&folder.join(".git"), &["--dirty"]);
    assert_eq!(bare.status.code(), Some(2));
}

#[test]
fn a_sparse_index_is_compared_too() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    for name in ["kept/file", "left/file", "left/deeper/file", "other/file"] {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, name).unwrap();
    }
    place.done(&folder, &["add", "-A"]);
    place.done(&folder, &["commit", "-qm", "folders"]);
    place.done(&folder, &["sparse-checkout", "set", "--cone", "--sparse-index", "kept"]);
    assert!(place.done(&folder, &["ls-files", "--sparse"]).contains("left/\n"), "the index is a sparse one");
    let is_dirty = |words: &[&str]| {
        let tag = says(&place, &folder, &[&["--dirty=-d"], words].concat());
        tag.ends_with("-d")
    };
    assert!(!is_dirty(&[]) && !is_dirty(&["--path", "left"]));
    assert!(is_dirty(&["HEAD~1"]));
    std::fs::create_dir_all(folder.join("other")).unwrap();
    std::fs::write(folder.join("other/file"), "put there").unwrap();
    assert!(is_dirty(&[]) && !is_dirty(&["--path", "kept"]));
    assert!(place.done(&folder, &["describe", "--always", "--dirty=-d"]).ends_with("-d"));
    // git itself may have noted meanwhile that it is there.
    place.done(&folder, &["checkout", "-q", "other"]);
    place.done(&folder, &["sparse-checkout", "reapply"]);
    assert!(!is_dirty(&[]));
    std::fs::write(folder.join("kept/file"), "changed").unwrap();
    assert!(is_dirty(&[]) && is_dirty(&["--path", "kept"]) && !is_dirty(&["--path", "left"]));
    place.done(&folder, &["checkout", "-q", "kept"]);
    assert_eq!(place.imgtag(&folder, &["--clean"]).status.code(), Some(0));
}

#[test]
fn a_submodule_is_dirty_by_its_tracked_files() {
    let place = Place::new();
    let inner = place.repository("inner", &[]);
    let middle = place.repository("middle", &[]);
    let folder = place.repository("r", &[]);
    let add = |folder: &Path, of: &Path, name: &str| {
        let of = of.display().to_string();
        place.done(folder, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &of, name]);
        place.done(folder, &["commit", "-qm", "submodule"]);
    };
    add(&middle, &inner, "nested");
    add(&folder, &middle, "module");
    place.done(
        &folder,
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"],
    );
    let is_dirty = || {
        let tag = says(&place, &folder, &["--dirty=-d"]);
        let git = place.done(&folder, &["describe", "--always", "--dirty=-d"]);
        assert_eq!(tag.ends_with("-d"), git.ends_with("-d"), "as git");
        tag.ends_with("-d")
    };
    assert!(!is_dirty());
    std::fs::write(folder.join("module/new"), "untracked").unwrap();
    std::fs::write(folder.join("module/nested/new"), "untracked").unwrap();
    assert!(!is_dirty());
    std::fs::write(folder.join("module/nested/file"), "changed").unwrap();
    assert!(is_dirty());
    place.done(&folder.join("module/nested"), &["checkout", "-q", "file"]);
    assert!(!is_dirty());
    std::fs::write(folder.join("module/file"), "changed").unwrap();
    assert!(is_dirty());
    place.done(&folder.join("module"), &["checkout", "-q", "file"]);
    place.done(&folder.join("module"), &["checkout", "-q", "HEAD~1"]);
    assert!(is_dirty());
}

#[test]
fn a_clones_own_folders_are_in_it() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["worktree", "add", "-q", "../linked", "side"]);
    for inside in [".git", ".git/refs/heads", ".git/worktrees", ".git/worktrees/linked", "../linked"] {
        place.same_as_git(&folder.join(inside), &["HEAD", "main", "HEAD~1", "side", "main:file"]);
    }
    let own = folder.join(".git");
    let expected = place.done(&own, &["log", "-1", "--format=%h", "--", "sub"]);
    assert_eq!(says(&place, &own, &["--path", "sub"]), expected);
}
