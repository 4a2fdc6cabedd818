//! Logging in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermetic::Ran;

use crate::Desk;
use crate::images::{layer, saved};
use crate::server::{Answer, Kind, Login, Server, USER, listen};

fn image(desk: &Desk, size: usize) {
    desk.write("a.tar", saved(&[layer("base", size), layer("app", 3000)], "one"));
}

/// So large that it is sent while it is made.
const LARGE: usize = 8_000_000;

fn push(desk: &Desk, reference: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = desk.command(&["--from", "docker-archive:a.tar", reference]);
    Ran::from(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn users_are_found_where_docker_and_gitlab_keep_them() {
    use base64::Engine as _;
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    let config = format!(r#"{{"auths": {{"http://{}/v2/": {{"auth": "{auth}"}}}}}}"#, server.host);
    desk.write("config/config.json", &config);
    desk.write("password", format!("{}\n", USER.1));
    let folder = desk.path("config").display().to_string();
    let file = desk.path("password").display().to_string();
    for (number, login) in [Login::Basic, Login::Token(Duration::from_mins(5))].into_iter().enumerate() {
        server.state().login = login;
        for (place, variables) in [
            [("IMGPUSH_USERNAME", USER.0), ("IMGPUSH_PASSWORD", USER.1)].to_vec(),
            vec![("IMGPUSH_USERNAME", USER.0), ("IMGPUSH_PASSWORD", &file)],
            vec![
                ("CI_REGISTRY", &server.host),
                ("CI_REGISTRY_USER", USER.0),
                ("CI_REGISTRY_PASSWORD", USER.1),
            ],
            vec![("DOCKER_AUTH_CONFIG", &config)],
            vec![("DOCKER_CONFIG", &folder)],
        ]
        .iter()
        .enumerate()
        {
            push(&desk, &format!("{}/app{number}:v{place}", server.host), variables).ended(0);
        }
        let reference = format!("{}/app{number}:v9", server.host);
        let ran = push(&desk, &reference, &[]).ended(77);
        assert!(ran.stderr.contains("a request without credentials"), "{}", ran.stderr);
        let wrong = [("IMGPUSH_USERNAME", "robot"), ("IMGPUSH_PASSWORD", "hunter2")];
        let ran = push(&desk, &reference, &wrong).ended(77);
        assert!(ran.stderr.contains("the user robot (from IMGPUSH_USERNAME)"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"));
    }
}

#[test]
fn what_docker_takes_for_nothing_is_nothing() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    let reference = format!("{}/app:v1", server.host);
    let host = &server.host;
    for config in [
        r#"{"auths": null, "credHelpers": null, "credsStore": null}"#.to_owned(),
        format!(r#"{{"auths": {{"{host}": null, "other.test": {{"auth": null}}}}, "credsStore": ""}}"#),
        format!(r#"{{"credHelpers": {{"{host}": ""}}, "credsStore": "absent"}}"#),
    ] {
        push(&desk, &reference, &[("DOCKER_AUTH_CONFIG", &config)]).ended(0);
    }
    server.state().login = Login::Basic;
    let entry = serde_json::json!({
        "identitytoken": null, "auth": null, "username": USER.0, "password": USER.1, "email": null,
    });
    let config =
        serde_json::json!({"auths": {host: entry}, "credsStore": "", "credHelpers": null}).to_string();
    push(&desk, &reference, &[("DOCKER_AUTH_CONFIG", &config)]).ended(0);
}

#[test]
fn a_service_accounts_key_is_googles_password_whether_it_is_a_text_or_a_file() {
    const KEY: &str = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN\\n~?>\\n\"\n}";
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    desk.write("key.json", format!("{KEY}\n"));
    let (proxy, file) = (format!("http://{}", server.host), desk.path("key.json").display().to_string());
    server.state().user = Some(("_json_key", KEY));
    for (number, login) in [Login::Basic, Login::Token(Duration::from_mins(5))].into_iter().enumerate() {
        server.state().login = login;
        for (place, key) in [KEY, &file].iter().enumerate() {
            let variables =
                [("HTTP_PROXY", proxy.as_str()), ("IMGPUSH_PLAIN_HTTP", "1"), ("SERVICE_ACCOUNT_KEY", key)];
            // The server stands in for a proxy, and so for Google.
            push(&desk, &format!("europe-docker.pkg.dev/project/app{number}:v{place}"), &variables).ended(0);
        }
    }
    let variables =
        [("HTTP_PROXY", proxy.as_str()), ("IMGPUSH_PLAIN_HTTP", "1"), ("SERVICE_ACCOUNT_KEY", "{}")];
    let ran = push(&desk, "europe-docker.pkg.dev/project/app:v9", &variables).ended(77);
    assert!(ran.stderr.contains("the user _json_key (from SERVICE_ACCOUNT_KEY)"), "{}", ran.stderr);
}

#[test]
fn a_token_that_ends_under_way_is_replaced() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, LARGE);
    server.state().login = Login::Token(Duration::from_secs(1));
    // Each pause is longer than a token lives.
    server.fails("PATCH", "/blobs/uploads/", 1, Kind::Status(503, "Retry-After: 2"));
    server.fails("PUT", "/manifests/", 1, Kind::Status(429, "Retry-After: 2"));
    let user = [("IMGPUSH_USERNAME", USER.0), ("IMGPUSH_PASSWORD", USER.1)];
    push(&desk, &format!("{}/app:v1", server.host), &user).ended(0);
    assert!(server.state().tokens.len() > 2);
}

#[test]
fn identity_tokens_and_mounts_ask_for_what_they_need() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, LARGE);
    server.state().login = Login::Token(Duration::from_mins(5));
    let config = format!(r#"{{"auths": {{"{}": {{"identitytoken": "an identity token"}}}}}}"#, server.host);
    let variables = [("DOCKER_AUTH_CONFIG", config.as_str())];
    let first = format!("{}/app:v1", server.host);
    push(&desk, &first, &variables).ended(0);
    let learnt = [variables[0], ("IMGPUSH_LEARN_FROM", &first)];
    push(&desk, &format!("{}/other:v1", server.host), &learnt).ended(0);
    assert_eq!(server.requests("PATCH").len(), 1);
}

#[test]
fn a_machine_without_cas_speaks_http() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    let none = desk.path("none").display().to_string();
    let variables = [("SSL_CERT_FILE", none.as_str()), ("SSL_CERT_DIR", &none), ("IMGPUSH_PLAIN_HTTP", "1")];
    for variables in [&variables[..], &variables[..2]] {
        push(&desk, &format!("{}/app:v1", server.host), variables).ended(0);
    }
}

#[test]
fn a_file_without_a_ca_is_told_of() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    desk.write("ca.crt", [0x30, 0x82, 1, 2]);
    desk.write("empty.pem", "");
    for file in ["ca.crt", "empty.pem", "absent.pem"] {
        let ran = push(&desk, &format!("{}/app:v1", server.host), &[("IMGPUSH_CA_FILE", file)]).ended(2);
        assert!(ran.stderr.contains(file) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}

#[test]
fn helpers_are_asked_and_named_where_they_fail() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    server.state().login = Login::Basic;
    let reference = format!("{}/app:v1", server.host);
    let config = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, server.host);
    let path = format!("{}:/usr/bin:/bin", desk.path("bin").display());
    let variables = [("DOCKER_AUTH_CONFIG", config.as_str()), ("PATH", &path)];
    let ran = push(&desk, &reference, &variables).ended(77);
    assert!(ran.stderr.contains("docker-credential-test can't be started"), "{}", ran.stderr);
    for (script, exit, words) in [
        ("echo 'no such vault' && exit 1".to_owned(), 77, "docker-credential-test failed: no such vault"),
        ("echo 'log in again' >&2 && exit 1".to_owned(), 77, "docker-credential-test failed: log in again"),
        (
            "echo '{\"Username\": \"u\", \"Secret\": \"hunter2\"}'; echo 'no lock' >&2; exit 1".to_owned(),
            77,
            "docker-credential-test failed: no lock",
        ),
        (
            "printf 'Secret:\\nhunter2\\n'; exit 3".to_owned(),
            77,
            "docker-credential-test failed without a word (exit status: 3)",
        ),
        (
            "printf '{\"Username\": \"u\",\\n \"Sec\"\\n\"hunter2\"'; exit 1".to_owned(),
            77,
            "failed without a word",
        ),
        ("echo 'not JSON'".to_owned(), 77, "docker-credential-test did not answer with JSON"),
        ("exec sleep 60".to_owned(), 75, "docker-credential-test did not answer within 2 s"),
        (format!("echo '{{\"Username\": \"{}\", \"Secret\": \"{}\"}}'", USER.0, USER.1), 0, "pushed"),
    ] {
        desk.write("bin/docker-credential-test", format!("#!/bin/sh\n{script}\n"));
        let file = desk.path("bin/docker-credential-test");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let variables = [&variables[..], &[("IMGPUSH_TIMEOUT", "2")]].concat();
        let ran = push(&desk, &reference, &variables).ended(exit);
        assert!(ran.stderr.contains(words) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
        assert!(exit == 0 || ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    // A helper that knows nobody leaves it to the registry.
    desk.write(
        "bin/docker-credential-test",
        "#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n",
    );
    server.state().login = Login::Nobody;
    push(&desk, &reference, &variables).ended(0);
}

#[test]
fn token_servers_answer_in_their_own_ways() {
    let desk = Desk::new();
    image(&desk, 3000);
    for answer in [
        r#"{"token": "", "access_token": "T0K"}"#,
        r#"{"token": null, "access_token": "T0K", "expires_in": null}"#,
        r#"{"token": "T0K", "expires_in": -1}"#,
        r#"{"token": "T0K", "expires_in": 299.5}"#,
        r#"{"token": "T0K", "expires_in": "300"}"#,
        r#"{"token": "T0K", "expires_in": 1e300}"#,
    ] {
        let server = Server::new();
        let behind = server.host.clone();
        // In front of a registry that asks nobody.
        let host = listen(move |request, _| {
            if request.path == "/token" {
                assert_eq!(request.query["service"], "a\"b");
                return Some(Answer::new(200).body(answer));
            }
            if request.headers.get("authorization").is_none_or(|given| given != "Bearer T0K") {
                let realm = format!("http://{}/token", request.headers["host"]);
                let challenge = format!(r#"Bearer realm = "{realm}", service="a\"b""#);
                return Some(Answer::new(401).header("WWW-Authenticate", challenge));
            }
            let query = request.query.get("digest").map(|digest| format!("?digest={digest}"));
            let target = format!("http://{behind}{}{}", request.path, query.unwrap_or_default());
            Some(Answer::new(307).header("Location", target))
        });
        push(&desk, &format!("{host}/app:v1"), &[]).ended(0);
        assert!(server.manifest("app", "v1").is_some());
    }
}

#[test]
fn another_host_may_not_ask_for_the_registrys_credentials() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let elsewhere = listen(move |request, _| {
        heard.lock().unwrap().push((request.path.clone(), request.headers.get("authorization").cloned()));
        if request.path == "/token" {
            return Some(Answer::new(200).body(r#"{"token": "t"}"#));
        }
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"x\"", request.headers["host"]);
        Some(Answer::new(401).header("WWW-Authenticate", challenge))
    });
    let location: &str = format!("Location: http://{elsewhere}/storage").leak();
    for (method, path, status, size) in [
        ("HEAD", "/blobs/", 307, 3000),
        ("POST", "/blobs/uploads/", 202, 3000),
        ("POST", "/blobs/uploads/", 202, LARGE),
        ("PUT", "/manifests/", 307, 3000),
    ] {
        let (server, desk) = (Server::new(), Desk::new());
        image(&desk, size);
        server.state().login = Login::Token(Duration::from_mins(5));
        server.fails(method, path, 99, Kind::Status(status, location));
        let user = [("IMGPUSH_USERNAME", USER.0), ("IMGPUSH_PASSWORD", USER.1)];
        let ran = push(&desk, &format!("{}/app:v1", server.host), &user).ended(2);
        assert!(ran.stderr.contains(&elsewhere) && ran.stderr.contains("401"), "{}", ran.stderr);
    }
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|(path, header)| path == "/storage" && header.is_none()));
}

#[test]
fn a_repository_that_may_not_be_read_teaches_nothing_and_harms_nothing() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, LARGE);
    let user = [("IMGPUSH_USERNAME", USER.0), ("IMGPUSH_PASSWORD", USER.1)];
    let hidden = format!("{}/hidden:v1", server.host);
    push(&desk, &hidden, &user).ended(0);
    server.state().login = Login::Token(Duration::from_mins(5));
    // Some token servers refuse all for a part of it, some leave that part out, and then the registry refuses the mount.
    for (number, refuses_all) in [(1, true), (2, false)] {
        server.state().hidden = Some(("hidden".to_owned(), refuses_all));
        let learnt = [user[0], user[1], ("IMGPUSH_LEARN_FROM", &hidden)];
        push(&desk, &format!("{}/app{number}:v1", server.host), &learnt).ended(0);
    }
}

#[test]
fn a_mount_that_the_registry_does_not_make_is_an_upload() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, LARGE);
    let first = format!("{}/app:v1", server.host);
    push(&desk, &first, &[]).ended(0);
    for status in [202, 403, 404] {
        server.state().mounts = Some(status);
        server.state().requests.clear();
        push(&desk, &format!("{}/app{status}:v1", server.host), &[("IMGPUSH_LEARN_FROM", &first)]).ended(0);
        assert_eq!(server.requests("PATCH").len(), 1, "{status}");
        // The uploads that were begun instead are ended, where some were.
        assert_eq!(server.requests("DELETE").is_empty(), status != 202, "{status}");
        assert!(server.state().uploads.is_empty());
    }
}

#[test]
fn http_is_for_this_machine_unless_it_is_asked_for_and_proxies_are_for_others() {
    let (server, desk) = (Server::new(), Desk::new());
    image(&desk, 3000);
    let proxy = format!("http://{}", server.host);
    let proxies = [("HTTP_PROXY", proxy.as_str()), ("HTTPS_PROXY", &proxy), ("IMGPUSH_TIMEOUT", "5")];
    let plain = [&proxies[..], &[("IMGPUSH_PLAIN_HTTP", "1")]].concat();
    // The server stands in for a proxy, and so for every registry that is reached through it.
    push(&desk, "registry.test/app:v1", &plain).ended(0);
    assert!(server.manifest("app", "v1").is_some());
    server.state().requests.clear();
    push(&desk, "registry.test/other:v1", &proxies).ended(75);
    assert!(server.state().requests.iter().all(|line| line == "CONNECT registry.test:443"));
    let nowhere = [("HTTP_PROXY", "http://127.0.0.1:1"), ("HTTPS_PROXY", "http://127.0.0.1:1")];
    push(&desk, &format!("{}/app:v2", server.host), &nowhere).ended(0);
}
