//! References in reftable format, which the git of most machines can't make: these tables are git 2.47's, made with
//! `git refs migrate`, a branch deleted and a branch moved, of the repository that the test makes again.

use std::path::Path;

use crate::Place;

/// A stack with blocks of 300 bytes: all references in two blocks, one that is deleted, and one that is moved.
const SHA1: [&str; 3] = [
    "\
     524546540100012c0000000000000001000000000000000172000119002348454144000f726566732f68656164732f6d6169\
     6e008003726566732f68656164732f616c696173000f726566732f68656164732f736964650b216d61696e0032a9ede58e65\
     ca28a4f6fa6ac9bdc549936021d10b21736964650065a5b0aa5fba7d21548956e87cb7720525409d0a0b69776f726b2f6e75\
     6d6265722d3000259cf60a2448d29e0543b32db9a8bd378a196c4217093100259cf60a2448d29e0543b32db9a8bd378a196c\
     4217093200259cf60a2448d29e0543b32db9a8bd378a196c4217093300259cf60a2448d29e0543b32db9a8bd378a196c4217\
     093400259cf60a2448d29e0543b32db9a8bd378a196c4200001c000033000200000000000000000000000000000000000000\
     7200008a008041726566732f68656164732f776f726b2f6e756d6265722d3500259cf60a2448d29e0543b32db9a8bd378a19\
     6c420552746167732f6865617679008af54785d6e19e8e0b70cbe5d404aefccc1a3d75259cf60a2448d29e0543b32db9a8bd\
     378a196c420a296c696768740087d1dd770c70f497bf751a5ce622e944eb70ab2b0000040001524546540100012c00000000\
     0000000100000000000000010000000000000000000000000000000000000000000000000000000000000000000000000000\
     00008f6b8e1d",
    "\
     524546540100012c000000000000000200000000000000027200003d008040726566732f68656164732f776f726b2f6e756d\
     6265722d330000001c0001524546540100012c00000000000000020000000000000002000000000000000000000000000000\
     0000000000000000000000000000000000000000000000000026bb4ecb",
    "\
     524546540100012c00000000000000030000000000000003720000470079726566732f68656164732f736964650087d1dd77\
     0c70f497bf751a5ce622e944eb70ab2b00001c0001524546540100012c000000000000000300000000000000030000000000\
     000000000000000000000000000000000000000000000000000000000000000000000041f4f179",
];

/// The same with longer ids, and the version of the format that says so.
const SHA256: [&str; 3] = [
    "\
     524546540200012c000000000000000100000000000000017332353672000129002348454144000f726566732f6865616473\
     2f6d61696e008003726566732f68656164732f616c696173000f726566732f68656164732f736964650b216d61696e001d87\
     df10030d346c25a9950de9ca61120d02527d617dd0ba5ff47f1820fb7e660b217369646500d807d617ee6429f8666005638f\
     d8777689046d0bd0c7857a09863f2bb058215b0b69776f726b2f6e756d6265722d30009cb79f513036a09d1b8cbfb8be0a16\
     fe08e53d174ce5505d8a14b66169ba2607170931009cb79f513036a09d1b8cbfb8be0a16fe08e53d174ce5505d8a14b66169\
     ba2607170932009cb79f513036a09d1b8cbfb8be0a16fe08e53d174ce5505d8a14b66169ba26070000200000370002000000\
     72000102008041726566732f68656164732f776f726b2f6e756d6265722d33009cb79f513036a09d1b8cbfb8be0a16fe08e5\
     3d174ce5505d8a14b66169ba2607170934009cb79f513036a09d1b8cbfb8be0a16fe08e53d174ce5505d8a14b66169ba2607\
     170935009cb79f513036a09d1b8cbfb8be0a16fe08e53d174ce5505d8a14b66169ba26070552746167732f68656176790018\
     06f093bac54157ebb89f844d1773448d7197a2ad350f90d34b6bad381bacfa9cb79f513036a09d1b8cbfb8be0a16fe08e53d\
     174ce5505d8a14b66169ba26070a296c696768740023c2cc92fff926a0788312418d017772e93452739bf0cb62d15a4c3860\
     fbb4cc0000040001524546540200012c00000000000000010000000000000001733235360000000000000000000000000000\
     000000000000000000000000000000000000000000000000000083bebcdc",
    "\
     524546540200012c000000000000000200000000000000027332353672000041008040726566732f68656164732f776f726b\
     2f6e756d6265722d33000000200001524546540200012c000000000000000200000000000000027332353600000000000000\
     0000000000000000000000000000000000000000000000000000000000000000003f1c128a",
    "\
     524546540200012c0000000000000003000000000000000373323536720000570079726566732f68656164732f7369646500\
     23c2cc92fff926a0788312418d017772e93452739bf0cb62d15a4c3860fbb4cc0000200001524546540200012c0000000000\
     0000030000000000000003733235360000000000000000000000000000000000000000000000000000000000000000000000\
     0000000000e2528a87",
];

impl Place {
    /// The repository that the tables belong to, with its references in files.
    fn with_files(&self, format: &str) -> std::path::PathBuf {
        let folder = self.path(format);
        self.done(self.home.path(), &["init", "-q", "-b", "main", "--object-format", format, format]);
        let dated = |day: u32, words: &[&str]| {
            let date = format!("2026-01-{day:02}T00:00:00Z");
            let mut git = self.home.program("git");
            git.current_dir(&folder).env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
            assert!(git.args(words).status().unwrap().success(), "{words:?}");
        };
        for number in 0..4 {
            std::fs::write(folder.join("file"), format!("{number}\n")).unwrap();
            self.done(&folder, &["add", "-A"]);
            dated(number + 1, &["commit", "-qm", &format!("change {number}")]);
        }
        self.done(&folder, &["tag", "light", "HEAD~2"]);
        dated(9, &["tag", "-a", "-m", "heavy", "heavy", "HEAD~1"]);
        for number in [0, 1, 2, 4, 5] {
            self.done(&folder, &["branch", &format!("work/number-{number}"), "HEAD~1"]);
        }
        self.done(&folder, &["branch", "side", "HEAD~2"]);
        self.done(&folder, &["symbolic-ref", "refs/heads/alias", "refs/heads/side"]);
        folder
    }
}

/// Takes the files away and puts the tables there.
fn to_tables(folder: &Path, tables: &[&str]) {
    let git = folder.join(".git");
    std::fs::remove_dir_all(git.join("refs")).unwrap();
    std::fs::create_dir_all(git.join("refs")).unwrap();
    std::fs::write(git.join("refs/heads"), "this repository uses the reftable format\n").unwrap();
    std::fs::write(git.join("HEAD"), "ref: refs/heads/.invalid\n").unwrap();
    std::fs::create_dir(git.join("reftable")).unwrap();
    let mut list = String::new();
    for (number, table) in tables.iter().enumerate() {
        let bytes = (0..table.len()).step_by(2).map(|at| u8::from_str_radix(&table[at..at + 2], 16).unwrap());
        let name = format!("{number}.ref");
        std::fs::write(git.join("reftable").join(&name), bytes.collect::<Vec<u8>>()).unwrap();
        list += &(name + "\n");
    }
    std::fs::write(git.join("reftable/tables.list"), list).unwrap();
    let config = std::fs::read_to_string(git.join("config")).unwrap();
    let config = config.replace("repositoryformatversion = 0", "repositoryformatversion = 1");
    std::fs::write(git.join("config"), config + "[extensions]\n\trefstorage = reftable\n").unwrap();
}

#[test]
fn references_in_tables() {
    let place = Place::new();
    for (format, tables) in [("sha1", SHA1), ("sha256", SHA256)] {
        let folder = place.with_files(format);
        let revisions = [
            "HEAD",
            "@",
            "main",
            "side",
            "alias",
            "light",
            "heavy",
            "heavy^{}",
            "heavy~1",
            "HEAD~2",
            "@~1",
            "refs/heads/main",
            "tags/heavy",
            "work/number-0",
            "work/number-5",
            "HEAD:file",
            "main^{tree}",
            ":/change 1",
            ":/change.[12]",
        ];
        let expected: Vec<String> = revisions
            .iter()
            .map(|revision| place.done(&folder, &["rev-parse", "--short", revision]))
            .collect();
        let moved = place.done(&folder, &["log", "-1", "--format=%h", "--", "file"]);
        to_tables(&folder, &tables);
        for (revision, expected) in revisions.iter().zip(expected) {
            let output = place.imgtag(&folder, &[revision]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{revision}: {error}");
        }
        let output = place.imgtag(&folder, &["--path", "file"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), moved);
        let output = place.imgtag(&folder, &["--clean"]);
        assert_eq!(output.status.code(), Some(2), "no answer is better than a wrong one");
        for (revision, why) in
            [("work/number-3", "work/number-3"), ("main@{1}", "reftable format"), ("nothing", "nothing")]
        {
            let output = place.imgtag(&folder, &[revision]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && error.contains(why), "{revision}: {error}");
        }
        // A table that is cut off, and one that is not there.
        let table = folder.join(".git/reftable/0.ref");
        let whole = std::fs::read(&table).unwrap();
        for length in [0, 5, 30, 100, 300, whole.len() - 1] {
            std::fs::write(&table, &whole[..length]).unwrap();
            let output = place.imgtag(&folder, &[]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(2) && error.contains("0.ref: "), "{length}: {error}");
        }
        std::fs::remove_file(&table).unwrap();
        assert_eq!(place.imgtag(&folder, &["main"]).status.code(), Some(2));
    }
}
