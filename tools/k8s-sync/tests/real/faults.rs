//! Runs that are killed, cut off, or meet another one: the next run completes, and nothing foreign is touched. On an API
//! server of their own, which no other test needs meanwhile.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hermetic::{Home, Variables, service, variables};

use crate::network::{Network, Weather};
use crate::{Application, NEVER_HEALTHY, cluster};

const OBJECTS: usize = 200;

/// An API server of this test's own.
struct ControlPlane {
    state: tempfile::TempDir,
    values: Variables,
    home: Home,
}

impl ControlPlane {
    fn new() -> Self {
        let mut plane =
            Self { state: tempfile::tempdir().unwrap(), values: Variables::new(), home: Home::new() };
        plane.values = plane.script("up");
        plane.kubectl(&["create", "namespace", "app"]);
        plane.kubectl(&["-n", "app", "create", "configmap", "foreign", "--from-literal=value=theirs"]);
        plane
    }

    fn script(&self, verb: &str) -> Variables {
        let mut script = service("cluster");
        variables(script.arg(verb).env("CLUSTER_NODES", "0").env("GITOPS_STATE", self.state.path()))
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let mut command = self.home.program(&self.values["KUBECTL"]);
        let output = command.args(["--kubeconfig", &self.values["KUBECONFIG"]]).args(words).output().unwrap();
        assert!(output.status.success(), "kubectl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Manifests of objects with this value, without every tenth where `fewer`.
    fn folder(&self, value: &str, fewer: bool) -> PathBuf {
        let folder = self.home.path().join(format!("{value}-{fewer}"));
        std::fs::create_dir_all(&folder).unwrap();
        let documents = (0..OBJECTS).filter(|number| !fewer || number % 10 != 0).map(|number| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: item-{number}}}\ndata: {{value: '{value}'}}\n")
        });
        std::fs::write(folder.join("all.yml"), documents.collect::<Vec<_>>().join("---\n")).unwrap();
        folder
    }

    fn start(&self, folder: &Path, kubeconfig: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_k8s-sync"))
            .env_clear()
            .env("HOME", self.home.path())
            .env("KUBECONFIG", kubeconfig)
            .args(["apply", "app", "--dest-namespace", "app", "--prune", "-o", "json", "-f"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, folder: &Path) -> serde_json::Value {
        summary(&self.start(folder, &self.values["KUBECONFIG"]).wait_with_output().unwrap())
    }

    /// The next run completes, a later one proves that nothing is left to do, and nothing foreign was touched.
    fn completes(&self, value: &str, fewer: bool) {
        let folder = self.folder(value, fewer);
        self.run(&folder);
        // Where the run that was cut off left its mark, nothing was proved yet: this one does.
        self.run(&folder);
        let again = self.run(&folder);
        let count = if fewer { OBJECTS - OBJECTS / 10 } else { OBJECTS };
        assert_eq!((&again["unchanged"], &again["requests"]), (&count.into(), &2.into()), "{again}");
        let values = "jsonpath={range .items[*]}{.metadata.name} {.data.value}{'\\n'}{end}";
        let found = self.kubectl(&["-n", "app", "get", "configmaps", "-o", values]);
        let items: Vec<&str> = found.lines().filter(|line| line.starts_with("item-")).collect();
        assert_eq!(items.len(), count);
        assert!(items.iter().all(|line| line.ends_with(&format!(" {value}"))), "{found}");
        assert!(found.contains("foreign theirs"), "{found}");
    }

    fn kill_api_server(&self) {
        let pid = std::fs::read_to_string(self.state.path().join("control-plane/apiserver.pid")).unwrap();
        let pid = pid.split_whitespace().next().unwrap();
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        // A process that is killed may take a moment to end; until then it would be taken for one that is up.
        let end = Instant::now() + Duration::from_secs(10);
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
        };
        while is_there() {
            assert!(Instant::now() < end, "the API server does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.script("down");
    }
}

fn summary(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn whatever_cuts_a_run_off_the_next_one_completes() {
    let plane = ControlPlane::new();
    let begin = Instant::now();
    plane.run(&plane.folder("0", false));
    let whole = begin.elapsed();

    // Killed from the first request to the last prune.
    for part in 1..=6_u32 {
        let value = part.to_string();
        let mut run = plane.start(&plane.folder(&value, part % 2 == 0), &plane.values["KUBECONFIG"]);
        std::thread::sleep(whole * part / 6);
        run.kill().unwrap();
        run.wait().unwrap();
        if part % 2 == 0 {
            plane.completes(&value, true);
        }
    }

    // Two at once, of one mind and of two.
    for (first, second) in [("7", "7"), ("8", "9"), ("9", "8")] {
        let runs = [first, second]
            .map(|value| plane.start(&plane.folder(value, false), &plane.values["KUBECONFIG"]));
        for run in runs {
            summary(&run.wait_with_output().unwrap());
        }
        plane.completes(second, false);
    }

    // The API server goes away and comes back.
    let run = plane.start(&plane.folder("10", true), &plane.values["KUBECONFIG"]);
    std::thread::sleep(whole / 2);
    plane.kill_api_server();
    plane.script("up");
    let output = run.wait_with_output().unwrap();
    let status = output.status.code();
    assert!(
        status == Some(0) || status == Some(75),
        "{status:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    plane.completes("10", true);

    // So does the network; for less time than it takes to give up. It only falls silent. It forgets the connection.
    let network = Network::start(&plane.values["KUBECONFIG"], plane.home.path());
    let run = plane.start(&plane.folder("11", false), network.kubeconfig.to_str().unwrap());
    std::thread::sleep(whole / 2);
    for_a_moment(&network, Weather::Broken);
    assert_eq!(summary(&run.wait_with_output().unwrap())["synced"], true);
    plane.completes("11", false);
    for (value, weather) in [("12", Weather::Silent), ("13", Weather::Forgetful)] {
        let (made, begin) = (network.made(), Instant::now());
        let mut run = plane.start(&plane.folder(value, false), network.kubeconfig.to_str().unwrap());
        until_it_says_a_word(&mut run);
        for_a_moment(&network, weather);
        assert_eq!(summary(&run.wait_with_output().unwrap())["synced"], true, "{weather:?}");
        assert!(begin.elapsed() < Duration::from_secs(50), "{weather:?}: {:?}", begin.elapsed());
        let made = network.made() - made;
        assert_eq!(
            made > 1,
            weather == Weather::Forgetful,
            "{weather:?}: all share one of {made} connections"
        );
        plane.completes(value, false);
    }
}

fn for_a_moment(network: &Network, weather: Weather) {
    network.becomes(weather);
    std::thread::sleep(Duration::from_millis(300));
    network.becomes(Weather::Fair);
}

/// Until it has written the first of many objects. Nothing more is read.
fn until_it_says_a_word(run: &mut Child) {
    let mut byte = [0];
    while byte != *b"\n" {
        run.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }
}

/// Manifests with something that is waited for in each part of a sync.
fn phases(plane: &ControlPlane, value: &str) -> PathBuf {
    let folder = plane.home.path().join(format!("phases-{value}"));
    std::fs::create_dir_all(&folder).unwrap();
    let balanced = |name: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{argocd.argoproj.io/{annotation}}}}}\n\
             spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n---\n"
        )
    };
    let map = |name: &str, wave: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{argocd.argoproj.io/sync-wave: '{wave}'}}}}\n\
             data: {{value: '{value}'}}\n---\n"
        )
    };
    let text = [
        balanced("before", "hook: PreSync"),
        map("first", "0"),
        balanced("middle", "sync-wave: '1'"),
        map("last", "2"),
        balanced("after", "hook: PostSync"),
    ];
    std::fs::write(folder.join("all.yml"), text.concat()).unwrap();
    folder
}

#[test]
fn a_run_that_is_killed_in_any_phase_is_completed_by_the_next() {
    let plane = ControlPlane::new();
    let address = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}"#;
    let uid_of = |name: &str| {
        let there =
            ["-n", "app", "get", "service", name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"];
        plane.kubectl(&there)
    };
    // Until a run has made it anew, where it is a hook.
    let comes = |name: &str, not: &str| {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let uid = uid_of(name);
            if !uid.is_empty() && uid != not {
                return;
            }
            assert!(Instant::now() < end, "{name} does not come");
        }
    };
    let healthy = |name: &str| {
        plane.kubectl(&[
            "-n",
            "app",
            "patch",
            "service",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            address,
        ]);
    };
    let waits = ["before", "middle", "after"];
    plane.kubectl(&["-n", "app", "create", "configmap", "theirs"]);
    for (number, killed_at) in waits.iter().enumerate() {
        let folder = phases(&plane, &number.to_string());
        let before: Vec<String> = waits.iter().map(|name| uid_of(name)).collect();
        let mut run = plane.start(&folder, &plane.values["KUBECONFIG"]);
        for (name, uid) in waits.iter().zip(&before) {
            // A member stays the same one.
            comes(name, if *name == "middle" { "" } else { uid });
            if name == killed_at {
                break;
            }
            healthy(name);
        }
        run.kill().unwrap();
        run.wait().unwrap();

        let before: Vec<String> = waits.iter().map(|name| uid_of(name)).collect();
        let next = plane.start(&folder, &plane.values["KUBECONFIG"]);
        for (name, uid) in waits.iter().zip(&before) {
            comes(name, if *name == "middle" { "" } else { uid });
            healthy(name);
        }
        let done = summary(&next.wait_with_output().unwrap());
        assert_eq!((&done["synced"], &done["healthy"]), (&true.into(), &true.into()));
        for name in ["first", "last"] {
            let value =
                plane.kubectl(&["-n", "app", "get", "configmap", name, "-o", "jsonpath={.data.value}"]);
            assert_eq!(value, number.to_string(), "{name}, killed at {killed_at}");
        }
    }
    plane.kubectl(&["-n", "app", "get", "configmap", "theirs", "foreign"]);
}

/// Requests of service accounts get as good as nothing of the API server, and are refused rather than kept waiting.
const LITTLE: &str = "apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: PriorityLevelConfiguration\nmetadata: {name: little}\n\
    spec: {type: Limited, limited: {nominalConcurrencyShares: 1, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}\n---\n\
    apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: little}\n\
    spec: {priorityLevelConfiguration: {name: little}, matchingPrecedence: 2, rules: [{subjects: [{kind: ServiceAccount, \
    serviceAccount: {namespace: app, name: runner}}], resourceRules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*'], \
    namespaces: ['*'], clusterScope: true}]}]}\n";

#[test]
fn a_server_that_has_enough_is_asked_more_slowly() {
    let plane = ControlPlane::new();
    let file = plane.home.path().join("little.yml");
    std::fs::write(&file, LITTLE).unwrap();
    plane.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    plane.kubectl(&["-n", "app", "create", "serviceaccount", "runner"]);
    let words = [
        "create",
        "clusterrolebinding",
        "runner",
        "--clusterrole=cluster-admin",
        "--serviceaccount=app:runner",
    ];
    plane.kubectl(&words);
    let token = plane.kubectl(&["-n", "app", "create", "token", "runner"]);
    let config = plane.kubectl(&["config", "view", "--raw", "-o", "json"]);
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    let kubeconfig = plane.home.path().join("runner.kubeconfig");
    std::fs::write(&kubeconfig, config.to_string()).unwrap();

    let run = plane.start(&plane.folder("1", false), kubeconfig.to_str().unwrap());
    let done = summary(&run.wait_with_output().unwrap());
    assert_eq!(done["created"], OBJECTS, "{done}");
    let metrics = plane.kubectl(&["get", "--raw", "/metrics"]);
    let rejected = metrics.lines().find(|line| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total") && line.contains("little")
    });
    let rejected: f64 = rejected.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default();
    assert!(rejected > 0.0, "the server had never enough");
    // Not each of its objects ran against the wall.
    assert!(rejected < 400.0, "{rejected} of {done}");
    plane.completes("1", false);
}

/// A project's core manifests: namespace, roles, definitions, configuration, workloads, webhooks.
const PUBLIC: &str = "knative.dev/eventing@v0.45.0";

#[test]
fn a_public_projects_manifests_change_nothing_the_second_time() {
    let download = Command::new("go").args(["mod", "download", "-json", PUBLIC]).output().unwrap();
    let module: serde_json::Value = serde_json::from_slice(&download.stdout).unwrap();
    let core = Path::new(module["Dir"].as_str().unwrap()).join("config/core");
    let plane = ControlPlane::new();
    let run = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-sync"));
        command.env_clear().env("HOME", plane.home.path()).env("KUBECONFIG", &plane.values["KUBECONFIG"]);
        command.args([
            verb,
            "eventing",
            "--dest-namespace",
            "app",
            "--timeout",
            "0",
            "--prune",
            "-o",
            "json",
            "-f",
        ]);
        command.arg(&core).output().unwrap()
    };
    let first = summary(&run("apply"));
    let created = first["created"].as_u64().unwrap();
    assert!(created > 80, "{first}");
    let versions = || {
        plane.kubectl(&[
            "get",
            "configmap,service,serviceaccount,rolebinding",
            "-A",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
            "-l",
            "applyset.kubernetes.io/part-of",
        ])
    };
    let before = versions();
    let again = summary(&run("apply"));
    assert_eq!(
        (&again["unchanged"], &again["created"], &again["configured"]),
        (&created.into(), &0.into(), &0.into())
    );
    // The inventory, and a list a kind.
    assert!(again["requests"].as_u64() < Some(30), "{again}");
    assert_eq!(versions(), before);
    assert_eq!(run("diff").status.code(), Some(0));
}

/// One kubeconfig with the contexts `blue` and `green`.
fn two_clusters(blue: &str, green: &str, folder: &Path) -> PathBuf {
    let read = |path: &str| -> serde_json::Value {
        serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut both = read(blue);
    for list in ["clusters", "users", "contexts"] {
        both[list] = serde_json::json!([]);
    }
    for (name, config) in [("blue", read(blue)), ("green", read(green))] {
        let named =
            |list: &str, field: &str| serde_json::json!({"name": name, field: config[list][0][field]});
        let context = serde_json::json!({"name": name, "context": {"cluster": name, "user": name}});
        let new = [
            ("clusters", named("clusters", "cluster")),
            ("users", named("users", "user")),
            ("contexts", context),
        ];
        for (list, entry) in new {
            both[list].as_array_mut().unwrap().push(entry);
        }
    }
    both["current-context"] = "blue".into();
    let path = folder.join("both.kubeconfig");
    std::fs::write(&path, both.to_string()).unwrap();
    path
}

#[test]
fn where_one_cluster_fails_all_are_as_before() {
    let (plane, app) = (ControlPlane::new(), Application::new());
    let namespace = app.namespace.as_str();
    plane.kubectl(&["create", "namespace", namespace]);
    let config = two_clusters(&cluster()["KUBECONFIG"], &plane.values["KUBECONFIG"], app.home.path());
    let run = |words: &[&str]| {
        let mut command = app.home.tool("k8s-sync");
        command.env("KUBECONFIG", &config).args(["apply", "app", "--dest-namespace", namespace]);
        command.args(["--dest-name", "blue", "--dest-name", "green", "-f"]).arg(app.folder());
        command.args(words).output().unwrap()
    };
    app.config_map("a", "1");
    app.manifest("web", NEVER_HEALTHY);
    assert!(run(&["--timeout", "0"]).status.success());
    // It has its address in one of them only.
    let address = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}"#;
    let patch = ["patch", "service", "web", "--subresource=status", "--type=merge", "-p", address];
    app.kubectl(&[&["-n", namespace], &patch[..]].concat());
    app.config_map("a", "2");
    app.config_map("b", "1");
    let output = run(&["--timeout", "2", "--rollback-on-failure"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("green: not healthy after 2 s: Service"), "{said}");
    // The last of all goes back first.
    assert!(said.contains("rolled back 2 objects in blue: rolled back 2 objects in green"), "{said}");
    let tail = said.split("green:\n").nth(2).unwrap_or_default();
    let mut lines: Vec<&str> = tail.lines().take(5).filter_map(|line| line.rsplit(' ').next()).collect();
    let of = |name: &str| format!("{namespace}/{name}");
    // The two were written at once.
    lines[..2].sort_unstable();
    lines[3..].sort_unstable();
    assert_eq!(lines, [&of("a"), &of("b"), "blue:", &of("a"), &of("b")], "{said}");
    assert_eq!((app.config_maps(), app.value("a")), (vec!["a".to_owned()], "1".to_owned()));
    let there = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}={{.data.value}} {{end}}{{end}}";
    let maps = plane.kubectl(&["-n", namespace, "get", "configmaps", "-o", there]);
    let maps: Vec<&str> = maps.split(' ').filter(|map| map.ends_with("=1") || map.ends_with("=2")).collect();
    assert_eq!(maps, ["a=1"]);
}
