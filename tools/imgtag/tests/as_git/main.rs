//! imgtag beside git itself, on repositories of every kind that git can make here.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod owners;
mod paths;
mod random;
mod stores;
mod tables;
mod verify;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use hermetic::Home;

/// Git's own limit, below which it unpacks.
const UNPACK_LIMIT: usize = 100;

/// A home with repositories in it.
struct Place {
    home: Home,
}

impl Place {
    fn new() -> Self {
        Self { home: Home::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts into a repository what the stream says (git-fast-import(1)); fewer objects than the limit become loose ones.
    fn fast_import(&self, folder: &Path, unpack_limit: usize, stream: &str) {
        let limit = format!("fastimport.unpackLimit={unpack_limit}");
        let mut import = self.home.program("git");
        import
            .current_dir(folder)
            .args(["-c", &limit, "fast-import", "--quiet", "--force"])
            .stdin(std::process::Stdio::piped());
        let mut import = import.spawn().unwrap();
        std::io::Write::write_all(&mut import.stdin.take().unwrap(), stream.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
    }

    fn git(&self, folder: &Path, words: &[&str]) -> Output {
        self.home.program("git").current_dir(folder).args(words).output().unwrap()
    }

    fn done(&self, folder: &Path, words: &[&str]) -> String {
        let output = self.git(folder, words);
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A repository with some commits, a branch, and two kinds of tags.
    fn repository(&self, name: &str, init: &[&str]) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        self.done(&folder, &[&["init", "-q", "-b", "main"], init].concat());
        for number in 0..12 {
            std::fs::create_dir_all(folder.join("sub")).unwrap();
            let file = if number % 3 == 0 { "sub/file" } else { "file" };
            std::fs::write(folder.join(file), format!("{number}\n")).unwrap();
            self.done(&folder, &["add", "-A"]);
            let date = format!("2026-01-{:02}T00:00:00Z", number + 1);
            let commit = self
                .home
                .program("git")
                .current_dir(&folder)
                .env("GIT_AUTHOR_DATE", &date)
                .env("GIT_COMMITTER_DATE", &date)
                .args(["commit", "-qm", &format!("change {number}")])
                .status();
            assert!(commit.unwrap().success());
        }
        self.done(&folder, &["branch", "side", "HEAD~3"]);
        self.done(&folder, &["tag", "light", "HEAD~2"]);
        self.done(&folder, &["tag", "-a", "-m", "heavy", "heavy", "HEAD~1"]);
        folder
    }

    fn imgtag(&self, folder: &Path, words: &[&str]) -> Output {
        self.home.tool("imgtag").current_dir(folder).args(words).output().unwrap()
    }

    /// Both print the same for each revision.
    fn same_as_git(&self, folder: &Path, revisions: &[&str]) {
        for revision in revisions {
            let expected = self.done(folder, &["rev-parse", "--short", revision]);
            let output = self.imgtag(folder, &[revision]);
            assert!(output.status.success(), "{revision}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(
                String::from_utf8(output.stdout).unwrap(),
                format!("{expected}\n"),
                "{revision} in {folder:?}"
            );
        }
    }
}

const REVISIONS: [&str; 9] =
    ["HEAD", "@", "main", "side", "light", "heavy", "heavy^{commit}", "HEAD~2", ":/change 5"];

#[test]
fn loose_packed_and_indexed_objects() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.same_as_git(&folder, &REVISIONS);
    place.done(&folder, &["repack", "-qad"]);
    place.same_as_git(&folder, &REVISIONS);
    place.done(&folder, &["multi-pack-index", "write"]);
    place.same_as_git(&folder, &REVISIONS);
    place.done(&folder, &["pack-refs", "--all"]);
    place.same_as_git(&folder, &REVISIONS);
}

#[test]
fn clones_of_every_kind() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["repack", "-qad"]);
    let url = format!("file://{}", folder.display());
    for (name, options) in [
        ("full", &[][..]),
        ("bare", &["--bare"]),
        ("shallow", &["--depth", "1"]),
        ("partial", &["--filter=blob:none", "--no-checkout"]),
        ("separate", &["--separate-git-dir", "elsewhere"]),
        ("shared", &["--reference", "r"]),
    ] {
        place.done(
            place.home.path(),
            &[&["-c", "protocol.file.allow=always", "clone", "-q"], options, &[&url, name]].concat(),
        );
        place.same_as_git(&place.path(name), &["HEAD", "@"]);
    }
    place.done(&folder, &["worktree", "add", "-q", "../tree", "side"]);
    place.same_as_git(&place.path("tree"), &["HEAD", "main", "side"]);
    place.same_as_git(&folder.join("sub"), &["HEAD"]);
}

#[test]
fn a_sha256_repository() {
    let place = Place::new();
    let folder = place.repository("r", &["--object-format=sha256"]);
    place.same_as_git(&folder, &REVISIONS);
}

#[test]
fn the_length_grows_with_the_packed_objects() {
    let place = Place::new();
    let folder = place.path("r");
    std::fs::create_dir_all(&folder).unwrap();
    place.done(&folder, &["init", "-q", "-b", "main"]);
    // Packs add up: each import makes one.
    let mut made = 0;
    for (objects, length) in [(17_000, 8), (66_000, 9), (263_000, 10)] {
        let mut stream = String::new();
        for number in made..objects {
            writeln!(stream, "blob\ndata {}\n{number}", number.to_string().len()).unwrap();
        }
        made = objects;
        stream += "commit refs/heads/main\ncommitter A <a@example.invalid> 1767225600 +0000\ndata 1\nx\n";
        write!(stream, "M 644 inline file\ndata {}\n{objects}\n", objects.to_string().len()).unwrap();
        place.fast_import(&folder, UNPACK_LIMIT, &stream);
        place.same_as_git(&folder, &["main", "main^{tree}", "main:file"]);
        assert_eq!(place.imgtag(&folder, &["main"]).stdout.len(), length + 1, "{objects} objects");
    }
    place.done(&folder, &["multi-pack-index", "write"]);
    place.same_as_git(&folder, &["main"]);
}

#[test]
fn core_abbrev_in_all_its_forms() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    for value in ["auto", "no", "off", "false", "", "4", "12", "40", "Auto", "0xc", "010", "+9"] {
        place.done(&folder, &["config", "core.abbrev", value]);
        place.same_as_git(&folder, &["HEAD"]);
    }
    for value in ["0", "3", "41", "-8", "8x", "true", "seven"] {
        place.done(&folder, &["config", "core.abbrev", value]);
        assert!(!place.git(&folder, &["rev-parse", "--short", "HEAD"]).status.success(), "git takes {value}");
        assert_eq!(place.imgtag(&folder, &[]).status.code(), Some(2), "{value}");
    }
}

#[test]
fn a_path_names_the_commit_that_touched_it() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["checkout", "-q", "side"]);
    std::fs::write(folder.join("other"), "other").unwrap();
    place.done(&folder, &["add", "-A"]);
    place.done(&folder, &["commit", "-qm", "other"]);
    place.done(&folder, &["checkout", "-q", "main"]);
    place.done(&folder, &["merge", "-q", "--no-edit", "side"]);
    for path in ["file", "sub", "sub/file", "other", "."] {
        let expected = place.done(&folder, &["log", "-1", "--format=%h", "--", path]);
        let output = place.imgtag(&folder, &["--path", path]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{path}");
        let tree = if path == "." { "HEAD^{tree}".to_owned() } else { format!("HEAD:{path}") };
        let expected = place.done(&folder, &["rev-parse", "--short", &tree]);
        let output = place.imgtag(&folder, &["--tree", "--path", path]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "--tree {path}");
    }
    assert_eq!(place.imgtag(&folder, &["--path", "never"]).status.code(), Some(2));
}

#[test]
fn dirty_and_clean_look_at_tracked_files() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let tag = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    let says = |words: &[&str]| {
        String::from_utf8(place.imgtag(&folder, words).stdout).unwrap().trim_end().to_owned()
    };
    std::fs::write(folder.join("untracked"), "").unwrap();
    assert_eq!(says(&["--dirty"]), tag);
    assert_eq!(place.imgtag(&folder, &["--clean"]).status.code(), Some(0));
    std::fs::write(folder.join("file"), "changed").unwrap();
    assert_eq!(says(&["--dirty"]), format!("{tag}-dirty"));
    assert_eq!(says(&["--dirty=.wip"]), format!("{tag}.wip"));
    let refused = place.imgtag(&folder, &["--clean"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
}

#[test]
fn lengths_prefixes_and_images() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let full = place.done(&folder, &["rev-parse", "HEAD"]);
    let says = |words: &[&str]| {
        String::from_utf8(place.imgtag(&folder, words).stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(says(&["--length", "12"]), full[..12]);
    assert_eq!(says(&["--length", "full"]), full);
    assert_eq!(says(&["--length", "8", "--prefix", "v-"]), format!("v-{}", &full[..8]));
    assert_eq!(says(&["--length", "8", "--image", "r.test/a"]), format!("r.test/a:{}", &full[..8]));
    assert_eq!(says(&["--length", "8", "-o", "dotenv"]), format!("IMAGE_TAG={}", &full[..8]));
    for wrong in [&["--length", "3"][..], &["--length", "65"], &["--prefix", "-"], &["--image", "a//x"]] {
        assert_eq!(place.imgtag(&folder, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_shallow_or_loose_clone_is_warned_of() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let warns = |folder: &Path, words: &[&str]| {
        String::from_utf8_lossy(&place.imgtag(folder, words).stderr).contains("--length")
    };
    assert!(warns(&folder, &[]), "only loose objects");
    assert!(!warns(&folder, &["--length", "12"]));
    assert!(!warns(&folder, &["-q"]));
    place.done(&folder, &["repack", "-qad"]);
    assert!(!warns(&folder, &[]), "packed");
    let url = format!("file://{}", folder.display());
    place.done(place.home.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    assert!(warns(&place.path("shallow"), &[]), "shallow");
    let json = String::from_utf8(place.imgtag(&place.path("shallow"), &["-o", "json"]).stdout).unwrap();
    assert!(json.contains(r#""shallow":true"#) && json.contains(r#""stable":false"#), "{json}");
    let upload = "git -c uploadpack.allowFilter=true upload-pack";
    place
        .done(place.home.path(), &["clone", "-q", "-n", "--filter=blob:none", "-u", upload, &url, "partial"]);
    assert!(warns(&place.path("partial"), &[]), "partial");
    assert!(!warns(&place.path("partial"), &["--length", "12"]));
}

#[test]
fn a_tag_that_yaml_reads_as_a_number_is_warned_of() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let warned = |words: &[&str]| {
        let said = String::from_utf8(place.imgtag(&folder, words).stderr).unwrap();
        said.contains("as a number unless it is quoted")
    };
    // The id of a file with this in it begins with 0b10, which is 2 in YAML 1.1.
    std::fs::write(folder.join("file"), "79365").unwrap();
    place.done(&folder, &["commit", "-qam", "number"]);
    assert_eq!(place.done(&folder, &["rev-parse", "HEAD:file"]).get(..4), Some("0b10"));
    assert!(warned(&["HEAD:file", "--length", "4"]));
    assert!(!warned(&["HEAD:file", "--length", "4", "--prefix", "v"]));
    assert!(!warned(&["HEAD:file", "--length", "40"]));
}

#[test]
fn a_variable_names_the_repository_as_for_git() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let other = place.path("other");
    std::fs::create_dir_all(&other).unwrap();
    place.done(&other, &["init", "-q", "-b", "main"]);
    let expected = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    let asked = |from: &Path, git_dir: &str, words: &[&str]| {
        let output = place.home.tool("imgtag").current_dir(from).env("GIT_DIR", git_dir).args(words).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim_end().to_owned()
    };
    let absolute = folder.join(".git").display().to_string();
    assert_eq!(asked(&other, &absolute, &[]), expected);
    assert_eq!(asked(&other, "../r/.git", &["main"]), expected);
    assert_eq!(asked(&other, ".git", &["-C", "../r"]), expected);
    assert_eq!(asked(&folder, "", &[]), expected);
}

#[test]
fn what_can_not_be_tagged_is_told() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let told = |folder: &Path, words: &[&str], expected: &str| {
        let output = place.imgtag(folder, words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(
            output.stdout.is_empty() && error.contains("imgtag: error: ") && error.contains(expected),
            "{error}"
        );
    };
    told(place.home.path(), &[], "no Git repository");
    told(&folder, &["nothing-like-this"], "nothing-like-this");
    let empty = place.path("empty");
    std::fs::create_dir_all(&empty).unwrap();
    place.done(&empty, &["init", "-q", "-b", "first"]);
    told(&empty, &[], "`first` has no commit yet");
    std::fs::write(folder.join(".git/HEAD"), "ref: refs/heads/gone\n").unwrap();
    told(&folder, &[], "gone");
    std::fs::write(folder.join(".git/HEAD"), "nonsense\n").unwrap();
    told(&folder, &[], "");
}

#[test]
fn a_broken_pack_is_told() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["repack", "-qad"]);
    place.done(&folder, &["pack-refs", "--all"]);
    let packs: Vec<PathBuf> = std::fs::read_dir(folder.join(".git/objects/pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "idx"))
        .collect();
    for index in packs {
        std::fs::remove_file(&index).unwrap();
        std::fs::write(&index, b"\xfftOc\0\0\0\x02 cut off").unwrap();
    }
    let output = place.imgtag(&folder, &["HEAD~1"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("can't read the repository"), "{error}");
}

/// Blobs `0`, `1`, … until two of them share their first four characters; returns these.
fn two_blobs_that_look_alike(place: &Place, folder: &Path) -> String {
    let paths: String = (0..1_500).fold(String::new(), |list, number| {
        std::fs::write(folder.join(format!("blob-{number}")), number.to_string()).unwrap();
        list + &format!("blob-{number}\n")
    });
    let mut hash = place.home.program("git");
    hash.current_dir(folder).args(["hash-object", "-w", "--stdin-paths"]);
    let mut child =
        hash.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), paths.as_bytes()).unwrap();
    let ids = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let mut seen = std::collections::HashSet::new();
    ids.lines().map(|id| id[..4].to_owned()).find(|start| !seen.insert(start.clone())).unwrap()
}

#[test]
fn an_ambiguous_id_is_refused_with_what_it_may_be() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let start = two_blobs_that_look_alike(&place, &folder);
    let output = place.imgtag(&folder, &[&start]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("is ambiguous") && error.matches(&start).count() >= 3, "{error}");
    assert_eq!(error.matches("(blob)").count(), 2, "{error}");
}

#[test]
fn an_index_cut_off_anywhere_is_told() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    place.done(&folder, &["repack", "-qad"]);
    let index = std::fs::read_dir(folder.join(".git/objects/pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "idx"))
        .unwrap();
    let whole = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    for length in [0, 4, 8, 500, 1032, 1100, whole.len() - 41, whole.len() - 1] {
        std::fs::write(&index, &whole[..length]).unwrap();
        let output = place.imgtag(&folder, &["HEAD~1"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{length} bytes: {error}");
        assert!(error.contains("imgtag: error: ") && !error.contains("internal error"), "{length}: {error}");
    }
}

#[test]
fn a_closed_stdout_is_quiet_and_a_full_one_is_an_error() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let mut full = place.home.spawnable("imgtag");
    let full =
        full.current_dir(&folder).stdout(std::fs::File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(full.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&full.stderr).contains("can't write to stdout"));
}
