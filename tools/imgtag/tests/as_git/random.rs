//! Hundreds of revisions in repositories made at random, each asked of git and of imgtag.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Place;

/// Repositories; each is asked for some twenty revisions.
const REPOSITORIES: u64 = 30;

/// Numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn choice<T: Copy>(&mut self, all: &[T]) -> T {
        let number = self.below(all.len() as u64);
        all[usize::try_from(number).unwrap()]
    }
}

/// A history with branches, merges and both kinds of tags, for `git fast-import`.
fn history(random: &mut Random, commits: u64) -> String {
    let mut stream = String::new();
    for number in 1..=commits {
        let branch = if number > 3 && random.one_in(4) { "side" } else { "main" };
        writeln!(stream, "commit refs/heads/{branch}\nmark :{number}").unwrap();
        writeln!(stream, "committer A <a@example.invalid> {} +0000", 1_700_000_000 + number).unwrap();
        let message = format!("change {number}");
        writeln!(stream, "data {}\n{message}", message.len()).unwrap();
        if number > 1 && branch == "main" && random.one_in(5) {
            writeln!(stream, "merge :{}", 1 + random.below(number - 1)).unwrap();
        }
        for _ in 0..=random.below(3) {
            let content = random.below(1_000_000).to_string();
            let path = random.choice(&["file", "sub/file", "sub/deeper/file", "other"]);
            writeln!(stream, "M 644 inline {path}\ndata {}\n{content}", content.len()).unwrap();
        }
    }
    let tagged = 1 + random.below(commits);
    write!(stream, "reset refs/tags/light\nfrom :{tagged}\n\n").unwrap();
    let who = "tagger A <a@example.invalid> 1700000000 +0000";
    write!(stream, "tag heavy\nfrom :{tagged}\n{who}\ndata 5\nheavy\n").unwrap();
    stream
}

fn make(place: &Place, random: &mut Random, name: &str) -> PathBuf {
    let folder = place.path(name);
    std::fs::create_dir_all(&folder).unwrap();
    let format = random.choice(&["sha1", "sha1", "sha256"]);
    place.done(&folder, &["init", "-q", "-b", "main", &format!("--object-format={format}")]);
    // Below the limit the objects are left loose.
    let limit = random.choice(&[0, 100_000]);
    let commits = 5 + random.below(60);
    place.fast_import(&folder, limit, &history(random, commits));
    match random.below(5) {
        0 => drop(place.done(&folder, &["repack", "-qad"])),
        1 => {
            place.done(&folder, &["repack", "-qd"]);
            place.done(&folder, &["multi-pack-index", "write"]);
        }
        2 => drop(place.done(&folder, &["pack-refs", "--all"])),
        3 => drop(place.done(&folder, &["commit-graph", "write", "--reachable"])),
        _ => {}
    }
    if random.one_in(3) {
        let abbrev = random.choice(&["4", "5", "9", "40", "no", "auto"]);
        place.done(&folder, &["config", "core.abbrev", abbrev]);
    }
    folder
}

/// The repository itself, or a clone or a work tree of it.
fn seen_from(place: &Place, random: &mut Random, folder: PathBuf, name: &str) -> PathBuf {
    let depth = (1 + random.below(6)).to_string();
    let options: &[&str] = match random.below(8) {
        0 => &["--bare"],
        1 => &["--depth", &depth, "--no-single-branch"],
        2 => &["--shared"],
        3 => &["--mirror"],
        4 => {
            place.done(&folder, &["worktree", "add", "-q", &format!("../{name}-seen"), "side"]);
            return place.path(&format!("{name}-seen"));
        }
        _ => return folder,
    };
    let source = match options {
        ["--shared"] => folder.display().to_string(),
        _ => format!("file://{}", folder.display()),
    };
    place.done(
        place.home.path(),
        &[&["clone", "-q", "-n"], options, &[&source, &format!("{name}-seen")]].concat(),
    );
    place.path(&format!("{name}-seen"))
}

fn revisions(place: &Place, random: &mut Random, folder: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        ["HEAD", "@", "main", "side", "origin/side", "light", "heavy", "heavy^{}", "heavy^{tree}"]
            .map(ToOwned::to_owned)
            .into();
    all.push(format!("HEAD~{}", random.below(12)));
    all.push(format!("HEAD^{}", random.below(4)));
    all.push(format!("heavy~{}^2", random.below(4)));
    all.push(format!(":/change {}", random.below(40)));
    all.push(format!("HEAD^{{/change {}}}", random.below(10)));
    all.push(format!("HEAD:{}", random.choice(&["file", "sub", "sub/deeper", "nothing"])));
    let objects = place.done(folder, &["rev-list", "--all", "--objects", "--no-object-names"]);
    let objects: Vec<&str> = objects.lines().collect();
    for length in [4, 5, 7, 12, 40] {
        let id = random.choice(&objects);
        all.push(id[..length.min(id.len())].to_owned());
    }
    all.push(format!("{}~1", &random.choice(&objects)[..7]));
    all
}

#[test]
fn every_revision_as_git_has_it() {
    let place = Place::new();
    let mut agreed = 0;
    for seed in 1..=REPOSITORIES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let name = format!("r{seed}");
        let folder = make(&place, &mut random, &name);
        let folder = seen_from(&place, &mut random, folder, &name);
        for revision in revisions(&place, &mut random, &folder) {
            let git = place.git(&folder, &["rev-parse", "--short", "--verify", &revision]);
            let ours = place.imgtag(&folder, &["-q", &revision]);
            let said = String::from_utf8_lossy(&ours.stderr);
            assert_eq!(
                (git.status.success(), String::from_utf8_lossy(&git.stdout)),
                (ours.status.success(), String::from_utf8_lossy(&ours.stdout)),
                "seed {seed}: {revision} in {}: git: {} imgtag: {said}",
                folder.display(),
                String::from_utf8_lossy(&git.stderr)
            );
            assert!(
                ours.status.success() || ours.status.code() == Some(2),
                "{revision}: {:?} {said}",
                ours.status
            );
            agreed += 1;
        }
    }
    assert!(agreed > 500, "only {agreed} revisions were asked for");
}
