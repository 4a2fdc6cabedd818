//! The work tree of a clone, in the states that git knows: what would be committed there is what is delivered.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use hermetic::Ran;

use crate::server::Server;

fn work(server: &Server) -> PathBuf {
    server.home.path().join("work")
}

fn deliver(server: &Server, branch: &str) -> Ran {
    let options = ["--forge", "none", "--target", "demo", "-m", "By hand", "--branch", branch];
    Ran::of(server.program(&options).arg(work(server)))
}

fn delivered(server: &Server, branch: &str) -> String {
    server.git("bare", &["diff", "--name-status", "demo", branch])
}

#[test]
fn what_a_filter_would_change_is_taken_from_the_index() {
    let server = Server::new();
    server.write(".gitattributes", "*.secret filter=seal\n*.wide working-tree-encoding=UTF-16\n");
    for (key, command) in [("clean", "sed s/PLAIN/SEALED/"), ("smudge", "sed s/SEALED/PLAIN/")] {
        server.git("work", &["config", &format!("filter.seal.{key}"), command]);
    }
    server.write("manifests/old.secret", "PLAIN old\n");
    server.publish("sealed");
    assert_eq!(server.git("bare", &["show", "demo:manifests/old.secret"]), "SEALED old");
    server.write("manifests/new.secret", "PLAIN new\n");
    deliver(&server, "plain").ended(2).says("manifests/new.secret").says("`seal`").says("git add");
    assert!(!server.has_branch("plain"));
    server.git("work", &["add", "."]);
    deliver(&server, "sealed").ended(0);
    assert_eq!(server.git("bare", &["show", "sealed:manifests/new.secret"]), "SEALED new");
    // What was staged is not what is there now.
    server.write("manifests/new.secret", "PLAIN newer\n");
    deliver(&server, "newer").ended(2);
    server.git("work", &["reset", "-q", "--hard"]);
    server.write("manifests/a.wide", "x");
    deliver(&server, "wide").ended(2).says("working-tree-encoding=UTF-16");
    // A filter that is configured nowhere changes nothing.
    server.git("work", &["clean", "-qfd"]);
    server.git("work", &["config", "--remove-section", "filter.seal"]);
    server.write("manifests/new.secret", "as it is\n");
    deliver(&server, "unconfigured").ended(0);
    assert_eq!(server.git("bare", &["show", "unconfigured:manifests/new.secret"]), "as it is");
}

#[test]
fn a_sparse_checkout_removes_nothing() {
    let server = Server::new();
    server.git("work", &["sparse-checkout", "set", "manifests"]);
    assert!(!work(&server).join("other/file").exists());
    server.write("manifests/new", "new\n");
    deliver(&server, "b").ended(0);
    assert_eq!(delivered(&server, "b"), "A\tmanifests/new");
}

#[test]
fn conflicts_are_not_delivered() {
    let server = Server::new();
    server.git("work", &["checkout", "-q", "-b", "theirs"]);
    server.write("manifests/app.yml", "image: theirs\n");
    server.git("work", &["commit", "-qam", "theirs"]);
    server.git("work", &["checkout", "-q", "main"]);
    server.write("manifests/app.yml", "image: ours\n");
    server.git("work", &["commit", "-qam", "ours"]);
    let mut merge = server.home.program("git");
    merge.current_dir(work(&server)).args(["merge", "-q", "theirs"]);
    assert!(!merge.output().unwrap().status.success());
    deliver(&server, "b").ended(2).says("manifests/app.yml has conflicts");
}

#[test]
fn a_submodules_commit_is_part_of_the_change() {
    let server = Server::new();
    let url = server.url();
    let add = ["-c", "protocol.file.allow=always", "submodule", "-q", "add"];
    server.git("work", &[&add[..], &[url.to_str().unwrap(), "manifests/sub"]].concat());
    server.publish("submodule");
    let at =
        |branch: &str| server.git("bare", &["ls-tree", "--format=%(objectname)", branch, "manifests/sub"]);
    let before = at("demo");
    // A commit of its own, checked out and not staged.
    server.git("work/manifests/sub", &["commit", "-q", "--allow-empty", "-m", "next"]);
    let next = server.git("work/manifests/sub", &["rev-parse", "HEAD"]);
    assert_ne!(next, before);
    deliver(&server, "moved").ended(0);
    assert_eq!((at("moved"), delivered(&server, "moved")), (next, "M\tmanifests/sub".to_owned()));
    server.git("work/manifests/sub", &["checkout", "-q", &before]);
    server.git("work", &["rm", "-qf", "manifests/sub"]);
    deliver(&server, "removed").ended(0);
    assert_eq!(delivered(&server, "removed"), "M\t.gitmodules\nD\tmanifests/sub");
}

#[test]
fn files_may_take_the_place_of_a_submodule() {
    let server = Server::new();
    let main = server.git("work", &["rev-parse", "main"]);
    server.git("work", &["update-index", "--add", "--cacheinfo", &format!("160000,{main},manifests/sub")]);
    server.git("work", &["commit", "-qm", "submodule"]);
    server.push_demo();
    server.demo("files", "echo x >manifests/sub/file").ended(0);
    assert_eq!(delivered(&server, "files"), "D\tmanifests/sub\nA\tmanifests/sub/file");
    let nested = "git init -q manifests/sub";
    server.demo("nested", nested).ended(2).says("manifests/sub is a submodule");
}

#[test]
fn the_clones_configuration_counts() {
    let server = Server::new();
    server.write("manifests/run", "run\n");
    fs::set_permissions(work(&server).join("manifests/run"), fs::Permissions::from_mode(0o755)).unwrap();
    server.publish("run");
    for (key, value) in
        [("user.name", "Of the clone"), ("user.email", "clone@git.test"), ("core.fileMode", "false")]
    {
        server.git("work", &["config", key, value]);
    }
    fs::set_permissions(work(&server).join("manifests/run"), fs::Permissions::from_mode(0o644)).unwrap();
    server.write("manifests/run", "run more\n");
    let mut command =
        server.program(&["--forge", "none", "--target", "demo", "-m", "By hand", "--branch", "b"]);
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        command.env_remove(name);
    }
    // Half of an identity in the environment goes with the other half of the configuration.
    Ran::of(command.env("GIT_AUTHOR_NAME", "Ann").arg(work(&server))).ended(0);
    assert_eq!(server.git("bare", &["log", "-1", "--format=%an <%ae>", "b"]), "Ann <clone@git.test>");
    let mode = server.git("bare", &["ls-tree", "--format=%(objectmode)", "b", "manifests/run"]);
    assert_eq!(mode, "100755");
}

#[test]
fn our_own_files_are_none_of_the_clones() {
    let server = Server::new();
    let inside = work(&server).join("tmp");
    fs::create_dir(&inside).unwrap();
    server.write("manifests/new", "new\n");
    let mut command = server.program(&["--forge", "none", "--target", "demo", "-m", "m", "--branch", "b"]);
    Ran::of(command.env("TMPDIR", &inside).arg(work(&server))).ended(0);
    assert_eq!(delivered(&server, "b"), "A\tmanifests/new");
}

#[test]
fn commits_that_are_only_in_the_clone_are_told_of() {
    let server = Server::new();
    server.write("manifests/app.yml", "image: committed\n");
    server.git("work", &["commit", "-qam", "not pushed"]);
    deliver(&server, "b").ended(0).says("commits that the target has not").says("nothing to change");
}
