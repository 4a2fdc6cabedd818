//! Where objects may be besides the clone's own packs: alternates, indexes of several packs, packs of every age.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::Place;

impl Place {
    /// A pack of so many blobs, which no other pack has, and a commit on `main`.
    fn import(&self, folder: &Path, kind: &str, blobs: usize) {
        let mut stream = String::new();
        for number in 0..blobs {
            let text = format!("{kind} {number}");
            writeln!(stream, "blob\ndata {}\n{text}", text.len()).unwrap();
        }
        let who = "committer A <a@example.invalid> 1767225600 +0000";
        write!(stream, "commit refs/heads/main\n{who}\ndata 1\nx\nM 644 inline {kind}\ndata 1\nx\n").unwrap();
        self.fast_import(folder, 0, &stream);
    }

    fn bare(&self, name: &str) -> std::path::PathBuf {
        let folder = self.path(name);
        self.done(self.home.path(), &["init", "-q", "--bare", "-b", "main", name]);
        folder
    }

    fn length(&self, folder: &Path) -> usize {
        self.imgtag(folder, &[]).stdout.len() - 1
    }
}

fn lends(borrower: &Path, lenders: &str) {
    std::fs::write(borrower.join("objects/info/alternates"), lenders).unwrap();
}

#[test]
fn borrowed_objects_count() {
    let place = Place::new();
    let (a, b, c) = (place.bare("a"), place.bare("b"), place.bare("c"));
    place.import(&a, "a", 10_000);
    place.import(&b, "b", 10_000);
    place.import(&c, "c", 60_000);
    let path = |of: &Path| of.join("objects").display().to_string();
    place.same_as_git(&a, &["HEAD"]);
    assert_eq!(place.length(&a), 7);
    lends(&a, &format!("# a comment\n\n{}\n", path(&b)));
    place.same_as_git(&a, &["HEAD"]);
    assert_eq!(place.length(&a), 8);
    // Relative, quoted, named twice, not there, and leading back.
    lends(&a, &format!("../../b/objects\n{0}\n\"{0}\"\n/nowhere/objects\n", path(&b)));
    place.same_as_git(&a, &["HEAD"]);
    assert_eq!(place.length(&a), 8);
    // What the lender borrows is borrowed.
    lends(&b, &format!("{}\n", path(&c)));
    place.same_as_git(&a, &["HEAD"]);
    assert_eq!(place.length(&a), 9);
    lends(&c, &format!("{}\n", path(&a)));
    place.same_as_git(&a, &["HEAD"]);
    assert_eq!(place.length(&a), 9);
}

#[test]
fn an_index_of_several_packs_counts_each_object_once() {
    let place = Place::new();
    let folder = place.bare("r");
    place.import(&folder, "a", 9_000);
    place.import(&folder, "b", 100);
    // The same objects in another pack.
    let all = place.done(&folder, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let mut pack = place.home.program("git");
    pack.current_dir(&folder).args(["pack-objects", "-q", "objects/pack/pack"]).stdin(Stdio::piped());
    let mut pack = pack.stdout(Stdio::null()).spawn().unwrap();
    pack.stdin.take().unwrap().write_all((all + "\n").as_bytes()).unwrap();
    assert!(pack.wait().unwrap().success());
    place.same_as_git(&folder, &["HEAD"]);
    assert_eq!(place.length(&folder), 8, "18,000 in three packs");
    place.done(&folder, &["multi-pack-index", "write"]);
    place.same_as_git(&folder, &["HEAD"]);
    assert_eq!(place.length(&folder), 7, "9,000 in the index");
    place.done(&folder, &["config", "core.multiPackIndex", "false"]);
    place.same_as_git(&folder, &["HEAD"]);
    assert_eq!(place.length(&folder), 8, "the index is not used");
    place.done(&folder, &["config", "--unset", "core.multiPackIndex"]);
    place.import(&folder, "c", 8_000);
    place.same_as_git(&folder, &["HEAD"]);
    assert_eq!(place.length(&folder), 8, "a pack that is not in the index");
    let index = folder.join("objects/pack/multi-pack-index");
    let whole = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    for length in [0, 11, 40, 200, 1_200, whole.len() / 2] {
        std::fs::write(&index, &whole[..length]).unwrap();
        let output = place.imgtag(&folder, &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{length} bytes: {error}");
        assert!(error.contains("multi-pack-index: "), "{length}: {error}");
    }
}

#[test]
fn the_first_version_of_an_index() {
    let place = Place::new();
    let folder = place.bare("r");
    place.import(&folder, "a", 17_000);
    place.done(&folder, &["-c", "pack.indexVersion=1", "repack", "-qadF"]);
    place.done(&folder, &["-c", "pack.indexVersion=1", "gc", "-q", "--prune=now"]);
    place.same_as_git(&folder, &["HEAD", "HEAD^{tree}", "HEAD:a"]);
    let pack = std::fs::read_dir(folder.join("objects/pack")).unwrap();
    let index =
        pack.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "idx"));
    assert_ne!(std::fs::read(index.unwrap()).unwrap()[..4], *b"\xfftOc");
}

#[test]
fn an_abbreviation_is_as_long_as_its_neighbour_makes_it() {
    let place = Place::new();
    // Blobs enough that many begin alike, each of them asked for.
    for format in ["sha1", "sha256"] {
        let folder = place.path(format);
        place.done(
            place.home.path(),
            &["init", "-q", "--bare", "-b", "main", "--object-format", format, format],
        );
        place.import(&folder, "a", 1_000);
        place.done(&folder, &["config", "core.abbrev", "4"]);
        let all = place.done(&folder, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        let ids: Vec<&str> = all.lines().collect();
        let longer = ids.windows(2).filter(|pair| pair[0][..4] == pair[1][..4]).map(|pair| pair[0]);
        let asked: Vec<&str> = longer.chain([ids[0], ids[500], ids[ids.len() - 1]]).collect();
        assert!(asked.len() > 5, "{asked:?}");
        let mut git = vec!["rev-parse", "--short"];
        for id in asked {
            git.truncate(2);
            git.push(id);
            let expected = place.done(&folder, &git);
            let ours = place.imgtag(&folder, &["-q", id]);
            assert_eq!(String::from_utf8_lossy(&ours.stdout).trim_end(), expected);
        }
    }
}

#[test]
fn packs_that_are_replaced_meanwhile() {
    let place = Place::new();
    let folder = place.bare("r");
    place.import(&folder, "a", 200);
    let expected = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    let repacking = std::thread::scope(|scope| {
        let repacking = scope.spawn(|| {
            for number in 0..12 {
                let depth = format!("--depth={}", 1 + number % 2);
                place.done(&folder, &["repack", "-qadF", &depth]);
            }
        });
        while !repacking.is_finished() {
            let output = place.imgtag(&folder, &[]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{error}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected);
        }
        repacking.join()
    });
    repacking.unwrap();
}
