//! Repositories of other users, and what may not be read at all.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::Place;

/// Nobody's number, here and in Debian.
const NOBODY: u32 = 65_534;

fn give_away(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_away(&path);
        }
        let given = chown(&path, Some(NOBODY), Some(NOBODY));
        assert!(given.is_ok(), "only root can give files away, so these tests are run by root: {given:?}");
    }
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn somebody_elses_repository_is_read_and_nothing_of_it_is_executed() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let witness = place.path("witness");
    std::fs::write(folder.join(".gitattributes"), "* filter=spy\n").unwrap();
    place.done(&folder, &["add", "-A"]);
    place.done(&folder, &["commit", "-qm", "attributes"]);
    let spy = format!("tee -a {} ", witness.display());
    for (key, value) in [
        ("filter.spy.clean", spy.as_str()),
        ("filter.spy.smudge", &spy),
        ("core.fsmonitor", &spy),
        ("core.abbrev", "11"),
    ] {
        place.done(&folder, &["config", key, value]);
    }
    place.done(&folder, &["config", "--global", "core.abbrev", "9"]);
    let tag = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    let touch = || std::fs::write(folder.join("file"), std::fs::read(folder.join("file")).unwrap()).unwrap();
    let asked: [&[&str]; 6] =
        [&[], &["HEAD"], &["main"], &["--dirty"], &["--path", ".gitattributes"], &["--clean"]];
    give_away(&folder);
    assert!(!place.git(&folder, &["rev-parse", "HEAD"]).status.success(), "git refuses it");
    for words in asked {
        touch();
        let output = place.imgtag(&folder, words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), tag, "{words:?}: {error}");
        assert!(!witness.exists(), "{words:?}");
    }
    std::fs::write(folder.join(".git/config"), "[core]\n\trepositoryformatversion = 0\n").unwrap();
    for words in [&[][..], &["main"]] {
        let output = place.imgtag(&folder, words);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), &tag[..9], "{words:?}");
    }
}

#[test]
fn filters_of_ones_own_repository_say_what_differs() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["config", "filter.upper.clean", "tr a-z A-Z"]);
    std::fs::write(folder.join(".gitattributes"), "*.txt filter=upper\n").unwrap();
    std::fs::write(folder.join("a.txt"), "text\n").unwrap();
    place.done(&folder, &["add", "-A"]);
    place.done(&folder, &["commit", "-qm", "filtered"]);
    std::fs::write(folder.join("a.txt"), "tExt\n").unwrap();
    assert!(place.git(&folder, &["diff", "--quiet", "HEAD"]).status.success());
    assert_eq!(place.imgtag(&folder, &["--clean"]).status.code(), Some(0));
    std::fs::write(folder.join("a.txt"), "text!\n").unwrap();
    assert_eq!(place.imgtag(&folder, &["--clean"]).status.code(), Some(1));
}

#[test]
fn what_may_not_be_read_is_told() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["repack", "-qad"]);
    std::fs::set_permissions(place.home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Where others may execute it.
    let imgtag = place.path("imgtag");
    std::fs::copy(env!("CARGO_BIN_EXE_imgtag"), &imgtag).unwrap();
    let git = folder.join(".git");
    let packs = || {
        std::fs::read_dir(git.join("objects/pack"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let told = |closed: &Path, words: &[&str]| {
        let before = std::fs::metadata(closed).unwrap().permissions();
        std::fs::set_permissions(closed, std::fs::Permissions::from_mode(0o0)).unwrap();
        let mut tool = place.home.program("setpriv");
        let tool = tool.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let output = tool.arg(&imgtag).args(words).current_dir("/").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{closed:?} {words:?}: {error}");
        assert!(error.to_lowercase().contains("permission denied"), "{closed:?} {words:?}: {error}");
        std::fs::set_permissions(closed, before).unwrap();
    };
    let here = folder.display().to_string();
    told(&folder, &["-C", &here]);
    for closed in
        [git.clone(), git.join("HEAD"), git.join("objects"), git.join("objects/pack"), git.join("config")]
    {
        told(&closed, &["-C", &here]);
    }
    for index in packs().iter().filter(|path| path.extension().is_some_and(|ending| ending == "idx")) {
        told(index, &["-C", &here]);
    }
    for pack in packs().iter().filter(|path| path.extension().is_some_and(|ending| ending == "pack")) {
        told(pack, &["-C", &here, "HEAD~1"]);
    }
}
