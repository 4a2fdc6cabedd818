//! Over HTTPS: authorities, tokens, credential helpers, client certificates, proxies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::project::{Project, discreetly, gitlab};

#[test]
fn https_with_a_private_authority_and_a_token() {
    let project = Project::on_gitlab();
    let url = format!("{}/{}.git", gitlab()["GIT_HTTPS_URL"], project.name);
    let token = &gitlab()["GITLAB_API_TOKEN"];
    let run = |token: &str, options: &[&str]| {
        discreetly(project.command(&url, "b", options).env("GITLAB_TOKEN", token))
    };
    let ca = &gitlab()["GIT_HTTPS_CA"];
    run(token, &["--forge", "gitlab"]).ended(77).says("certificate verify failed").says("--ca-file");
    let wrong = run("glpat-wrong", &["--forge", "gitlab", "--ca-file", ca, "-vv"])
        .ended(77)
        .says("the token is not accepted");
    assert!(!wrong.stderr.contains("glpat-wrong"));
    // Told from the API.
    let ran = run(token, &["--ca-file", ca, "-vv"]).ended(0);
    assert!(ran.stdout.contains("/-/merge_requests/"));
    assert!(!ran.stderr.contains(token.as_str()));
    // git's own settings for the same: for all servers, and for this one.
    let origin = &gitlab()["GIT_HTTPS_URL"];
    project.git("work", &["config", "--global", "http.sslCAInfo", ca]);
    run(token, &["--forge", "gitlab"]).ended(0);
    project.git("work", &["config", "--global", "http.sslCAInfo", "/dev/null"]);
    project.git("work", &["config", "--global", &format!("http.{origin}/team.sslCAInfo"), ca]);
    run(token, &["--forge", "gitlab"]).ended(0);
    project.git("work", &["config", "--global", "--unset", &format!("http.{origin}/team.sslCAInfo")]);
    project.git("work", &["config", "--global", "--unset", "http.sslCAInfo"]);
    // And GitLab's in a job on the same server.
    let mut job = project.command(&url, "b", &["--forge", "gitlab"]);
    job.env("CI_SERVER_HOST", "127.0.0.1").env("CI_SERVER_TLS_CA_FILE", ca).env("GITLAB_TOKEN", token);
    discreetly(&mut job).ended(0);
    let missing = url.replace(&project.name, "team/nothing");
    let mut command = project.command(&missing, "b", &["--forge", "gitlab", "--ca-file", ca]);
    discreetly(command.env("GITLAB_TOKEN", token)).ended(2).says("not found");
}

#[test]
fn a_credential_helper_knows_the_token() {
    let project = Project::on_gitlab();
    let helper =
        format!("!f() {{ echo username=oauth2; echo password={}; }}; f", gitlab()["GITLAB_API_TOKEN"]);
    project.git("work", &["config", "--global", "credential.helper", &helper]);
    let url = format!("{}/{}.git", gitlab()["GIT_HTTP_URL"], project.name);
    discreetly(&mut project.command(&url, "b", &["--forge", "gitlab"])).ended(0);
}

fn join(mut client: TcpStream, mut server: TcpStream) {
    let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
    std::thread::spawn(move || std::io::copy(&mut server, &mut client));
}

fn take(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A proxy that counts whom it joins with a server. `reach` hears from a client where it wants to, connects, and says so;
/// none where it is asked for something else.
fn proxy(reach: fn(&mut TcpStream) -> Option<TcpStream>) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let joined = Arc::<AtomicU32>::default();
    let count = Arc::clone(&joined);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if let Some(server) = reach(&mut client) {
                count.fetch_add(1, Ordering::Relaxed);
                join(client, server);
            }
        }
    });
    (port, joined)
}

/// By a tunnel (RFC 9110, section 9.3.6).
fn by_tunnel(client: &mut TcpStream) -> Option<TcpStream> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next())?;
    let server = TcpStream::connect(to).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    Some(server)
}

/// By SOCKS 5 without authentication (RFC 1928); the proxy resolves names.
#[expect(clippy::unnecessary_wraps, reason = "another way may be asked for something else")]
fn by_socks(client: &mut TcpStream) -> Option<TcpStream> {
    let methods = take(client, 2)[1];
    take(client, methods.into());
    client.write_all(&[5, 0]).unwrap();
    let host = if take(client, 4)[3] == 1 {
        take(client, 4).iter().map(u8::to_string).collect::<Vec<_>>().join(".")
    } else {
        let length = take(client, 1)[0];
        String::from_utf8(take(client, length.into())).unwrap()
    };
    let port = u16::from_be_bytes(take(client, 2).try_into().unwrap());
    let server = TcpStream::connect((host.as_str(), port)).unwrap();
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    Some(server)
}

#[test]
fn a_proxy_is_used_where_it_is_to_be() {
    let project = Project::on_gitlab();
    let (port, tunnels) = proxy(by_tunnel);
    let url = format!("{}/{}.git", gitlab()["GIT_HTTPS_URL"], project.name);
    let run = |no_proxy: &str| {
        let mut command =
            project.command(&url, "b", &["--label", "bump", "--ca-file", &gitlab()["GIT_HTTPS_CA"]]);
        command.env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]).env("NO_PROXY", no_proxy);
        discreetly(command.env("https_proxy", format!("http://127.0.0.1:{port}"))).ended(0);
        tunnels.load(Ordering::Relaxed)
    };
    assert_eq!(run("localhost,127.0.0.1"), 0);
    // Which forge it is, the push, and what has come of the label: all of it on one kept-alive connection.
    assert_eq!(run("elsewhere.example"), 1);
    // git's own setting for this server, which is none.
    let none = format!("http.{}.proxy", gitlab()["GIT_HTTPS_URL"]);
    project.git("work", &["config", "--global", &none, ""]);
    assert_eq!(run("elsewhere.example"), 1);
    let (port, tunnels) = proxy(by_socks);
    project.git("work", &["config", "--global", &none, &format!("socks5h://127.0.0.1:{port}")]);
    run("elsewhere.example");
    assert_eq!(tunnels.load(Ordering::Relaxed), 1);
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let project = Project::on_gitlab();
    let state = Path::new(&gitlab()["GIT_SSH_ROOT"]).parent().unwrap();
    let at = |name: &str| project.home.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &str| {
        let words: Vec<String> =
            arguments.split(' ').map(|word| word.strip_prefix('@').map_or(word.to_owned(), at)).collect();
        assert!(
            project.home.program("openssl").args(&words).output().unwrap().status.success(),
            "{arguments}"
        );
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=clients -keyout @ca.key -out @ca.crt",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=robot -keyout @client.key -out @client.csr",
    );
    openssl("x509 -req -in @client.csr -CA @ca.crt -CAkey @ca.key -CAcreateserial -out @client.crt");
    let mut server = project.home.program("python3");
    server.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gitlab/server.py"));
    server.arg("--root").arg(&gitlab()["GIT_SSH_ROOT"]).arg("--token-file").arg(state.join("token"));
    server.args(["--tls-port", "0", "--client-ca", &at("ca.crt")]);
    server.arg("--certificate").arg(state.join("server.crt")).arg("--key").arg(state.join("server.key"));
    let mut running = server.stdout(Stdio::piped()).spawn().unwrap();
    let mut ports = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut ports).unwrap();
    let port = serde_json::from_str::<serde_json::Value>(&ports).unwrap()["https"].clone();
    let url = format!("https://127.0.0.1:{port}/{}.git", project.name);
    let run = |options: &[&str]| {
        let mut all = vec!["--forge", "gitlab", "--ca-file", &gitlab()["GIT_HTTPS_CA"], "--attempts", "1"];
        all.extend(options);
        discreetly(project.command(&url, "b", &all).env("GITLAB_TOKEN", &gitlab()["GITLAB_API_TOKEN"]))
    };
    let without = run(&[]);
    let with = run(&["--client-cert", &at("client.crt"), "--client-key", &at("client.key")]);
    running.kill().unwrap();
    running.wait().unwrap();
    with.ended(0);
    assert_ne!(without.status, Some(0));
}
