//! Where changes come from: a command's checkout, and the work tree of a clone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use hermetic::Ran;

use crate::server::{BUMP, Server, result};

#[test]
fn the_command_has_stdin_and_a_checkout_of_its_directory() {
    let server = Server::new();
    server.answers(":");
    let mut command = server.command(
        &["--forge", "none", "--target", "demo", "--branch", "b", "--path", "manifests"],
        "ls; read image; echo \"image: $image\" >manifests/app.yml",
    );
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"app:3\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).ended(0).says("manifests\n");
    assert!(!ran.stderr.contains("other"));
    let commit = server.git("bare", &["rev-parse", "b"]);
    assert_eq!(ran.stdout, format!("{} b {commit}\n", server.url().display()));
    assert_eq!(server.git("bare", &["show", "b:manifests/app.yml"]), "image: app:3");
}

#[test]
fn modes_links_and_removals_are_kept_and_ignored_files_are_not() {
    let server = Server::new();
    server.write("manifests/.gitignore", "*.bak\n");
    server.git("work", &["add", "."]);
    let main = server.git("work", &["rev-parse", "main"]);
    server.git("work", &["update-index", "--add", "--cacheinfo", &format!("160000,{main},manifests/sub")]);
    server.git("work", &["commit", "-qm", "submodule"]);
    server.push_demo();
    let script = "cd manifests && rm app.yml && echo 1 >run && chmod +x run && ln -s run link && echo >x.bak && mkdir -p a/b && echo 2 >a/b/c";
    server.demo("b", script).ended(0);
    let files = server.git("bare", &["ls-tree", "-r", "--format=%(objectmode) %(path)", "b", "manifests"]);
    assert_eq!(
        files,
        "100644 manifests/.gitignore\n100644 manifests/a/b/c\n120000 manifests/link\n100755 manifests/run\n160000 manifests/sub"
    );
}

#[test]
fn only_the_files_of_the_directory_are_fetched() {
    let server = Server::new();
    for number in 0..20 {
        server.write(&format!("other/{number}"), &format!("{number}\n"));
    }
    server.publish("others");
    let script = "git -C ../objects.git cat-file --batch-all-objects --batch-check='blob? %(objecttype)' | grep -c 'blob$'";
    server.demo("b", &format!("{script}; {BUMP}")).ended(0).says("1\n");
}

#[test]
fn ignore_rules_above_the_directory_hold_in_it() {
    let server = Server::new();
    server.write(".gitignore", "*.bak\n/manifests/cache/\n");
    server.write("manifests/a/b/app.yml", "image: app:1\n");
    server.write("manifests/a/.gitignore", "*.tmp\n");
    server.publish("rules");
    let options =
        ["--forge", "none", "--target", "demo", "--branch", "b", "--path", "manifests/a/b", "-o", "json"];
    let script = "ls -A; echo 2 >manifests/a/b/app.yml; touch manifests/a/b/x.bak manifests/a/b/x.tmp manifests/a/b/new";
    let ran = server.run(&options, script).ended(0);
    assert_eq!(result(&ran)["files"], serde_json::json!(["manifests/a/b/app.yml", "manifests/a/b/new"]));
    // The checkout itself has the directory alone.
    assert!(!ran.stderr.contains(".gitignore"), "{}", ran.stderr);
    server.demo("c", "mkdir manifests/cache && touch manifests/cache/x").ended(0).says("nothing to change");
}

#[test]
fn one_file_may_be_the_whole_checkout() {
    let server = Server::new();
    let options = ["--forge", "none", "--target", "demo", "--branch", "b", "--path", "manifests/app.yml"];
    server.run(&options, &format!("find . -type f; {BUMP}")).ended(0).says("./manifests/app.yml\n");
    assert_eq!(server.git("bare", &["diff", "--name-only", "demo", "b"]), "manifests/app.yml");
    let other = ["--forge", "none", "--branch", "c", "--path", "manifests/app.yml"];
    server.run(&other, "touch manifests/other").ended(2).says("outside --path");
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\nsize 5\n";

#[test]
fn pointers_of_git_lfs_are_left_alone() {
    let server = Server::new();
    server.write("manifests/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    server.write("manifests/a.bin", POINTER);
    server.publish("pointer");
    server.demo("b", &format!("cat manifests/a.bin; {BUMP}")).ended(0).says("oid sha256:2cf24");
    assert_eq!(server.git("bare", &["diff", "--name-only", "demo", "b"]), "manifests/app.yml");
    server.demo("moved", "sed -i s/2cf24/00000/ manifests/a.bin").ended(0);
    server.demo("content", "echo x >manifests/a.bin").ended(2).says("manifests/a.bin is kept by Git LFS");
    server.demo("new", "echo x >manifests/b.bin").ended(2).says("manifests/b.bin is kept by Git LFS");
    // A clone has the content, as `git lfs` puts it there.
    server.git("work", &["rm", "-q", "--cached", "manifests/a.bin"]);
    server.git("work", &["reset", "-q"]);
    server.write("manifests/a.bin", "hello");
    server.write("manifests/app.yml", "image: app:9\n");
    let deliver = |branch: &str| {
        let options = ["--forge", "none", "--target", "demo", "-m", "By hand", "--branch", branch];
        Ran::of(server.program(&options).arg(server.home.path().join("work")))
    };
    deliver("clone").ended(0);
    assert_eq!(server.git("bare", &["diff", "--name-only", "demo", "clone"]), "manifests/app.yml");
    server.write("manifests/a.bin", "other");
    deliver("other").ended(2).says("manifests/a.bin is kept by Git LFS");
}

#[test]
fn a_clones_files_are_stored_as_git_would() {
    let server = Server::new();
    let work = server.home.path().join("work");
    server.write(".gitattributes", "*.txt text eol=crlf\n");
    server.write("manifests/a.txt", "one\r\n");
    server.write("manifests/link", "a file\n");
    server.publish("lines");
    server.write("manifests/a.txt", "one\r\ntwo\r\n");
    fs::remove_file(work.join("manifests/link")).unwrap();
    std::os::unix::fs::symlink("a.txt", work.join("manifests/link")).unwrap();
    let objects = || server.git("work", &["count-objects"]);
    let before = objects();
    let options = ["--forge", "none", "--target", "demo", "-m", "By hand", "--branch", "b"];
    Ran::of(server.program(&options).arg(&work)).ended(0);
    assert_eq!(server.git("bare", &["show", "b:manifests/a.txt"]), "one\ntwo");
    let entries = server.git("bare", &["ls-tree", "--format=%(objectmode) %(path)", "b", "manifests/"]);
    assert_eq!(entries, "100644 manifests/a.txt\n100644 manifests/app.yml\n120000 manifests/link");
    // Nothing is put into the clone.
    assert_eq!(objects(), before);
}

#[test]
fn a_tree_that_leads_out_of_its_checkout_is_refused() {
    let server = Server::new();
    let script = "
        victim=$1
        blob=$(echo evil | git hash-object -w --stdin)
        entry() { printf '%s %s\\0' \"$1\" \"$2\"; printf %s \"$3\" | xxd -r -p; }
        tree() { git hash-object -t tree -w --literally --stdin; }
        link=$(printf %s \"$victim\" | git hash-object -w --stdin)
        inner=$(entry 100644 file \"$blob\" | tree)
        up=$(entry 40000 .. \"$inner\" | tree)
        absolute=$(entry 100644 \"$victim/file\" \"$blob\" | tree)
        through=$( (entry 120000 a \"$link\"; entry 40000 a \"$inner\") | tree)
        git=$(entry 40000 .GIT \"$inner\" | tree)
        for name in up absolute through git; do
            eval tree=\\$$name
            git update-ref refs/heads/$name $(git commit-tree -m evil $tree)
        done";
    let victim = server.home.path().join("victim");
    fs::create_dir(&victim).unwrap();
    let mut make = server.home.program("sh");
    make.args(["-euc", script, "sh"]).arg(&victim).current_dir(server.url());
    assert!(make.status().unwrap().success());
    for target in ["up", "absolute", "through", "git"] {
        let ran =
            server.run(&["--forge", "none", "--target", target, "--branch", "b"], "echo ran >&2").ended(2);
        assert!(!ran.stderr.contains("ran\n"), "{target}: {}", ran.stderr);
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_command_that_fails_or_strays_pushes_nothing() {
    let server = Server::new();
    server.demo("b", "echo out; exit 3").ended(2).says("out\n").says("exit status: 3");
    server
        .demo("b", "mkdir other && echo 1 >other/new")
        .ended(2)
        .says("other/new, which is outside --path manifests");
    Ran::of(
        server
            .program(&["--branch", "b", "--forge", "none"])
            .arg(server.url())
            .args(["--", "no-such-program"]),
    )
    .ended(2)
    .says("can't run no-such-program");
    assert!(!server.has_branch("b"));
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_signal_ends_the_command_and_leaves_nothing() {
    let server = Server::new();
    let started = server.home.path().join("started");
    // Not the command itself, but what it waits for.
    let script = format!("sh -c 'echo $$ >{}; exec sleep 60'; true", started.display());
    let mut command = server.command(&["--forge", "none", "--branch", "b"], &script);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while !fs::read_to_string(&started).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    let pid = fs::read_to_string(&started).unwrap();
    server.home.program("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert_eq!(server.left_behind(), [""; 0].map(PathBuf::from));
    assert!(!server.has_branch("b"));
    // Ended by the same signal; it may take a moment to go.
    while server
        .home
        .program("kill")
        .args(["-0", pid.trim()])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
    {
        std::thread::yield_now();
    }
}

#[test]
fn the_work_tree_of_a_clone_is_a_change_too() {
    let server = Server::new();
    server.write("manifests/app.yml", "image: app:9\n");
    server.write("manifests/new", "new\n");
    let clone = server.home.path().join("work");
    let deliver = |options: &[&str]| Ran::of(server.program(options).arg(&clone));
    let ran = deliver(&["--forge", "gitlab", "--target", "demo", "-m", "By hand", "-o", "dotenv"]).ended(0);
    let branch = ran.stdout.lines().find_map(|line| line.strip_prefix("MR_BRANCH=")).unwrap();
    assert_eq!(
        server.git("bare", &["diff", "--name-only", "demo", branch]),
        "manifests/app.yml\nmanifests/new"
    );
    // The clone stays as it is.
    assert_eq!(server.git("work", &["status", "--porcelain"]), " M manifests/app.yml\n?? manifests/new");
    // The same file, changed on the target meanwhile.
    server.git("bare", &["update-ref", "refs/heads/demo", branch_commit(&server, branch).as_str()]);
    server.write("manifests/app.yml", "image: app:10\n");
    deliver(&["--forge", "gitlab", "--target", "demo", "--branch", "late"])
        .ended(2)
        .says("manifests/app.yml");
    Ran::of(server.program(&[]).arg("https://gitlab.test/g/p.git")).ended(2).says("COMMAND");
}

fn branch_commit(server: &Server, branch: &str) -> String {
    server.git("bare", &["rev-parse", branch])
}

#[test]
fn a_server_that_cant_leave_things_out_sends_them() {
    let server = Server::new();
    let options = ["--forge", "none", "--branch", "b", "--path", "manifests", "-o", "json"];
    assert_eq!(result(&server.run(&options, BUMP).ended(0))["transfer"], "blobless");
    server.git("bare", &["branch", "-D", "b"]);
    server.git("bare", &["config", "uploadpack.allowFilter", "false"]);
    assert_eq!(result(&server.run(&options, BUMP).ended(0))["transfer"], "shallow");
    server.git("bare", &["config", "uploadpack.allowFilter", "true"]);
    server.git("bare", &["branch", "-D", "b"]);
    // One that speaks version 0: all refs at once, one pack a conversation.
    let old = server.home.path().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("git"), "#!/bin/sh\nunset GIT_PROTOCOL\nPATH=${PATH#*:} exec git \"$@\"\n").unwrap();
    fs::set_permissions(old.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = server.command(&options, BUMP);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
    let path = [old.as_os_str(), &path].join(std::ffi::OsStr::new(":"));
    assert_eq!(result(&Ran::of(command.env("PATH", path)).ended(0))["transfer"], "blobless");
}
