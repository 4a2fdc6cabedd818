//! Where a test works: a home, an engine, and an image on it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use hermetic::{Home, Variables};

use crate::services::{Running, crane, engine, host};

/// A home, and an engine with an image of a program and some megabytes, which says what it is when it runs.
pub(crate) struct Desk {
    pub(crate) home: Home,
    pub(crate) engine: &'static Variables,
    pub(crate) name: String,
}

/// A program that says what it is, on some megabytes.
pub(crate) const APP: &str = r#"FROM scratch
ADD busybox /
ADD data /
ADD name /
CMD ["/busybox","cat","/name"]
"#;

/// What is said with `-v` where layers are read in the engine's storage.
pub(crate) const FROM_STORAGE: &str = "reading layers in the engine's storage";

impl Desk {
    pub(crate) fn new() -> Self {
        Self::at(engine())
    }

    pub(crate) fn at(engine: &'static Variables) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("imgpush-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { home: Home::new(), engine, name }
    }

    /// Builds the image on the engine under this reference.
    pub(crate) fn build(&self, reference: &str) {
        self.build_from(APP, reference);
    }

    pub(crate) fn build_from(&self, dockerfile: &str, reference: &str) {
        self.build_with(6_000_000, dockerfile, reference);
    }

    /// With so many bytes of data that can't be compressed.
    pub(crate) fn build_with(&self, bytes: u32, dockerfile: &str, reference: &str) {
        let script = "mkdir -p context && cd context && cp \"$(command -v busybox)\" busybox && \
            head -c \"$BYTES\" /dev/urandom >data && echo \"$NAME\" >name && printf %s \"$DOCKERFILE\" >Dockerfile";
        self.shell(
            script,
            &[("NAME", &self.name), ("DOCKERFILE", dockerfile), ("BYTES", &bytes.to_string())],
        );
        let context = self.path("context");
        // A step that is shared with another test would go with its image.
        self.docker(&["build", "-q", "--no-cache", "-t", reference, context.to_str().unwrap()]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    #[track_caller]
    pub(crate) fn succeeded(&self, mut command: Command) -> String {
        let output = command.current_dir(self.home.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn shell(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = self.home.program("sh");
        command.args(["-euc", script]).envs(variables.iter().copied());
        self.succeeded(command)
    }

    #[track_caller]
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        let mut command = self.home.program(&self.engine["DOCKER"]);
        command.envs(self.engine).args(words);
        self.succeeded(command)
    }

    /// imgpush beside the engine, logged in to a registry.
    pub(crate) fn imgpush(&self, registry: &Variables, words: &[&str]) -> assert_cmd::Command {
        self.at_registry(self.home.spawnable("imgpush"), registry, words)
    }

    /// imgpush where the engine's storage can't be read, as in a job with its engine in another container.
    pub(crate) fn elsewhere(&self) -> Command {
        let mut command = self.home.program("unshare");
        let hide = "mount -t tmpfs none \"$STORAGE\"; exec \"$0\" \"$@\"";
        command.args(["--mount", "sh", "-euc", hide]).arg(self.home.spawnable("imgpush").get_program());
        command.env("STORAGE", self.docker(&["info", "-f", "{{.DockerRootDir}}"]));
        command
    }

    fn at_registry(&self, mut command: Command, registry: &Variables, words: &[&str]) -> assert_cmd::Command {
        command.current_dir(self.home.path()).env("DOCKER_HOST", host(self.engine)).args(words);
        for (ours, theirs) in [
            ("IMGPUSH_USERNAME", "REGISTRY_USER"),
            ("IMGPUSH_PASSWORD", "REGISTRY_PASSWORD"),
            ("IMGPUSH_CA_FILE", "REGISTRY_CA"),
        ] {
            command.envs(registry.get(theirs).map(|value| (ours, value)));
        }
        assert_cmd::Command::from_std(command)
    }

    /// The digest that a push printed.
    #[track_caller]
    pub(crate) fn pushed(&self, registry: &Variables, words: &[&str]) -> String {
        told(self.imgpush(registry, words)).0
    }

    /// The digest that a push from the engine's export printed.
    #[track_caller]
    pub(crate) fn pushed_from_export(&self, registry: &Variables, reference: &str) -> String {
        let words = ["-v", "--engine", "direct", reference];
        let (digest, said) = told(self.at_registry(self.elsewhere(), registry, &words));
        assert!(!said.contains(FROM_STORAGE), "{said}");
        digest
    }

    /// The digest that skopeo finds.
    #[track_caller]
    pub(crate) fn digest(&self, registry: &Variables, reference: &str) -> String {
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
    pub(crate) fn is_valid(&self, registry: &Variables, reference: &str) {
        let mut command = self.home.program(crane());
        command.args(["validate", "--remote", reference]);
        command.envs(registry.get("REGISTRY_CA").map(|ca| ("SSL_CERT_FILE", ca)));
        self.succeeded(command);
    }

    /// A front with TLS that wants a client's certificate from the CA in `certs`; `other` has another CA's.
    pub(crate) fn behind_tls(&self, behind: &str) -> (String, Running) {
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

    pub(crate) fn log_in(&self, registry: &Variables) {
        let command = "printf %s \"$REGISTRY_PASSWORD\" | \"$DOCKER\" login -u \"$REGISTRY_USER\" --password-stdin \"$REGISTRY\"";
        let variables = self.engine.iter().chain(registry);
        let variables: Vec<(&str, &str)> =
            variables.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.shell(command, &variables);
    }
}

/// The digest that a push printed, and what it said.
#[track_caller]
pub(crate) fn told(mut command: assert_cmd::Command) -> (String, String) {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{command:?}: {err}");
    (out.trim().rsplit_once('@').unwrap().1.to_owned(), err)
}
