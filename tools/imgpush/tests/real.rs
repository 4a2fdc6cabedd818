//! Against real engines and registries: what is pushed is pulled, unpacked and run again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hermetic::Home;

type Variables = HashMap<String, String>;

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The variables that a service prints when it is up.
fn up(service: &str, options: &[&str]) -> Variables {
    let output =
        Command::new(top("scripts/services").join(service)).args(options).arg("up").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

macro_rules! service {
    ($name:ident, $service:literal $(, $option:literal)*) => {
        fn $name() -> &'static Variables {
            static UP: OnceLock<Variables> = OnceLock::new();
            UP.get_or_init(|| up($service, &[$($option),*]))
        }
    };
}
service!(engine, "engine");
service!(cold_engine, "engine", "--name", "cold");
service!(current_engine, "engine", "--current");
service!(registry, "registry");
service!(plain_registry, "registry", "--plain");
service!(token_registry, "registry", "--tokens");
service!(current_registry, "registry", "--current");
service!(current_token_registry, "registry", "--tokens", "--current");

/// Where an engine listens; one that was there already may be docker's default.
fn host(engine: &'static Variables) -> &'static str {
    engine.get("DOCKER_HOST").map_or("unix:///var/run/docker.sock", String::as_str)
}

/// The program of go-containerregistry, for a second opinion.
fn crane() -> PathBuf {
    let script = "import sys; sys.path.insert(0, sys.argv[1]); import peers; print(peers.crane())";
    let mut command = Command::new("python3");
    let output = command.args(["-B", "-c", script]).arg(top("scripts/benchmarks")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A home, and an engine with an image of a program and some megabytes, which says what it is when it runs.
struct Desk {
    home: Home,
    engine: &'static Variables,
    name: String,
}

/// A program that says what it is, on some megabytes.
const APP: &str = r#"FROM scratch
ADD busybox /
ADD data /
ADD name /
CMD ["/busybox","cat","/name"]
"#;

impl Desk {
    fn new() -> Self {
        Self::at(engine())
    }

    fn at(engine: &'static Variables) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("imgpush-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { home: Home::new(), engine, name }
    }

    /// Builds the image on the engine under this reference.
    fn build(&self, reference: &str) {
        self.build_from(APP, reference);
    }

    fn build_from(&self, dockerfile: &str, reference: &str) {
        let script = "mkdir -p context && cd context && cp \"$(command -v busybox)\" busybox && \
            head -c 6000000 /dev/urandom >data && echo \"$NAME\" >name && printf %s \"$DOCKERFILE\" >Dockerfile";
        self.shell(script, &[("NAME", &self.name), ("DOCKERFILE", dockerfile)]);
        let context = self.path("context");
        self.docker(&["build", "-q", "-t", reference, context.to_str().unwrap()]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    #[track_caller]
    fn succeeded(&self, mut command: Command) -> String {
        let output = command.current_dir(self.home.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn shell(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = self.home.program("sh");
        command.args(["-euc", script]).envs(variables.iter().copied());
        self.succeeded(command)
    }

    #[track_caller]
    fn docker(&self, words: &[&str]) -> String {
        let mut command = self.home.program(&self.engine["DOCKER"]);
        command.envs(self.engine).args(words);
        self.succeeded(command)
    }

    /// imgpush beside the engine, logged in to a registry.
    fn imgpush(&self, registry: &Variables, words: &[&str]) -> assert_cmd::Command {
        let mut command = self.home.tool("imgpush");
        command.current_dir(self.home.path()).env("DOCKER_HOST", host(self.engine)).args(words);
        for (ours, theirs) in [
            ("IMGPUSH_USERNAME", "REGISTRY_USER"),
            ("IMGPUSH_PASSWORD", "REGISTRY_PASSWORD"),
            ("IMGPUSH_CA_FILE", "REGISTRY_CA"),
        ] {
            command.envs(registry.get(theirs).map(|value| (ours, value)));
        }
        command
    }

    /// The digest that a push printed.
    #[track_caller]
    fn pushed(&self, registry: &Variables, words: &[&str]) -> String {
        let output = self.imgpush(registry, words).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words:?}: {err}");
        out.trim().rsplit_once('@').unwrap().1.to_owned()
    }

    /// The digest that skopeo finds.
    #[track_caller]
    fn digest(&self, registry: &Variables, reference: &str) -> String {
        let mut command = self.home.program("skopeo");
        command.args(["inspect", "--no-tags", "--format", "{{.Digest}}", "--tls-verify=false"]);
        if let Some(user) = registry.get("REGISTRY_USER") {
            command.arg("--creds").arg(format!("{user}:{}", registry["REGISTRY_PASSWORD"]));
        }
        command.arg(format!("docker://{reference}"));
        self.succeeded(command)
    }

    /// crane reads every byte of the image, and finds what its digests say.
    #[track_caller]
    fn is_valid(&self, registry: &Variables, reference: &str) {
        let mut command = self.home.program(crane());
        command.args(["validate", "--remote", reference]);
        command.envs(registry.get("REGISTRY_CA").map(|ca| ("SSL_CERT_FILE", ca)));
        self.succeeded(command);
    }

    /// A front with TLS that wants a client's certificate from the CA in `certs`; `other` has another CA's.
    fn behind_tls(&self, behind: &str) -> (String, Running) {
        let script = "for name in certs other; do mkdir $name; cd $name; \
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2; \
            for who in server client; do openssl req -newkey rsa:2048 -nodes -keyout $who-key.pem -out $who.csr -subj /CN=$who; \
            printf 'subjectAltName=IP:127.0.0.1\\n' >san; \
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile san -days 2 -out $who.pem; done; \
            cp client.pem cert.pem; cp client-key.pem key.pem; cd ..; done";
        self.shell(script, &[]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let listen = format!(
            "OPENSSL-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,verify=1,cert={0}/server.pem,key={0}/server-key.pem,cafile={0}/ca.pem",
            self.path("certs").display()
        );
        let front = Running(self.home.program("socat").args([&listen, behind]).spawn().unwrap());
        (format!("127.0.0.1:{port}"), front)
    }

    fn log_in(&self, registry: &Variables) {
        let command = "printf %s \"$REGISTRY_PASSWORD\" | \"$DOCKER\" login -u \"$REGISTRY_USER\" --password-stdin \"$REGISTRY\"";
        let variables = self.engine.iter().chain(registry);
        let variables: Vec<(&str, &str)> =
            variables.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.shell(command, &variables);
    }
}

#[test]
fn every_way_gives_an_image_that_docker_runs_and_skopeo_and_crane_know() {
    every_way(&Desk::new(), registry());
}

#[test]
fn every_way_works_with_an_engine_and_a_registry_of_today() {
    every_way(&Desk::at(current_engine()), current_registry());
}

fn every_way(desk: &Desk, registry: &Variables) {
    let reference = |way: &str| format!("{}/{}/{way}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference("daemon"));
    desk.log_in(registry);
    let id = desk.docker(&["image", "inspect", "-f", "{{.Id}}", &reference("daemon")]);
    desk.docker(&["save", "-o", desk.path("a.tar").to_str().unwrap(), &reference("daemon")]);
    let archive = format!("docker-archive:{}", desk.path("a.tar").display());
    let mut direct = None;
    for way in ["daemon", "direct", "auto", "archive"] {
        let reference = reference(way);
        let digest = if way == "archive" {
            desk.pushed(registry, &["--from", &archive, &reference])
        } else {
            desk.docker(&["tag", &id, &reference]);
            desk.pushed(registry, &["--engine", way, &reference])
        };
        assert_eq!(desk.digest(registry, &reference), digest);
        desk.is_valid(registry, &reference);
        if way == "direct" || way == "archive" {
            assert_eq!(direct.get_or_insert(digest.clone()), &digest, "{way}");
        }
    }
    for way in ["daemon", "direct", "auto", "archive"] {
        desk.docker(&["image", "rm", "-f", &id]);
        desk.docker(&["pull", "-q", &reference(way)]);
        assert_eq!(desk.docker(&["image", "inspect", "-f", "{{.Id}}", &reference(way)]), id);
        // Debian's runc is too old for an engine of today; what it pushed runs elsewhere.
        let runner = Desk { home: Home::new(), engine: engine(), name: desk.name.clone() };
        runner.log_in(registry);
        runner.docker(&["pull", "-q", &reference(way)]);
        assert_eq!(runner.docker(&["run", "--rm", "--network", "none", &reference(way)]), desk.name);
    }
    if !std::ptr::eq(desk.engine, engine()) {
        let references: Vec<String> = ["daemon", "direct", "auto", "archive"].map(reference).into();
        let words = ["image", "rm", "-f"].into_iter().chain(references.iter().map(String::as_str));
        Desk::new().docker(&words.collect::<Vec<_>>());
    }
    // What docker pulled goes back unchanged, and what skopeo makes of it keeps its digest.
    assert_eq!(Some(desk.pushed(registry, &[&reference("archive")])), direct);
    desk.shell("skopeo copy -q docker-archive:a.tar oci-archive:oci.tar && skopeo copy -q oci-archive:oci.tar oci:layout", &[]);
    let stated = desk.shell("skopeo inspect --format '{{.Digest}}' oci:layout", &[]);
    let layout = format!("oci:{}", desk.path("layout").display());
    let archive = format!("oci-archive:{}", desk.path("oci.tar").display());
    for (name, from) in [("layout", &layout), ("oci-archive", &archive)] {
        assert_eq!(desk.pushed(registry, &["--from", from, &reference(name)]), stated);
        assert_eq!(desk.digest(registry, &reference(name)), stated);
    }
    desk.docker(&["image", "rm", "-f", &id]);
}

#[test]
fn an_unchanged_image_on_a_cold_engine_is_one_request() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = format!("{}/{}:v1", proxy.host, desk.name);
    desk.build(&reference);
    let digest = desk.pushed(registry, &[&reference]);
    let (warm, cold) = (host(desk.engine), &cold_engine()["DOCKER_HOST"]);
    let script = "\"$DOCKER\" -H \"$WARM\" save \"$IMAGE\" | \"$DOCKER\" -H \"$COLD\" load";
    desk.shell(
        script,
        &[("WARM", warm), ("COLD", cold), ("IMAGE", &reference), ("DOCKER", &desk.engine["DOCKER"])],
    );
    proxy.fails("[]");
    let mut command = desk.imgpush(registry, &[&reference]);
    let output = command.env("DOCKER_HOST", cold).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{reference}@{digest}\n"));
    assert_eq!(proxy.requests(), 1);
    desk.docker(&["image", "rm", "-f", &reference]);
}

#[test]
fn containerd_runs_what_was_pushed_directly() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let reference = format!("{}/{}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference);
    desk.pushed(registry, &["--engine", "direct", &reference]);
    // The engine's own containerd, or the machine's; images of different clients are kept apart there.
    let own =
        host(desk.engine).replace("unix://", "").replace("docker.sock", "exec/containerd/containerd.sock");
    let socket = if Path::new(&own).exists() { own } else { "/run/containerd/containerd.sock".to_owned() };
    let run = "ctr() { command ctr -a \"$SOCKET\" -n imgpush \"$@\"; }
        ctr images pull --plain-http --snapshotter native \"$IMAGE\" >&2
        ctr images check | grep -F \"$IMAGE\"
        ctr run --rm --snapshotter native --cgroup \"/imgpush-$NAME\" \"$IMAGE\" \"$NAME\" || failed=1
        ctr images rm --sync \"$IMAGE\" >&2
        [ -z \"${failed:-}\" ]";
    let said = desk.shell(run, &[("SOCKET", &socket), ("IMAGE", &reference), ("NAME", &desk.name)]);
    assert!(said.contains(" complete ") && said.lines().any(|line| line == desk.name), "{said}");
    desk.docker(&["image", "rm", "-f", &reference]);
}

#[test]
fn an_image_without_layers_and_one_with_the_same_layer_twice_go_every_way() {
    let registry = plain_registry();
    for (desk, is_classic) in [(Desk::new(), true), (Desk::at(current_engine()), false)] {
        let reference = |way: &str| format!("{}/{}/{way}:v1", registry["REGISTRY"], desk.name);
        for (name, dockerfile, layers) in [
            ("none", "FROM scratch\nLABEL kind=empty\n", 0),
            ("twice", "FROM scratch\nADD name /x\nADD data /x\nADD name /x\n", 3),
        ] {
            let [first, second] = ["daemon", "direct"].map(|way| reference(&format!("{name}-{way}")));
            desk.build_from(dockerfile, &first);
            desk.docker(&["tag", &first, &second]);
            desk.pushed(registry, &["--engine", "daemon", &first]);
            desk.pushed(registry, &["--engine", "direct", &second]);
            let manifest = |reference: &str| -> serde_json::Value {
                let mut command = desk.home.program(crane());
                command.args(["manifest", reference]);
                serde_json::from_str(&desk.succeeded(command)).unwrap()
            };
            let (daemon, direct) = (manifest(&first), manifest(&second));
            assert_eq!(daemon["config"]["digest"], direct["config"]["digest"], "{name}");
            assert_eq!(direct["layers"].as_array().map_or(0, Vec::len), layers, "{name}");
            let again = desk.imgpush(registry, &[&second, "-o", "json"]).output().unwrap();
            let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(again["images"][0]["changed"], false, "{name}");
            assert!(is_classic || daemon == direct, "{name}");
            if layers > 0 {
                desk.is_valid(registry, &second);
            }
            desk.docker(&["image", "rm", "-f", &first, &second]);
        }
    }
}

#[test]
fn what_the_containerd_store_keeps_uncompressed_is_compressed_once_and_then_known() {
    let (classic, desk, registry) = (Desk::new(), Desk::at(current_engine()), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = |path: &str| format!("{}/{}/{path}:v1", proxy.host, desk.name);
    // `docker load` of what a classic store saved keeps the layers as they are in it.
    classic.build(&reference("a"));
    let script = "\"$DOCKER\" -H \"$CLASSIC\" save \"$IMAGE\" | \"$DOCKER\" -H \"$CURRENT\" load";
    let (old, new) = (host(classic.engine), host(desk.engine));
    let variables =
        [("CLASSIC", old), ("CURRENT", new), ("IMAGE", &reference("a")), ("DOCKER", &desk.engine["DOCKER"])];
    desk.shell(script, &variables);
    // Known, though the classic engine compressed it and the other one names it otherwise.
    let pushed = classic.pushed(registry, &["--engine", "daemon", &reference("a")]);
    proxy.fails("[]");
    assert_eq!(desk.pushed(registry, &[&reference("a")]), pushed);
    assert_eq!(proxy.requests(), 2);
    // Elsewhere it is compressed too, and no other than from the classic store.
    for path in ["b", "c"] {
        desk.docker(&["tag", &reference("a"), &reference(path)]);
        classic.docker(&["tag", &reference("a"), &reference(path)]);
    }
    let first = desk.pushed(registry, &["--engine", "direct", &reference("b")]);
    assert_eq!(first, classic.pushed(registry, &["--engine", "direct", &reference("c")]));
    proxy.fails("[]");
    assert_eq!(desk.pushed(registry, &[&reference("b")]), first);
    assert_eq!(proxy.requests(), 2);
    for desk in [&classic, &desk] {
        desk.docker(&["image", "rm", "-f", &reference("a"), &reference("b"), &reference("c")]);
    }
}

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

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The proxy that goes wrong on purpose.
struct Proxy {
    host: String,
    _running: Running,
}

impl Proxy {
    fn before(upstream: &str) -> Self {
        let program = top("tests/fault-proxy/fault_proxy.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(program).args(["--upstream", upstream]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { host: format!("127.0.0.1:{}", told["port"]), _running: Running(child) }
    }

    fn control(&self, words: &[&str]) -> serde_json::Value {
        let url = format!("http://{}/_faults", self.host);
        let output = Command::new("curl").args(["-fsS"]).args(words).arg(url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Goes wrong like this from now on, and forgets what was asked.
    fn fails(&self, faults: &str) {
        self.control(&["-X", "PUT", "-d", faults]);
    }

    fn requests(&self) -> usize {
        // What is no HTTP, as TLS is none, is no request.
        self.control(&[])["requests"].as_array().unwrap().len()
    }

    fn met(&self) -> u64 {
        self.control(&[])["faults"][0]["met"].as_u64().unwrap()
    }
}
