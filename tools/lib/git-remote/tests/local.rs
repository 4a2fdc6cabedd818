//! Fetching and pushing with the `git` program on the other side.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::process::Command;

use git_remote::{Narrowing, PushRequest, Remote, RemoteError, Settings};
use git2::{Oid, Repository};
use hermetic::Home;

struct Server {
    home: Home,
}

impl Server {
    /// A bare repository with two commits on `main` and a tag on the first.
    fn new() -> Self {
        let server = Self { home: Home::new() };
        std::fs::create_dir(server.home.path().join("work")).unwrap();
        server.git("work", &["init", "-q", "-b", "main"]);
        server.git("work", &["commit", "-q", "--allow-empty", "-m", "first"]);
        server.git("work", &["tag", "-a", "v1", "-m", "v1"]);
        std::fs::write(server.home.path().join("work/file"), "content\n").unwrap();
        server.git("work", &["add", "file"]);
        server.git("work", &["commit", "-q", "-m", "second"]);
        server.git(".", &["clone", "-q", "--bare", "work", "bare"]);
        for setting in
            ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "receive.advertisePushOptions"]
        {
            server.git("bare", &["config", setting, "true"]);
        }
        server
    }

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command: Command = self.home.program("git");
        let output = command.current_dir(self.home.path().join(directory)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn path(&self) -> std::path::PathBuf {
        self.home.path().join("bare")
    }

    fn connect(&self) -> Remote {
        connect(&self.path()).unwrap()
    }

    fn store(&self) -> Repository {
        Repository::init_bare(self.home.path().join("store")).unwrap()
    }
}

fn connect(path: &Path) -> Result<Remote, RemoteError> {
    Remote::connect(&path.to_str().unwrap().parse()?, &Settings::default())
}

#[test]
fn a_revision_is_fetched_without_its_history() {
    let server = Server::new();
    let (mut remote, store) = (server.connect(), server.store());
    let commit = remote.fetch_revision("main", &store).unwrap();
    assert_eq!(commit.to_string(), server.git("bare", &["rev-parse", "main"]));
    let commit = store.find_commit(commit).unwrap();
    assert!(commit.tree().unwrap().get_name("file").is_some());
    assert!(store.find_commit(commit.parent_id(0).unwrap()).is_err());
    assert!(store.is_shallow());
}

#[test]
fn names_mean_what_git_means_by_them() {
    let server = Server::new();
    let mut remote = server.connect();
    let head = remote.resolve("HEAD").unwrap();
    assert_eq!(head.commit, remote.resolve("refs/heads/main").unwrap().commit);
    assert_eq!(head.commit, remote.resolve("main").unwrap().commit);
    let tag = remote.resolve("v1").unwrap();
    assert_eq!(tag.commit.to_string(), server.git("bare", &["rev-parse", "v1^{commit}"]));
    assert!(matches!(remote.resolve("gone"), Err(RemoteError::NoRevision { .. })));
    assert_eq!(remote.refs(&["HEAD"]).unwrap().default_branch(), Some("main"));
}

#[test]
fn files_come_one_by_one_on_the_same_connection() {
    let server = Server::new();
    let (mut remote, store) = (server.connect(), server.store());
    let commit = remote.resolve("main").unwrap().commit;
    let fetched = remote.fetch(&store, &[commit], Narrowing { shallow: true, blobless: true }).unwrap();
    assert!(fetched.narrowing.blobless && fetched.narrowing.shallow);
    let blob = store.find_commit(commit).unwrap().tree().unwrap().get_name("file").unwrap().id();
    assert!(store.find_blob(blob).is_err());
    assert!(remote.allows_any_object().unwrap());
    remote.fetch(&store, &[blob], Narrowing::default()).unwrap();
    assert_eq!(store.find_blob(blob).unwrap().content(), b"content\n");
}

#[test]
fn a_push_is_a_compare_and_swap() {
    let server = Server::new();
    let (mut remote, store) = (server.connect(), server.store());
    let main = remote.fetch_revision("main", &store).unwrap();
    let empty = empty_pack(&store);
    let mut push = |old: Oid| {
        let request = PushRequest { reference: "refs/heads/new", old, new: main, options: &[], pack: &empty };
        remote.push(&request).unwrap().rejection
    };
    assert!(push(main).is_some());
    assert_eq!(push(Oid::ZERO_SHA1), None);
    assert!(push(Oid::ZERO_SHA1).is_some());
    assert_eq!(server.git("bare", &["rev-parse", "new"]), main.to_string());
}

fn empty_pack(store: &Repository) -> Vec<u8> {
    let mut bytes = git2::Buf::new();
    store.packbuilder().unwrap().write_buf(&mut bytes).unwrap();
    bytes.to_vec()
}

#[test]
fn what_is_no_repository_is_told_in_gits_words() {
    let home = Home::new();
    let error = connect(&home.path().join("nothing")).unwrap().resolve("main").unwrap_err();
    assert!(error.to_string().contains("does not appear to be a git repository"), "{error}");
    assert!(!error.is_transient());
}
