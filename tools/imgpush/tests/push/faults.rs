//! What goes wrong at each kind of request, and what becomes of it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use hermetic::Ran;

use crate::images::{layer, saved};
use crate::server::{Answer, Kind, Login, Server, USER, listen};
use crate::{Desk, Printed as _};

/// Each kind of request of a push, by method and a part of its path.
const REQUESTS: [(&str, &str); 14] = [
    ("GET", "/token"),
    ("GET", "/app/manifests/v1"),
    ("GET", "/app/manifests/sha256:"),
    ("HEAD", "/blobs/"),
    ("POST", "/blobs/uploads/"),
    ("PATCH", "/blobs/uploads/"),
    ("PUT", "/blobs/uploads/"),
    ("PUT", "/app/manifests/"),
    // What is learnt of other images: of this repository, and of another one from which layers are mounted.
    ("GET", "/tags/list"),
    ("GET", "/app/manifests/v0"),
    ("GET", "/app/blobs/"),
    ("GET", "/other/manifests/v1"),
    ("GET", "/other/blobs/"),
    // Where an upload stands that broke off.
    ("GET", "/blobs/uploads/"),
];

/// With a layer that is sent while it is made, since it does not fit into one request.
static LARGE: LazyLock<Vec<u8>> =
    LazyLock::new(|| saved(&[layer("base", 8_000_000), layer("app", 3000)], "one"));

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| saved(&[layer("app", 3000)], "one"));

fn push_to(path: &str, image: &[u8], server: &Server, desk: &Desk, more: &[&str]) -> Ran {
    let reference = format!("{}/{path}", server.host);
    let mut command = desk.command(&[&["--from", "docker-archive:-", &reference], more].concat());
    command.env("IMGPUSH_USERNAME", USER.0).env("IMGPUSH_PASSWORD", USER.1);
    Ran::from(command.write_stdin(image).output().unwrap())
}

fn push_of(image: &[u8], server: &Server, desk: &Desk, more: &[&str]) -> Ran {
    push_to("app:v1", image, server, desk, more)
}

fn push(server: &Server, desk: &Desk, more: &[&str]) -> Ran {
    push_of(&SMALL, server, desk, more)
}

/// The image that makes such requests.
fn image(method: &str, path: &str) -> &'static [u8] {
    if method == "PATCH" || (method == "GET" && path == "/blobs/uploads/") { &LARGE } else { &SMALL }
}

/// A registry with a token server, and other images in two repositories.
fn server(desk: &Desk) -> Server {
    let server = Server::new();
    server.state().login = Login::Token(Duration::from_mins(5));
    let other = saved(&[layer("old", 3000)], "zero");
    for path in ["app:v0", "other:v1"] {
        push_to(path, &other, &server, desk, &[]).ended(0);
    }
    server
}

/// Goes wrong like this. What is asked of a broken upload is asked only after it broke.
fn set(server: &Server, method: &'static str, path: &'static str, times: usize, kind: &Kind) {
    server.fails(method, path, times, kind.clone());
    if method == "GET" && path == "/blobs/uploads/" {
        server.fails("PATCH", path, 1, Kind::Break(1_500_000));
    }
}

#[test]
fn every_fault_at_every_request_is_survived_from_a_stream() {
    let desk = Desk::new();
    let faults = [
        (2, Kind::Status(503, "")),
        (1, Kind::Truncate),
        (1, Kind::WrongDigest),
        (2, Kind::Status(429, "Retry-After: 0")),
        (1, Kind::Status(502, "Content-Type: text/html")),
        (1, Kind::Break(0)),
        (1, Kind::Break(1_500_000)),
        (1, Kind::Lose),
        (1, Kind::Redirect),
    ];
    std::thread::scope(|scope| {
        for (method, path) in REQUESTS {
            let (desk, faults) = (&desk, &faults);
            scope.spawn(move || {
                let image = image(method, path);
                let right = push_of(image, &Server::new(), desk, &[]).ended(0).digest().to_owned();
                let redirects = |kind: &Kind| matches!(kind, Kind::Redirect);
                for (number, (times, kind)) in faults.iter().enumerate() {
                    if path == "/token" && redirects(kind) {
                        continue;
                    }
                    let server = server(desk);
                    set(&server, method, path, *times, kind);
                    let learn = format!("{}/other:v1", server.host);
                    let ran = push_of(image, &server, desk, &["-vv", "--learn-from", &learn]);
                    let place = format!("fault {number} at {method} {path}");
                    assert_eq!(ran.status, Some(0), "{place}: {}", ran.stderr);
                    assert_eq!(ran.digest(), right, "{place}");
                    assert!(server.state().faults[0].times < *times, "{place} was not met");
                }
            });
        }
    });
}

#[test]
fn answers_that_break_off_or_lie_are_asked_for_again() {
    let desk = Desk::new();
    for kind in [Kind::Truncate, Kind::WrongDigest] {
        let server = Server::new();
        let right = push(&server, &desk, &[]).ended(0);
        server.fails("GET", "/manifests/v1", 2, kind);
        assert_eq!(push(&server, &desk, &[]).ended(0).stdout, right.stdout);
    }
    // A registry that never tells the truth is not believed, and nothing is printed.
    let server = Server::new();
    server.fails("GET", "/manifests/v1", 0, Kind::WrongDigest);
    push(&server, &desk, &[]).ended(0);
    server.fails("GET", "/manifests/v1", 99, Kind::WrongDigest);
    assert_eq!(push(&server, &desk, &[]).ended(75).stdout, "");
}

#[test]
fn silence_is_waited_for_and_then_asked_again() {
    let desk = Desk::new();
    std::thread::scope(|scope| {
        for (method, path) in REQUESTS {
            let desk = &desk;
            scope.spawn(move || {
                let server = server(desk);
                set(&server, method, path, 1, &Kind::Stall);
                let learn = format!("{}/other:v1", server.host);
                push_of(image(method, path), &server, desk, &["--timeout", "2", "--learn-from", &learn])
                    .ended(0);
            });
        }
    });
}

#[test]
fn what_a_retry_cannot_mend_ends_at_once_and_what_it_may_mend_ends_in_75() {
    let desk = Desk::new();
    let cases = [
        ("PUT", "/manifests/", 400, 2, "refused app"),
        ("PUT", "/manifests/", 409, 2, "refused app"),
        ("POST", "/blobs/uploads/", 405, 2, "beginning an upload"),
        ("POST", "/blobs/uploads/", 507, 2, "507"),
        ("PATCH", "/blobs/uploads/", 413, 2, "--chunk-size"),
        ("POST", "/blobs/uploads/", 403, 77, "the user robot (from IMGPUSH_USERNAME)"),
        ("PATCH", "/blobs/uploads/", 507, 2, "507"),
        ("PATCH", "/blobs/uploads/", 416, 75, "416"),
        ("GET", "/manifests/v1", 401, 77, "IMGPUSH_USERNAME"),
        ("PUT", "/manifests/", 503, 75, "503"),
        ("POST", "/blobs/uploads/", 429, 75, "429"),
    ];
    std::thread::scope(|scope| {
        for (method, path, status, exit, words) in cases {
            let desk = &desk;
            scope.spawn(move || {
                let server = Server::new();
                server.fails(method, path, 99, Kind::Status(status, ""));
                let begun = Instant::now();
                let ran = push_of(image(method, path), &server, desk, &[]).ended(exit);
                assert!(ran.stderr.contains(words), "{}", ran.stderr);
                assert!(ran.stderr.contains("error: ") && ran.stdout.is_empty());
                assert!(begun.elapsed() < Duration::from_mins(1));
                assert!(server.requests(method).len() < 12);
            });
        }
    });
}

#[test]
fn signatures_and_control_characters_of_others_are_not_shown() {
    let desk = Desk::new();
    // A storage service that nobody can reach, and one that refuses.
    let refusing = listen(|_, _| Some(Answer::new(404).body("no \u{1b}[2Jsuch\u{7} thing")));
    for (host, status) in [("127.0.0.1:1", 75), (refusing.as_str(), 2)] {
        let server = Server::new();
        let location = format!("Location: http://u:pass@{host}/storage?X-Amz-Signature=abcdef&x=y");
        server.fails("PUT", "/manifests/", 99, Kind::Status(307, location.leak()));
        let ran = push(&server, &desk, &["-vv"]).ended(status);
        assert!(ran.stderr.contains(&format!("http://{host}/storage?…")), "{}", ran.stderr);
        for secret in ["Signature", "abcdef", "pass@", "\u{1b}", "\u{7}"] {
            assert!(!ran.stderr.contains(secret), "{secret}: {}", ran.stderr);
        }
    }
}

/// A line to a registry that takes 800 kB/s.
fn slow_line(to: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let mut piece = [0; 16 << 10];
                while let Ok(size @ 1..) = client.read(&mut piece) {
                    server.write_all(&piece[..size]).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    host
}

#[test]
fn a_slow_registry_is_not_a_silent_one() {
    let desk = Desk::new();
    // The one goes in one request, the other as it is made.
    for size in [5_000_000, 9_000_000] {
        let mut server = Server::new();
        server.host = slow_line(&server.host);
        let ran = push_of(&saved(&[layer("base", size)], "one"), &server, &desk, &["--timeout", "2", "-v"]);
        assert!(!ran.ended(0).stderr.contains("trying again"));
    }
}

#[test]
fn a_registry_is_left_alone_as_long_as_it_asks_for() {
    let (server, desk) = (Server::new(), Desk::new());
    server.fails("PUT", "/manifests/", 1, Kind::Status(429, "Retry-After: 2"));
    let begun = Instant::now();
    push(&server, &desk, &[]).ended(0);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn chunks_go_on_where_they_broke_off() {
    let (server, desk) = (Server::new(), Desk::new());
    server.fails("PATCH", "/blobs/uploads/", 1, Kind::Break(700_000));
    push_of(&LARGE, &server, &desk, &["--chunk-size", "1"]).ended(0);
    assert!(server.requests("PATCH").len() > 4);
}

#[test]
fn a_port_that_nobody_listens_at_is_transient() {
    let desk = Desk::new();
    let mut server = Server::new();
    server.host = "127.0.0.1:1".to_owned();
    // Whatever the image is called.
    for path in ["app:v1", "certificates/app:v1"] {
        let ran = push_to(path, &SMALL, &server, &desk, &[]).ended(75);
        assert!(ran.stderr.contains("127.0.0.1:1") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_at_once_and_leaves_no_tag() {
    use std::os::unix::process::ExitStatusExt as _;
    let (server, desk) = (Server::new(), Desk::new());
    let reference = format!("{}/app:v1", server.host);
    for signal in ["INT", "TERM"] {
        let mut command = desk.home.spawnable("imgpush");
        command.args(["--from", "docker-archive:-", &reference]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&LARGE[..7_900_000]).unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while server.requests("POST").is_empty() {
            assert!(Instant::now() < patience, "no upload begins");
            std::thread::sleep(Duration::from_millis(10));
        }
        let kill = format!("kill -{signal} {}", child.id());
        assert!(desk.home.program("sh").args(["-c", &kill]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(if signal == "INT" { 2 } else { 15 }));
        assert!(output.stdout.is_empty());
        server.state().requests.clear();
    }
    assert_eq!(server.manifest("app", "v1"), None);
}
