//! Who is who: tokens and certificates.

use hermetic::Variables;

use crate::desk::Desk;
use crate::services::{current_token_registry, host, plain_registry, token_registry};

#[test]
fn tokens_of_two_seconds_last_for_a_push() {
    for registry in [token_registry(), current_token_registry()] {
        tokens_are_renewed(registry);
    }
}

fn tokens_are_renewed(registry: &Variables) {
    let desk = Desk::new();
    let reference = |path: &str| format!("{}/{}/{path}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference("a"));
    let first = desk.pushed(registry, &["--engine", "direct", &reference("a")]);
    assert_eq!(desk.digest(registry, &reference("a")), first);
    desk.docker(&["tag", &reference("a"), &reference("b")]);
    // Mounted from the first repository, with an identity token.
    let config = format!(
        r#"{{"auths": {{"{}": {{"identitytoken": "{}"}}}}}}"#,
        registry["REGISTRY"], registry["REGISTRY_PASSWORD"]
    );
    let words = ["--engine", "direct", "--learn-from", &reference("a"), &reference("b"), "-o", "json"];
    let mut command = desk.imgpush(&Variables::new(), &words);
    let output = command.env("DOCKER_AUTH_CONFIG", config).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains(&first) && out.contains(r#""bytesSent":0"#),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // An archive that takes longer than a token lives.
    desk.docker(&["save", "-o", desk.path("a.tar").to_str().unwrap(), &reference("a")]);
    let from =
        "(head -c 4000000; sleep 3; cat) <a.tar | \"$IMGPUSH\" -vv --from docker-archive:- \"$IMAGE\" 2>said";
    let tool = assert_cmd::cargo::cargo_bin("imgpush");
    let variables = [
        ("IMGPUSH", tool.to_str().unwrap()),
        ("IMAGE", &reference("c")),
        ("IMGPUSH_USERNAME", &registry["REGISTRY_USER"]),
        ("IMGPUSH_PASSWORD", &registry["REGISTRY_PASSWORD"]),
    ];
    let pushed = desk.shell(from, &variables);
    assert!(pushed.ends_with(&first), "{pushed}");
    let tokens = std::fs::read_to_string(desk.path("said")).unwrap().matches("a token for").count();
    assert!(tokens > 1, "{tokens}");
    desk.docker(&["image", "rm", "-f", &reference("a"), &reference("b")]);
}

#[test]
fn an_engine_behind_tls_must_be_the_one_that_its_ca_vouches_for() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let reference = format!("{}/{}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference);
    let (address, _front) = desk.behind_tls(&host(desk.engine).replace("unix://", "UNIX-CONNECT:"));
    let certs = desk.path("certs");
    // imgpush itself waits for an engine that is still starting.
    let push = |folder: &str| {
        let mut command = desk.imgpush(registry, &["--engine", "direct", &reference]);
        command.env("DOCKER_HOST", format!("tcp://{address}")).env("DOCKER_TLS_VERIFY", "1");
        // The system's CAs may vouch for registries, not for the engine.
        command.env("SSL_CERT_FILE", certs.join("ca.pem")).env("DOCKER_CERT_PATH", desk.path(folder));
        command.output().unwrap()
    };
    let output = push("certs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output = push("other");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("certificate"), "{said}");
    // The same as a context of docker's, and a plain one that is the current one.
    let create = format!(
        "\"$DOCKER\" context create far --docker \"host=tcp://{address},ca=certs/ca.pem,cert=certs/cert.pem,key=certs/key.pem\"; \
         \"$DOCKER\" context create near --docker \"host=$HOST\"; \"$DOCKER\" context use near"
    );
    desk.shell(&create, &[("DOCKER", &desk.engine["DOCKER"]), ("HOST", host(desk.engine))]);
    for context in ["far", ""] {
        let mut command = desk.imgpush(registry, &["--engine", "direct", &reference]);
        command.env_remove("DOCKER_HOST").env("DOCKER_CONTEXT", context).assert().success();
    }
    desk.docker(&["image", "rm", "-f", &reference]);
}

#[test]
fn a_registry_that_asks_for_certificates_gets_the_right_one() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let (address, _front) = desk.behind_tls(&format!("TCP:{}", registry["REGISTRY"]));
    let reference = format!("{address}/{}:v1", desk.name);
    desk.build(&reference);
    let push = |words: &[&str]| {
        let output = desk
            .imgpush(&Variables::new(), &[&["--engine", "direct", &reference], words].concat())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let identity = ["--client-cert", "certs/cert.pem", "--client-key", "certs/key.pem"];
    // imgpush itself waits for a registry that is still starting.
    let (status, said) = push(&[&["--ca-file", "certs/ca.pem"], &identity[..]].concat());
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = push(&identity);
    assert!(status == Some(2) && said.contains("--ca-file"), "{said}");
    for words in [
        &["--ca-file", "certs/ca.pem"][..],
        &["--ca-file", "certs/ca.pem", "--client-cert", "other/cert.pem", "--client-key", "other/key.pem"],
    ] {
        let (status, said) = push(words);
        assert!(status == Some(77) && said.contains("--client-cert"), "{said}");
    }
    // docker's own folder says the same.
    let copy = format!(
        "mkdir -p \"$HOME/.docker/certs.d/{address}\"; cd \"$HOME/.docker/certs.d/{address}\"; \
         cp ~/certs/ca.pem ca.crt; cp ~/certs/cert.pem client.cert; cp ~/certs/key.pem client.key"
    );
    desk.shell(&copy, &[]);
    let (status, said) = push(&[]);
    assert_eq!(status, Some(0), "{said}");
    desk.docker(&["image", "rm", "-f", &reference]);
}
