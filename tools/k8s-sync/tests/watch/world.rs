//! What the tests have in common: a cluster, a repository, operators, and what they say.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, mpsc};
use std::time::{Duration, Instant};

use hermetic::{Home, Variables, service, variables};
use serde_json::Value;

/// The longest that anything may take.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// Held for writing by whoever restarts the API server.
pub(crate) static SERVER: RwLock<()> = RwLock::new(());

/// Calls the script that keeps the cluster.
pub(crate) fn cluster_script(verb: &str) -> Variables {
    variables(service("cluster").arg(verb).env("CLUSTER_NODES", "0"))
}

/// The cluster's variables; it comes up at the first use.
pub(crate) fn cluster() -> &'static Variables {
    static CLUSTER: OnceLock<Variables> = OnceLock::new();
    CLUSTER.get_or_init(|| cluster_script("up"))
}

/// A namespace and a repository of a test's own.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) namespace: String,
    _server: Option<RwLockReadGuard<'static, ()>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let guard = SERVER.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self::with(Some(guard))
    }

    /// One that may restart the API server.
    pub(crate) fn alone() -> Self {
        Self::with(None)
    }

    fn with(server: Option<RwLockReadGuard<'static, ()>>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("watch-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let world = Self { home: Home::new(), namespace, _server: server };
        world.kubectl(&["create", "namespace", &world.namespace]);
        std::fs::create_dir(world.repository()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.home.path().join("manifests")
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.repository().display())
    }

    pub(crate) fn git(&self, words: &[&str]) {
        let done = self.home.program("git").arg("-C").arg(self.repository()).args(words).output().unwrap();
        assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.repository().join(file), text).unwrap();
    }

    pub(crate) fn config_map(&self, name: &str, value: &str) {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: '{value}'\n"
        );
        self.write(&format!("{name}.yml"), &text);
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        let output = self.try_kubectl(words);
        assert!(output.status.success(), "kubectl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_kubectl(&self, words: &[&str]) -> std::process::Output {
        let mut command = self.home.program(&cluster()["KUBECTL"]);
        command.args(["--kubeconfig", &cluster()["KUBECONFIG"]]).args(words);
        command.output().unwrap()
    }

    /// A ConfigMap's value; empty where there is no such ConfigMap.
    pub(crate) fn value(&self, name: &str) -> String {
        let words = ["-n", &self.namespace, "get", "configmap", name, "-o", "jsonpath={.data.value}"];
        String::from_utf8(self.try_kubectl(&words).stdout).unwrap()
    }

    /// Changes a ConfigMap as somebody would who does not know of Git.
    pub(crate) fn drift(&self, name: &str, value: &str) {
        let patch = format!(r#"{{"data": {{"value": "{value}"}}}}"#);
        self.kubectl(&["-n", &self.namespace, "patch", "configmap", name, "--type=merge", "-p", &patch]);
    }

    pub(crate) fn until_value(&self, name: &str, value: &str) {
        until(&format!("{name} is `{value}`"), || self.value(name) == value);
    }

    /// A PATH with kubectl on it, which renders kustomizations.
    pub(crate) fn path_with_kubectl(&self) -> String {
        let bin = self.home.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let _ = std::os::unix::fs::symlink(&cluster()["KUBECTL"], bin.join("kubectl"));
        format!("{}:/usr/bin:/bin", bin.display())
    }

    /// An operator that does everything by itself.
    pub(crate) fn operator(&self, words: &[&str]) -> Operator {
        self.operator_with(words, &[])
    }

    /// The same with variables of its own.
    pub(crate) fn operator_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Operator {
        let own = ["app", "--sync-policy", "automated", "--auto-prune", "--self-heal", "--repo", &self.url()];
        self.watch(&[&own[..], words].concat(), variables)
    }

    /// `k8s-sync watch` on a port of its own.
    pub(crate) fn watch(&self, words: &[&str], variables: &[(&str, &str)]) -> Operator {
        self.start(self.home.spawnable("k8s-sync"), words, variables)
    }

    /// The same by another binary.
    pub(crate) fn watch_with(&self, binary: &Path, words: &[&str]) -> Operator {
        self.start(self.home.program(binary), words, &[])
    }

    fn start(&self, mut command: Command, words: &[&str], variables: &[(&str, &str)]) -> Operator {
        command
            .env("KUBECONFIG", &cluster()["KUBECONFIG"])
            .envs(variables.iter().copied())
            .args(["watch", "-o", "json", "--revision", "main"])
            .args(["--listen", "127.0.0.1:0"])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !words.contains(&"--poll") {
            command.args(["--poll", "1"]);
        }
        if !words.contains(&"--dest-namespace") {
            command.args(["--dest-namespace", &self.namespace]);
        }
        Operator::start(command)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(LONG, what, is_so);
}

/// The same, of what takes longer than most.
pub(crate) fn until_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < limit, "not within {} s: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running operator; it ends with this value.
pub(crate) struct Operator {
    child: Child,
    events: mpsc::Receiver<Value>,
    early: VecDeque<Value>,
    heard: Vec<Value>,
    pub(crate) address: String,
}

impl Operator {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, events) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        std::thread::spawn(move || {
            for line in lines {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut operator =
            Self { child, events, early: VecDeque::new(), heard: Vec::new(), address: String::new() };
        let listening = operator.hear("it listens", |event| event["kind"] == "listening");
        // What was said before that is still to be heard.
        operator.heard.pop();
        operator.early = std::mem::take(&mut operator.heard).into();
        listening["address"].as_str().unwrap().clone_into(&mut operator.address);
        operator
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// The next event of this sort.
    pub(crate) fn hear(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.hear_within(LONG, what, is_it)
    }

    /// The same, of what takes longer than most.
    pub(crate) fn hear_within(
        &mut self,
        limit: Duration,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            let early = self.early.pop_front();
            let Some(event) = early.or_else(|| self.events.recv_timeout(left).ok()) else {
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                let heard: Vec<String> = self.heard.iter().map(ToString::to_string).collect();
                panic!("never heard: {what}\nheard:\n{}\nsaid:\n{said}", heard.join("\n"));
            };
            self.heard.push(event.clone());
            if is_it(&event) {
                return event;
            }
        }
    }

    pub(crate) fn hear_kind(&mut self, kind: &str) -> Value {
        self.hear(kind, |event| event["kind"] == kind)
    }

    /// Waits for the sync of the commit with this summary.
    pub(crate) fn until_synced(&mut self) -> Value {
        self.hear_kind("synced")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        http(&self.address, method, path, headers, body)
    }

    /// The events since the last time, without waiting for any.
    pub(crate) fn heard_lately(&mut self) -> Vec<Value> {
        self.events.try_iter().collect()
    }

    /// The process's memory, in kB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it ever took, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0 kB");
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The value of a metric, given as it stands in the text; 0 where it is not there.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").body;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map_or(0, |value| value.parse().unwrap())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a server on loopback; no answer at all has the status 0.
pub(crate) fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    // Of version 1.0: the answer comes in one piece, and ends with the connection.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    let mut text = Vec::new();
    let asked = TcpStream::connect(address).and_then(|mut socket| {
        socket.set_read_timeout(Some(LONG))?;
        socket.write_all(&[head.as_bytes(), body].concat())?;
        socket.read_to_end(&mut text)
    });
    let text = String::from_utf8(text).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| asked.is_ok()) else {
        return Answer { status: 0, head: String::new(), body: String::new() };
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}
