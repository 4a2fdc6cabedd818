//! Connections that break or fall silent, servers that end, tokens that expire, jobs that meet, and a full disk.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::project::{BUMP, Project, discreet, discreetly, gitlab, secrets};

/// More bytes than any run here receives.
const UNCUT: usize = 100_000;

/// A relay that cuts each connection after so many bytes from the server, and counts them.
fn cutting_relay(to: u16, after: usize) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            let mut left = after;
            let mut buffer = [0; 512];
            while let Ok(count @ 1..) = server.read(&mut buffer) {
                let count = count.min(left);
                left -= count;
                if client.write_all(&buffer[..count]).is_err() || left == 0 {
                    break;
                }
            }
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    });
    (port, count)
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
}

/// mr-push through a relay on that port.
fn through(project: &Project, relay: u16, branch: &str, options: &[&str], change: &str) -> Command {
    let port = port_of(&project.url);
    let url = project.url.replace(&format!(":{port}/"), &format!(":{relay}/"));
    let known = fs::read_to_string(&project.known_hosts).unwrap();
    let options = [&["--forge", "gitlab"], options].concat();
    let mut command = project.command_that(&url, branch, &options, change);
    command.env("SSH_KNOWN_HOSTS", known.replace(&format!("]:{port} "), &format!("]:{relay} ")));
    command
}

#[test]
fn a_connection_may_break_anywhere() {
    let project = Project::on_gitlab();
    let mut whole = 0;
    for after in (10..).step_by(700).take(12).chain([UNCUT]) {
        let (relay, _) = cutting_relay(port_of(&project.url), after);
        let branch = format!("cut-{after}");
        let ran = discreetly(&mut through(&project, relay, &branch, &["--attempts", "1"], BUMP));
        whole += u32::from(ran.status == Some(0));
        assert!(matches!(ran.status, Some(0 | 75)), "after {after} bytes: {:?} {}", ran.status, ran.stderr);
        project.is_clean();
        // Whatever was told, the branch is not there or whole, and the next run ends well.
        project.run(&branch, &["--forge", "gitlab"]).ended(0);
    }
    assert!(whole > 0, "the relay never let a whole run through");
    project.git("work", &["-C", project.repository().to_str().unwrap(), "fsck", "--strict"]);
}

#[test]
fn a_server_that_says_nothing_is_waited_for_so_long_and_no_longer() {
    let project = Project::on_gitlab();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in [format!("ssh://git@127.0.0.1:{port}/app.git"), format!("http://127.0.0.1:{port}/app.git")] {
        let options =
            ["--forge", "gitlab", "--silence-timeout", "1", "--connect-timeout", "1", "--attempts", "1"];
        let began = Instant::now();
        discreetly(&mut project.command(&url, "b", &options)).ended(75);
        assert!(began.elapsed() < Duration::from_secs(20), "{url}: {:?}", began.elapsed());
        project.is_clean();
    }
}

#[test]
fn http_may_break_anywhere_too() {
    let project = Project::on_gitlab();
    let mut whole = 0;
    for after in (10..).step_by(400).take(8).chain([UNCUT]) {
        let (relay, connections) = cutting_relay(port_of(&gitlab()["GIT_HTTP_URL"]), after);
        let url = format!("http://127.0.0.1:{relay}/{}.git", project.name);
        let branch = format!("cut-{after}");
        let mut command = project.command(&url, &branch, &["--forge", "gitlab", "--attempts", "1"]);
        let ran = discreetly(command.env("MR_PUSH_TOKEN", &gitlab()["GITLAB_API_TOKEN"]));
        assert!(matches!(ran.status, Some(0 | 75)), "after {after} bytes: {:?} {}", ran.status, ran.stderr);
        whole += u32::from(ran.status == Some(0));
        // A connection that is cut between two answers is replaced; one that nobody cuts is the only one.
        if after == UNCUT {
            assert_eq!(connections.load(Ordering::Relaxed), 1);
        }
        project.is_clean();
        project.run(&branch, &["--forge", "gitlab"]).ended(0);
    }
    assert!(whole > 0, "the relay never let a whole run through");
}

#[test]
fn a_server_may_end_while_it_takes_the_push() {
    let project = Project::on_gitlab();
    // The hook's parent is git's receive-pack. Whether the branch has moved then, another attempt finds out.
    for hook in ["pre-receive", "post-receive"] {
        let path = project.repository().join("hooks").join(hook);
        let before = fs::read_to_string(&path).unwrap();
        let (_, original) = before.split_once('\n').unwrap();
        let once = project.home.path().join(hook);
        let script =
            format!("#!/bin/sh\nif mkdir {}; then kill -9 $PPID; exit 1; fi\n{original}", once.display());
        fs::write(&path, script).unwrap();
        project.run(hook, &["--forge", "gitlab", "--attempts", "1"]).ended(75);
        fs::remove_dir(&once).unwrap();
        let branch = format!("{hook}-again");
        let again = project.run(&branch, &["--forge", "gitlab"]).ended(0);
        assert!(again.stdout.contains("/-/merge_requests/"), "{}", again.stdout);
        project.run(hook, &["--forge", "gitlab"]).ended(0);
        fs::write(&path, before).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(project.requests().as_array().unwrap().len(), 4);
    project.is_clean();
}

#[test]
fn a_token_that_expires_meanwhile_pushes_nothing() {
    let project = Project::on_gitlab();
    let url = format!("{}/{}.git", gitlab()["GIT_HTTP_URL"], project.name);
    let config = project.repository().join("config");
    let change = format!("{BUMP}; git config --file {} gitlab.expired true", config.display());
    let mut command = project.command_that(&url, "b", &["--forge", "gitlab"], &change);
    command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]);
    discreetly(&mut command).ended(77).says("the token is not accepted").says("expired");
    assert_eq!(project.branch("b"), None);
    project.is_clean();
    // The branch is there; the API's token has expired.
    project.set("gitlab.expired", &[]);
    project.set("gitlab.link", &["false"]);
    project.run("b", &["--forge", "gitlab"]).ended(0);
    project.set("gitlab.expired", &["true"]);
    let options = ["--forge", "gitlab", "--reviewer", "robot", "--api-url", &gitlab()["GITLAB_API_URL"]];
    let mut command = project.command(&project.url, "b", &options);
    command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]);
    discreetly(&mut command).ended(77).says("Token is expired");
}

#[test]
fn jobs_that_meet_make_one_branch_and_one_request() {
    let project = Project::on_gitlab();
    let jobs: Vec<_> = (0..3)
        .map(|job| {
            let mut command = project.command(&project.url, "b", &["--forge", "gitlab"]);
            command.env("CI_JOB_ID", job.to_string()).env("CI_COMMIT_SHA", "4b1c9e2");
            let secrets = secrets(&command);
            (command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), secrets)
        })
        .collect();
    for (job, secrets) in jobs {
        let ran = discreet(job.wait_with_output().unwrap(), &secrets).ended(0);
        assert!(ran.stdout.ends_with("/-/merge_requests/1\n"), "{}", ran.stdout);
    }
    assert_eq!(project.requests().as_array().unwrap().len(), 1);
    let count = project
        .git("work", &["-C", project.repository().to_str().unwrap(), "rev-list", "--count", "demo..b"]);
    assert_eq!(count, "1");
    project.is_clean();
}

#[test]
fn a_slow_command_leaves_the_connection_as_it_is() {
    let project = Project::on_gitlab();
    let (relay, connections) = cutting_relay(port_of(&project.url), usize::MAX);
    // Longer than a ref list is taken for fresh (2 s).
    discreetly(&mut through(&project, relay, "b", &[], &format!("sleep 2.1; {BUMP}"))).ended(0);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_full_disk_is_told_and_nothing_is_pushed() {
    let project = Project::on_gitlab();
    let change = "head -c 200000 /dev/urandom >manifests/large";
    let inner = project.command_that(&project.url, "b", &["--forge", "gitlab"], change);
    // A file system of its own, which goes with the process.
    let script = "mount -t tmpfs -o size=64k none \"$TMPDIR\" && exec \"$@\"";
    let mut command = project.home.program("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    let ran = discreetly(&mut command).ended(2);
    assert!(ran.stderr.contains("No space left") || ran.stderr.contains("failed"), "{}", ran.stderr);
    assert_eq!(project.branch("b"), None);
    project.is_clean();
}
