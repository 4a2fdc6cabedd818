//! Connections that break or fall silent, and a full disk.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::project::{Project, Ran};

/// A relay that cuts the connection after so many bytes from the server.
fn cutting_relay(to: u16, after: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
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
    port
}

#[test]
fn a_connection_may_break_anywhere() {
    let project = Project::on_gitlab();
    let port: u16 = project.url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let known = fs::read_to_string(&project.known_hosts).unwrap();
    let mut whole = 0;
    for after in (10..).step_by(700).take(12).chain([100_000]) {
        let through = cutting_relay(port, after);
        let url = project.url.replace(&format!(":{port}/"), &format!(":{through}/"));
        let branch = format!("cut-{after}");
        let mut command = project.command(&url, &branch, &["--forge", "gitlab", "--attempts", "1"]);
        let known = known.replace(&format!("]:{port} "), &format!("]:{through} "));
        let ran = Ran::of(command.env("SSH_KNOWN_HOSTS", known));
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
        Ran::of(&mut project.command(&url, "b", &options)).ended(75);
        assert!(began.elapsed() < Duration::from_secs(20), "{url}: {:?}", began.elapsed());
        project.is_clean();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_pushed() {
    let project = Project::on_gitlab();
    let inner = project.command(&project.url, "b", &["--forge", "gitlab"]);
    // A file system of its own, which goes with the process.
    let script = "mount -t tmpfs -o size=64k none \"$TMPDIR\" && exec \"$@\"";
    let mut command = project.home.program("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(inner.get_program());
    let words: Vec<_> = inner.get_args().collect();
    let (change, options) = words.split_last().unwrap();
    assert!(change.to_str().unwrap().contains("app:2"));
    command.args(options).arg("head -c 200000 /dev/urandom >manifests/large");
    for (name, value) in inner.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    let ran = Ran::of(&mut command);
    ran.ended(2);
    assert!(ran.stderr.contains("No space left") || ran.stderr.contains("failed"), "{}", ran.stderr);
    assert_eq!(project.branch("b"), None);
    project.is_clean();
}
