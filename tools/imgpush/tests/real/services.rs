//! The engines and registries, and programs for a second opinion.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hermetic::{Variables, service, variables};

pub(crate) fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

macro_rules! up {
    ($name:ident, $service:literal $(, $option:literal)*) => {
        pub(crate) fn $name() -> &'static Variables {
            static UP: OnceLock<Variables> = OnceLock::new();
            UP.get_or_init(|| variables(service($service)$(.arg($option))*.arg("up")))
        }
    };
}
up!(engine, "engine");
up!(cold_engine, "engine", "--name", "cold");
up!(mortal_engine, "engine", "--name", "mortal");
up!(current_engine, "engine", "--current");
up!(registry, "registry");
up!(plain_registry, "registry", "--plain");
up!(token_registry, "registry", "--tokens");
up!(current_registry, "registry", "--current");
up!(current_token_registry, "registry", "--tokens", "--current");

/// Where an engine listens; one that was there already may be docker's default.
pub(crate) fn host(engine: &'static Variables) -> &'static str {
    engine.get("DOCKER_HOST").map_or("unix:///var/run/docker.sock", String::as_str)
}

/// The program of go-containerregistry, for a second opinion.
pub(crate) fn crane() -> PathBuf {
    let script = "import sys; sys.path.insert(0, sys.argv[1]); import peers; print(peers.crane())";
    let mut command = Command::new("python3");
    let output = command.args(["-B", "-c", script]).arg(top("scripts/benchmarks")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A program that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The proxy that goes wrong on purpose.
pub(crate) struct Proxy {
    pub(crate) host: String,
    _running: Running,
}

impl Proxy {
    pub(crate) fn before(upstream: &str) -> Self {
        let program = top("tests/fault-proxy/fault_proxy.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(program).args(["--upstream", upstream]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { host: format!("127.0.0.1:{}", told["port"]), _running: Running(child) }
    }

    pub(crate) fn control(&self, words: &[&str]) -> serde_json::Value {
        let url = format!("http://{}/_faults", self.host);
        let output = Command::new("curl").args(["-fsS"]).args(words).arg(url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Goes wrong like this from now on, and forgets what was asked.
    pub(crate) fn fails(&self, faults: &str) {
        self.control(&["-X", "PUT", "-d", faults]);
    }

    pub(crate) fn requests(&self) -> usize {
        // What is no HTTP, as TLS is none, is no request.
        self.control(&[])["requests"].as_array().unwrap().len()
    }

    /// Waits until this is so of a request.
    pub(crate) fn waits_for(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let patience = Instant::now() + Duration::from_mins(1);
        while !self.control(&[])["requests"].as_array().unwrap().iter().any(&is_so) {
            assert!(Instant::now() < patience, "{what}: {}", self.control(&[]));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn met(&self) -> u64 {
        self.control(&[])["faults"][0]["met"].as_u64().unwrap()
    }
}
