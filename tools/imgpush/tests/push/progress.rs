//! What people see while it goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Desk;
use crate::images::{layer, saved};
use crate::server::{Kind, Server};

#[test]
fn in_a_job_a_layer_gets_a_line_every_few_seconds() {
    let (server, desk) = (Server::new(), Desk::new());
    let image = saved(&[layer("base", 30_000_000)], "one");
    let reference = format!("{}/app:v1", server.host);
    let mut command = desk.home.spawnable("imgpush");
    command.args(["--from", "docker-archive:-", &reference]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (lines, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || stderr.lines().for_each(|line| lines.send(line.unwrap()).unwrap()));
    let mut stdin = child.stdin.take().unwrap();
    let begun = Instant::now();
    let mut pieces = image.chunks(1 << 20);
    // An archive that comes slowly, until somebody says so.
    let line = loop {
        assert!(begun.elapsed() < Duration::from_mins(1), "nobody says anything");
        stdin.write_all(pieces.next().unwrap()).unwrap();
        if let Ok(line) = told.recv_timeout(Duration::from_millis(300)) {
            break line;
        }
    };
    assert!(begun.elapsed() >= Duration::from_secs(4), "{line}");
    assert!(line.starts_with("imgpush: ") && line.contains(" MiB of 28.6"), "{line}");
    for piece in pieces {
        stdin.write_all(piece).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    // And then, what became of it.
    assert!(told.iter().any(|line| line.contains("pushed, ") && line.ends_with("sent (direct)")));
}

#[test]
fn on_a_terminal_there_are_bars_unless_they_are_not_wanted() {
    let desk = Desk::new();
    desk.write("a.tar", saved(&[layer("base", 8_000_000)], "one"));
    let push = |variables: &[(&str, &str)], more: &str| {
        let server = Server::new();
        // So that there is something to watch.
        server.fails("PATCH", "/blobs/uploads/", 1, Kind::Stall);
        let tool = assert_cmd::cargo::cargo_bin("imgpush");
        let line = format!(
            "'{}' {more} --timeout 2 --from docker-archive:a.tar {}/app:v1",
            tool.display(),
            server.host
        );
        let mut command = desk.home.program("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(desk.home.path()).stdin(Stdio::null());
        let output = command.env("TERM", "xterm").envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let seen = push(&[], "");
    assert!(seen.contains("/7.63 MiB ") && seen.contains("/s") && seen.contains("\u{1b}["), "{seen:?}");
    assert!(seen.contains("pushed, "));
    for (variables, more) in [(&[("NO_COLOR", "1")][..], ""), (&[("TERM", "dumb")], ""), (&[], "-q")] {
        let seen = push(variables, more);
        assert!(!seen.contains('\u{1b}') && !seen.contains("MiB/"), "{seen:?}");
    }
}
