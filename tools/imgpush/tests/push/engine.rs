//! An engine, as far as its API decides what imgpush does.

use std::sync::{Arc, Mutex};

use imgpush::digest;
use serde_json::json;

use crate::images::{layer, saved};
use crate::server::{Answer, Login, Request, Server, USER, listen};
use crate::{Desk, Ran};

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
    assert_eq!(ran.json()["images"][0]["engine"], "direct");
    let direct = run(&desk, &host, &["--engine", "direct", &reference]).ended(0);
    assert_eq!(direct.digest(), ran.json()["images"][0]["digest"]);
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
    assert_eq!(ran.json()["images"][0]["reference"], good);
    assert_eq!(ran.json()["error"]["kind"], "input");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let desk = Desk::new();
    for (variable, value, words, status) in [
        ("DOCKER_HOST", "tcp://127.0.0.1:1", "127.0.0.1:1", 75),
        ("DOCKER_HOST", "tcp://engine.test:2376", "DOCKER_TLS_VERIFY is not set", 2),
        ("DOCKER_HOST", "ssh://engine.test", "only unix:// and tcp://", 2),
        ("DOCKER_CONTEXT", "far", "no docker context `far`", 2),
    ] {
        let ran = Ran::from(desk.command(&["a.test/b:1"]).env(variable, value).output().unwrap());
        assert_eq!(ran.status, Some(status), "{}", ran.stderr);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}
