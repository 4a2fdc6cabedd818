//! An engine, as far as its API decides what imgpush does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hermetic::Ran;
use imgpush::digest;
use serde_json::json;

use crate::images::{layer, saved};
use crate::server::{Answer, Login, Request, Server, USER, listen};
use crate::{Desk, Printed as _};

/// An engine with one image, which answers a push with these lines.
fn engine(push: &'static str, pushes: &Arc<Mutex<Vec<String>>>) -> String {
    let layers = [layer("base", 3000)];
    let diff_id = digest::of(&layers[0]);
    let (export, pushes) = (saved(&layers, "one"), Arc::clone(pushes));
    listen(move |request: &Request, _| {
        let path = request.path.split_once("/images/").map_or("", |(_, path)| path);
        Some(match (request.method.as_str(), path) {
            ("GET", "") => {
                Answer::new(200).body(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10"}"#)
            }
            ("GET", path) if path.contains("gone") => Answer::new(404).body(r#"{"message":"No such image"}"#),
            ("GET", path) if path.contains("odd") => Answer::new(400).body(r#"{"message":"an odd name"}"#),
            ("GET", path) if path.ends_with("/json") => Answer::new(200)
                .header("Content-Type", "application/json")
                .body(json!({"Id": "sha256:00", "Size": 3000, "RootFS": {"Type": "layers", "Layers": [diff_id]}}).to_string()),
            ("GET", _) => Answer::new(200).body(export.clone()),
            (_, path) => {
                let auth = request.headers.get("x-registry-auth").cloned().unwrap_or_default();
                let tag = request.query.get("tag").cloned().unwrap_or_default();
                pushes.lock().unwrap().push(format!("{path} {tag} {auth}"));
                Answer::new(200).header("Content-Type", "application/json").body(push)
            }
        })
    })
}

/// What an engine answers to a request without a body.
fn through(host: &str, request: &Request) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{} {} HTTP/1.1\r\nHost: engine\r\n\r\n", request.method, request.path).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

fn run(desk: &Desk, host: &str, arguments: &[&str]) -> Ran {
    let mut command = desk.command(arguments);
    command.env("DOCKER_HOST", format!("tcp://{host}"));
    command.env("IMGPUSH_USERNAME", USER.0).env("IMGPUSH_PASSWORD", USER.1);
    Ran::from(command.output().unwrap())
}

#[test]
fn the_engine_gets_one_tag_and_a_password_that_it_can_read() {
    use base64::Engine as _;
    let (server, desk, pushes) = (Server::new(), Desk::new(), Arc::default());
    server.state().login = Login::Basic;
    let host = engine("{\"status\":\"latest: digest: sha256:00 size: 1\"}\r\n", &pushes);
    // The engine says that it pushed, and the registry has nothing: that is no success.
    let ran = run(&desk, &host, &["--engine", "daemon", &format!("{}/app", server.host)]).ended(75);
    assert!(ran.stderr.contains("was pushed as sha256:00, but the registry has nothing"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let push = pushes.lock().unwrap()[0].clone();
    let [path, tag, auth] = push.split(' ').collect::<Vec<_>>()[..] else { panic!("{push}") };
    assert!(path.ends_with("/app/push") && tag == "latest");
    let decoded = base64::engine::general_purpose::URL_SAFE.decode(auth).unwrap();
    let login: serde_json::Value = serde_json::from_slice(&decoded).unwrap();
    assert_eq!((login["username"].as_str(), login["password"].as_str()), (Some(USER.0), Some(USER.1)));
    assert!(auth.contains(['-', '_']), "the password must tell the alphabets apart");
}

#[test]
fn an_error_in_the_engines_stream_is_an_error() {
    let (server, desk, pushes) = (Server::new(), Desk::new(), Arc::default());
    let line = "{\"status\":\"Preparing\"}\r\n{\"errorDetail\":{\"message\":\"no space left\"},\"error\":\"no space left\"}\r\n";
    let host = engine(line, &pushes);
    let reference = format!("{}/app:v1", server.host);
    let ran = run(&desk, &host, &["--engine", "daemon", &reference]).ended(2);
    assert!(ran.stderr.contains("no space left"), "{}", ran.stderr);
    // Nobody insisted on the engine: its image goes directly.
    let ran = run(&desk, &host, &["-o", "json", &reference]).ended(0);
    assert_eq!(ran.document()["images"][0]["engine"], "direct");
    let direct = run(&desk, &host, &["--engine", "direct", &reference]).ended(0);
    assert_eq!(direct.digest(), ran.document()["images"][0]["digest"]);
}

#[test]
fn an_engine_that_tells_no_digest_is_not_taken_at_its_word() {
    let (server, desk, pushes) = (Server::new(), Desk::new(), Arc::default());
    let host = engine("{\"status\":\"Pushed\"}\r\n", &pushes);
    let reference = format!("{}/app:v1", server.host);
    // An older image stands under the tag, which is not what was pushed.
    server.put(
        "app",
        "v1",
        json!({"config": {"mediaType": "x", "size": 1, "digest": digest::of(b"old")}}).to_string(),
    );
    let ran = run(&desk, &host, &["--engine", "daemon", &reference]).ended(75);
    assert!(ran.stderr.contains("whose digest the engine did not tell"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn an_export_that_breaks_off_is_read_again() {
    let (server, desk) = (Server::new(), Desk::new());
    let host = engine("", &Arc::default());
    let right = run(&desk, &host, &["--engine", "direct", &format!("{}/app:v1", server.host)]).ended(0);
    // A front that cuts the first exports short.
    let cuts = Arc::new(AtomicUsize::new(0));
    let (left, upstream) = (Arc::clone(&cuts), host);
    let front = listen(move |request: &Request, _| {
        let mut answer = through(&upstream, request);
        if request.path.ends_with("/get") && left.load(Ordering::SeqCst) > 0 {
            left.fetch_sub(1, Ordering::SeqCst);
            let length = answer.body.len().to_string();
            answer = answer.header("Content-Length", length);
            answer.body.truncate(2000);
        }
        Some(answer)
    });
    for (number, cut) in [(2, 2), (3, 99)] {
        cuts.store(cut, Ordering::SeqCst);
        let reference = format!("{}/app{number}:v1", server.host);
        let ran = run(&desk, &front, &["--engine", "direct", &reference]);
        if cut == 2 {
            assert_eq!(ran.ended(0).digest(), right.digest());
        } else {
            let ran = ran.ended(75);
            assert!(ran.stdout.is_empty() && ran.stderr.contains("hint: "), "{}", ran.stderr);
        }
    }
}

#[test]
fn the_engine_is_where_dockers_context_says() {
    let (server, desk) = (Server::new(), Desk::new());
    let host = engine("", &Arc::default());
    let folder = desk.path(".docker/contexts/meta").join(&digest::of(b"far")[7..]);
    let file = folder.strip_prefix(desk.home.path()).unwrap().join("meta.json");
    let context = json!({"Name": "far", "Endpoints": {"docker": {"Host": format!("tcp://{host}")}}});
    desk.write(file.to_str().unwrap(), context.to_string());
    let push = |variables: &[(&str, &str)]| {
        let reference = format!("{}/app:v1", server.host);
        let mut command = desk.command(&["--engine", "direct", &reference]);
        Ran::from(command.envs(variables.iter().copied()).output().unwrap())
    };
    push(&[("DOCKER_CONTEXT", "far")]).ended(0);
    push(&[("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "tcp://127.0.0.1:1")]).ended(75);
    desk.write(".docker/config.json", r#"{"currentContext": "far"}"#);
    push(&[]).ended(0);
    push(&[("DOCKER_CONTEXT", "default"), ("DOCKER_HOST", &format!("tcp://{host}"))]).ended(0);
}

#[test]
fn an_engine_behind_ssh_is_reached_as_docker_reaches_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, desk) = (Server::new(), Desk::new());
    let host = engine("", &Arc::default());
    let (address, port) = host.split_once(':').unwrap();
    let path = format!("{}:/usr/bin:/bin", desk.path("bin").display());
    let push = |script: &str| {
        desk.write("bin/ssh", format!("#!/bin/bash\necho \"$@\" >>\"$HOME/asked\"\n{script}\n"));
        let file = desk.path("bin/ssh");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let reference = format!("{}/app:v1", server.host);
        let mut command = desk.command(&["--engine", "direct", &reference]);
        command.env("PATH", &path).env("DOCKER_HOST", "ssh://ci@far.test:2222");
        Ran::from(command.output().unwrap())
    };
    // In the place of ssh, and of docker on the other machine.
    push(&format!("exec 3<>/dev/tcp/{address}/{port} 4<&0; cat <&4 >&3 & cat <&3")).ended(0);
    let asked = std::fs::read_to_string(desk.path("asked")).unwrap();
    let call = "-T -o ConnectTimeout=30 -l ci -p 2222 -- far.test docker system dial-stdio";
    assert!(asked.lines().count() > 2 && asked.lines().all(|line| line == call), "{asked}");
    let ran = push("echo 'Host key verification failed.' >&2; exit 255").ended(77);
    assert!(ran.stderr.contains("Host key verification failed.") && ran.stderr.contains("hint: "));
    let ran =
        push("echo 'ssh: connect to host far.test port 22: Connection timed out' >&2; exit 255").ended(75);
    assert!(ran.stderr.contains("Connection timed out"), "{}", ran.stderr);
}

#[test]
fn an_engine_that_says_nothing_is_not_waited_for_forever() {
    let (server, desk) = (Server::new(), Desk::new());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let ran = run(&desk, &host, &["--timeout", "2", &format!("{}/app:v1", server.host)]).ended(75);
    assert!(ran.stderr.contains("says nothing for 2 s"), "{}", ran.stderr);
}

#[test]
fn what_was_pushed_before_a_failure_is_told() {
    let (server, desk, pushes) = (Server::new(), Desk::new(), Arc::default());
    let host = engine("{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n", &pushes);
    let (good, gone) = (format!("{}/app:v1", server.host), format!("{}/gone:v1", server.host));
    let ran = run(&desk, &host, &[&good, &gone]).ended(2);
    assert!(ran.stdout.starts_with(&good) && ran.stderr.contains("the engine has no image"));
    let odd = run(&desk, &host, &[&format!("{}/odd:v1", server.host)]).ended(2);
    assert!(odd.stderr.contains("an odd name"), "{}", odd.stderr);
    let ran = run(&desk, &host, &["-o", "json", &good, &gone]).ended(2);
    assert_eq!(ran.document()["images"][0]["reference"], good);
    assert_eq!(ran.document()["error"]["kind"], "input");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let desk = Desk::new();
    for (variable, value, words, status) in [
        ("DOCKER_HOST", "tcp://127.0.0.1:1", "127.0.0.1:1", 75),
        ("DOCKER_HOST", "tcp://engine.test:2376", "DOCKER_TLS_VERIFY is not set", 2),
        ("DOCKER_HOST", "npipe://engine", "only unix://, tcp:// and ssh://", 2),
        ("DOCKER_CONTEXT", "far", "no docker context `far`", 2),
    ] {
        let ran = Ran::from(desk.command(&["a.test/b:1"]).env(variable, value).output().unwrap());
        assert_eq!(ran.status, Some(status), "{}", ran.stderr);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}
