//! What goes wrong on the way.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hermetic::{service, variables};

use crate::desk::{APP, Desk};
use crate::services::{Proxy, host, mortal_engine, plain_registry};

/// A registry that takes an upload's bytes and says nothing.
const SILENT: &str = r#"[{"method": "PATCH", "fault": "stall", "times": 0}]"#;

/// One that does not take them.
const DEAF: &str = r#"[{"method": "PATCH", "fault": "stall", "unread": true, "times": 0}]"#;

fn begun(desk: &Desk, words: &[&str]) -> Child {
    // A push from an engine's storage has no need of the engine.
    let mut command = desk.elsewhere();
    command.args(words).env("DOCKER_HOST", host(desk.engine));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_registry_that_fails_in_between_gets_the_image_all_the_same() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let first = format!("{}/{}/0:v1", proxy.host, desk.name);
    desk.build(&first);
    let right = desk.pushed(registry, &["--engine", "direct", &first]);
    let upload = r#""path": "/blobs/uploads/""#;
    let manifest = r#""path": "/manifests/v1""#;
    for (number, fault) in [
        format!(r#"{{"method": "PATCH", {upload}, "fault": "reset", "bytes": 2000000}}"#),
        format!(r#"{{"method": "PATCH", {upload}, "fault": "status", "status": 502, "body": "<html>", "unread": true}}"#),
        format!(r#"{{"method": "PATCH", {upload}, "fault": "lose"}}"#),
        format!(r#"{{"method": "PATCH", {upload}, "fault": "stall"}}"#),
        format!(r#"{{"method": "PUT", {upload}, "fault": "reset"}}"#),
        format!(r#"{{"method": "PUT", {upload}, "fault": "lose", "times": 2}}"#),
        format!(r#"{{"method": "POST", {upload}, "fault": "status", "status": 429, "headers": {{"Retry-After": "1"}}, "times": 2}}"#),
        r#"{"method": "HEAD", "path": "/blobs/", "fault": "reset", "times": 2}"#.to_owned(),
        format!(r#"{{"method": "PUT", {manifest}, "fault": "status", "times": 2}}"#),
        format!(r#"{{"method": "PUT", {manifest}, "fault": "lose"}}"#),
        format!(r#"{{"method": "GET", {manifest}, "skip": 1, "fault": "truncate"}}"#),
        format!(r#"{{"method": "GET", {manifest}, "skip": 1, "fault": "corrupt"}}"#),
        format!(r#"{{"method": "GET", {manifest}, "skip": 1, "fault": "headers", "headers": {{"Docker-Content-Digest": "sha256:{}"}}}}"#, "0".repeat(64)),
    ]
    .iter()
    .enumerate()
    {
        let reference = format!("{}/{}/{}:v1", proxy.host, desk.name, number + 1);
        desk.docker(&["tag", &first, &reference]);
        proxy.fails(&format!("[{fault}]"));
        assert_eq!(desk.pushed(registry, &["--engine", "direct", "--timeout", "4", &reference]), right, "{fault}");
        assert!(proxy.met() > 0, "{fault}");
        desk.docker(&["image", "rm", &reference]);
    }
    desk.docker(&["image", "rm", "-f", &first]);
}

#[test]
fn an_engine_that_is_killed_half_way_moves_no_tag_and_the_push_can_be_made_again() {
    let (desk, registry) = (Desk::at(mortal_engine()), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = format!("{}/{}:v1", proxy.host, desk.name);
    // So large that its export is not over when the registry has heard of it.
    desk.build_with(40_000_000, APP, &reference);
    let beside = host(desk.engine).replace("unix://", "").replace("docker.sock", "docker.pid");
    for (way, fault) in [("daemon", SILENT), ("direct", DEAF)] {
        proxy.fails(fault);
        let push = begun(&desk, &["--engine", way, "--timeout", "3", &reference]);
        proxy.waits_for("no upload begins", |request| request["method"] == "PATCH");
        desk.shell("kill -KILL \"$(cat \"$PID\")\"", &[("PID", &beside)]);
        proxy.fails("[]");
        let output = push.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{way}: {said}");
        assert!(said.contains("can't reach the container engine") && said.contains("hint: "), "{said}");
        assert!(output.stdout.is_empty());
        proxy.fails("[]");
        desk.shell("! curl -fsS \"$URL\" 2>/dev/null", &[("URL", &manifest(&reference))]);
        assert_eq!(&variables(service("engine").args(["--name", "mortal", "up"])), desk.engine);
    }
    let digest = desk.pushed(registry, &[&reference]);
    assert_eq!(desk.digest(registry, &reference), digest);
    desk.is_valid(registry, &reference);
}

#[test]
fn a_signal_ends_the_engines_push_too_and_leaves_the_tag_where_it_was() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = format!("{}/{}:v1", proxy.host, desk.name);
    desk.build(&reference);
    let before = desk.pushed(registry, &["--engine", "daemon", &reference]);
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        desk.build(&reference);
        proxy.fails(&SILENT.replace("\"times\"", "\"seconds\": 3, \"times\""));
        let push = begun(&desk, &["--engine", "daemon", &reference]);
        proxy.waits_for("no upload begins", |request| request["method"] == "PATCH");
        let sent = Instant::now();
        desk.shell("kill -\"$SIGNAL\" \"$PID\"", &[("SIGNAL", signal), ("PID", &push.id().to_string())]);
        let output = push.wait_with_output().unwrap();
        assert!(sent.elapsed() < Duration::from_secs(3), "{signal}");
        assert_eq!(output.status.signal(), Some(number));
        assert!(output.stdout.is_empty());
        proxy.waits_for("the registry says nothing", |request| {
            request["method"] == "PATCH" && !request["left"].is_null()
        });
    }
    // An engine that goes on would upload again 5 s after the registry's silence ended.
    proxy.fails("[]");
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        assert_eq!(proxy.requests(), 0, "{}", proxy.control(&[]));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(desk.digest(registry, &reference), before);
    desk.docker(&["image", "rm", "-f", &reference]);
}

fn manifest(reference: &str) -> String {
    let (host, rest) = reference.split_once('/').unwrap();
    let (path, tag) = rest.rsplit_once(':').unwrap();
    format!("http://{host}/v2/{path}/manifests/{tag}")
}
