//! Against a real API server: what is applied, what is pruned, and what is left alone.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "real/faults.rs"]
mod faults;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hermetic::{Home, Variables, service, variables};

#[path = "real/guards.rs"]
mod guards;
#[path = "real/health.rs"]
mod health;
mod network;
#[path = "real/options.rs"]
mod options;
#[path = "real/ordering.rs"]
mod ordering;
#[path = "real/ownership.rs"]
mod ownership;
#[path = "real/pods.rs"]
mod pods;
#[path = "real/reaching.rs"]
mod reaching;
#[path = "real/sources.rs"]
mod sources;

/// The cluster's variables; it comes up at the first use.
fn cluster() -> &'static Variables {
    static CLUSTER: OnceLock<Variables> = OnceLock::new();
    CLUSTER.get_or_init(|| variables(service("cluster").arg("up")))
}

/// A manifest, for [`Application::manifest`], of what nobody here gives an address.
const NEVER_HEALTHY: &str = "v1\nkind: Service\nspec: {type: LoadBalancer, ports: [{port: 80}]}";

/// An application in a namespace of its own, and the folder that its manifests are in.
struct Application {
    home: Home,
    namespace: String,
}

impl Application {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("k8s-sync-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let application = Self { home: Home::new(), namespace };
        std::fs::create_dir(application.folder()).unwrap();
        application.kubectl(&["create", "namespace", &application.namespace]);
        application
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("manifests")
    }

    fn config_map(&self, name: &str, value: &str) {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: '{value}'\n"
        );
        std::fs::write(self.folder().join(format!("{name}.yml")), text).unwrap();
    }

    /// Writes a manifest; `text` begins with the apiVersion's value.
    fn manifest(&self, name: &str, text: &str) {
        let text = format!("apiVersion: {text}\nmetadata: {{name: {name}}}\n");
        std::fs::write(self.folder().join(format!("{name}.yml")), text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder().join(format!("{name}.yml"))).unwrap();
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let mut command = self.home.program(&cluster()["KUBECTL"]);
        command.args(["--kubeconfig", &cluster()["KUBECONFIG"]]).args(words);
        let output = command.output().unwrap();
        assert!(output.status.success(), "kubectl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of the namespace's ConfigMaps, but for those that Kubernetes and k8s-sync keep.
    fn config_maps(&self) -> Vec<String> {
        let names = "jsonpath={.items[*].metadata.name}";
        let names = self.kubectl(&["-n", &self.namespace, "get", "configmaps", "-o", names]);
        names
            .split_whitespace()
            .filter(|name| !["k8s-sync.app", "kube-root-ca.crt"].contains(name))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Somebody else changes an object.
    fn patch_as(&self, manager: &str, object: &str, patch: &str) {
        let words = ["patch", object, "--type=merge", "-p", patch, "--field-manager", manager];
        self.kubectl(&[&["-n", &self.namespace], &words[..]].concat());
    }

    /// Keeps an object from going, or lets it go where the list is empty.
    fn hold(&self, object: &str, finalizers: &[&str]) {
        let patch = serde_json::json!({"metadata": {"finalizers": finalizers}}).to_string();
        self.kubectl(&["-n", &self.namespace, "patch", object, "--type=merge", "-p", &patch]);
    }

    fn value(&self, name: &str) -> String {
        self.kubectl(&["-n", &self.namespace, "get", "configmap", name, "-o", "jsonpath={.data.value}"])
    }

    fn command(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = self.home.spawnable("k8s-sync");
        command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args([
            verb,
            "app",
            "--dest-namespace",
            &self.namespace,
        ]);
        command.arg("-f").arg(self.folder()).args(words);
        command
    }

    fn run(&self, verb: &str, words: &[&str]) -> Output {
        self.command(verb, words).output().unwrap()
    }

    /// The records of a run that went well.
    fn done(&self, verb: &str, words: &[&str]) -> Vec<String> {
        let output = self.run(verb, words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// A run that ended with this status; what it said.
    fn refused(&self, status: i32, verb: &str, words: &[&str]) -> String {
        let output = self.run(verb, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        said
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

#[test]
fn a_second_run_changes_nothing() {
    let app = Application::new();
    app.config_map("a", "1");
    app.config_map("b", "1");
    let lines =
        |change: &str| ["a", "b"].map(|name| format!("{change} ConfigMap {}/{name}", app.namespace)).to_vec();
    assert_eq!(app.run("diff", &[]).status.code(), Some(1));
    assert_eq!(app.done("apply", &["--dry-run"]), lines("created"));
    assert!(app.config_maps().is_empty(), "a dry run writes nothing");
    assert_eq!(app.done("apply", &[]), lines("created"));
    let version = || {
        app.kubectl(&[
            "-n",
            &app.namespace,
            "get",
            "configmap",
            "a",
            "-o",
            "jsonpath={.metadata.resourceVersion}",
        ])
    };
    let before = version();
    assert_eq!(app.done("apply", &[]), lines("unchanged"));
    assert_eq!(version(), before);
    assert_eq!(app.run("diff", &[]).status.code(), Some(0));
}

#[test]
fn that_nothing_changed_is_proved_by_metadata() {
    let app = Application::new();
    let summary = |words: &[&str]| -> serde_json::Value {
        let lines = app.done("apply", &[&["-o", "json"], words].concat());
        serde_json::from_str(lines.last().unwrap()).unwrap()
    };
    for number in 0..20 {
        app.config_map(&format!("a-{number}"), "1");
    }
    let deployment = "apps/v1\nkind: Deployment\nspec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, \
        spec: {containers: [{name: c, image: none.invalid/none}]}}}";
    app.manifest("web", deployment);
    assert_eq!(summary(&[])["created"], 21);
    // The inventory, and a list of each kind; health of what has any takes a list and a watch.
    let again = summary(&["--timeout", "0"]);
    assert_eq!((&again["unchanged"], &again["requests"]), (&21.into(), &3.into()), "{again}");
    let careful = summary(&["--timeout", "0", "--paranoid"]);
    assert!(careful["unchanged"] == 21 && careful["requests"].as_u64() >= Some(24), "{careful}");

    // Whatever others do to our fields is seen, and what is not ours is not.
    app.patch_as("them", "configmap/a-0", r#"{"metadata": {"annotations": {"theirs": "1"}}}"#);
    assert_eq!(summary(&["--timeout", "0"])["requests"], 3);
    app.patch_as("them", "configmap/a-1", r#"{"data": {"value": "drift"}}"#);
    app.patch_as("them", "configmap/a-2", r#"{"data": {"value": null}}"#);
    // Under our own name.
    app.patch_as("k8s-sync/app", "configmap/a-3", r#"{"data": {"value": "drift"}}"#);
    app.kubectl(&["-n", &app.namespace, "delete", "configmap", "a-4"]);
    app.config_map("a-4", "1");
    let healed = summary(&["--timeout", "0", "--force-conflicts"]);
    assert_eq!(
        (&healed["configured"], &healed["created"], &healed["unchanged"]),
        (&3.into(), &1.into(), &17.into())
    );
    for number in 1..5 {
        assert_eq!(app.value(&format!("a-{number}")), "1");
    }
}

#[test]
fn only_what_is_its_own_is_pruned() {
    let app = Application::new();
    for name in ["a", "b", "c"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    app.kubectl(&["-n", &app.namespace, "create", "configmap", "stranger"]);
    app.remove("b");
    assert!(!app.done("apply", &[]).iter().any(|line| line.starts_with("pruned")), "only --prune prunes");
    assert_eq!(app.config_maps(), ["a", "b", "c", "stranger"]);
    assert!(app.done("apply", &["--prune"]).contains(&format!("pruned ConfigMap {}/b", app.namespace)));
    assert_eq!(app.config_maps(), ["a", "c", "stranger"]);
}

#[test]
fn kubectl_can_take_the_set_over() {
    let app = Application::new();
    for name in ["a", "b", "c"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    app.kubectl(&["-n", &app.namespace, "create", "configmap", "stranger"]);
    app.remove("b");
    let tooling = "applyset.kubernetes.io/tooling=kubectl/v1.36";
    app.kubectl(&["-n", &app.namespace, "annotate", "--overwrite", "configmap", "k8s-sync.app", tooling]);
    let mut kubectl = app.home.program(&cluster()["KUBECTL"]);
    kubectl.env("KUBECTL_APPLYSET", "true").args([
        "--kubeconfig",
        &cluster()["KUBECONFIG"],
        "-n",
        &app.namespace,
    ]);
    kubectl.args(["apply", "--server-side", "--applyset=configmap/k8s-sync.app", "--prune", "-f"]);
    let output = kubectl.arg(app.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(app.config_maps(), ["a", "c", "stranger"]);
    // And has it then.
    assert!(app.refused(2, "apply", &["--prune"]).contains("belongs to kubectl/v1.36"));
}

#[test]
fn a_source_that_lost_its_manifests_prunes_nothing() {
    let app = Application::new();
    for name in ["a", "b", "c", "d"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    for name in ["a", "b", "c"] {
        app.remove(name);
    }
    let refusal = app.refused(2, "apply", &["--prune"]);
    assert!(refusal.contains("3 of 4 objects would be pruned"), "{refusal}");
    for name in ["a", "b", "c"] {
        assert!(refusal.contains(&format!("ConfigMap {}/{name}", app.namespace)), "{refusal}");
    }
    app.remove("d");
    assert!(app.refused(2, "apply", &["--prune"]).contains("no manifest"));
    std::fs::write(app.folder().join("a.yml"), "a: [").unwrap();
    app.refused(2, "apply", &["--prune"]);
    assert_eq!(app.config_maps(), ["a", "b", "c", "d"]);
    app.config_map("a", "1");
    app.done("apply", &["--prune", "--max-prune", "100"]);
    assert_eq!(app.config_maps(), ["a"]);
}

#[test]
fn a_label_that_a_controller_copied_prunes_nothing() {
    let app = Application::new();
    app.manifest("service", "v1\nkind: Service\nspec: {selector: {a: b}, ports: [{port: 80}]}");
    // So that the inventory has the kind at all.
    app.manifest("manual", "v1\nkind: Endpoints");
    app.done("apply", &["--prune", "--timeout", "0"]);
    app.kubectl(&["-n", &app.namespace, "wait", "--for=create", "endpoints/service", "--timeout=30s"]);
    let again = app.done("apply", &["--prune", "--timeout", "0"]);
    assert!(!again.iter().any(|line| line.starts_with("pruned")), "{again:?}");
}

#[test]
fn a_namespace_in_use_is_not_pruned() {
    let app = Application::new();
    for name in ["a", "b", "c"] {
        app.config_map(name, "1");
    }
    let namespace = app.folder().join("namespace.yml");
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n", app.namespace);
    std::fs::write(&namespace, text).unwrap();
    app.done("apply", &["--prune"]);
    std::fs::remove_file(namespace).unwrap();
    assert!(app.refused(2, "apply", &["--prune"]).contains("would be pruned, with everything in it"));
    let phase = app.kubectl(&["get", "namespace", &app.namespace, "-o", "jsonpath={.status.phase}"]);
    assert_eq!(phase, "Active");
}

#[test]
fn none_may_be_pruned_means_none() {
    let app = Application::new();
    for name in ["a", "b"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    app.remove("b");
    app.refused(2, "apply", &["--prune", "--max-prune", "0"]);
    assert_eq!(app.config_maps(), ["a", "b"]);
}

#[test]
fn what_another_application_has_is_not_taken() {
    let app = Application::new();
    app.config_map("a", "1");
    app.done("apply", &[]);
    let mut command = app.home.tool("k8s-sync");
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).arg("apply").arg("other").arg("-f").arg(app.folder());
    let output = command.args(["--dest-namespace", &app.namespace, "--force-conflicts"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("belongs to another application"), "{said}");
    assert_eq!(app.done("apply", &[]), [format!("unchanged ConfigMap {}/a", app.namespace)]);
}

#[test]
fn a_value_of_the_wrong_type_is_not_worth_a_retry() {
    let app = Application::new();
    app.manifest("service", "v1\nkind: Service\nspec: {ports: [{port: eighty}]}");
    app.refused(2, "apply", &[]);
}

#[test]
fn drift_is_healed_while_the_repository_is_gone() {
    let app = Application::new();
    app.config_map("a", "1");
    let git = |words: &[&str]| {
        let done = app.home.program("git").arg("-C").arg(app.folder()).args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=a"]);
    let repository = format!("file://{}", app.folder().display());
    let mut operator = app
        .home
        .program("timeout")
        .args(["60", env!("CARGO_BIN_EXE_k8s-sync")])
        .env("KUBECONFIG", &cluster()["KUBECONFIG"])
        .args(["watch", "app", "--repo", &repository, "--revision", "main", "--poll", "1"])
        .args(["--dest-namespace", &app.namespace])
        .args(["--sync-policy", "automated", "--auto-prune", "--self-heal"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(operator.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut heard = |words: &str| assert!(said.any(|line| line.contains(words)), "never said: {words}");
    heard("is Healthy");
    std::fs::rename(app.folder(), app.home.path().join("away")).unwrap();
    heard("error: ");
    let drift = r#"{"data": {"value": "drift"}}"#;
    app.kubectl(&["-n", &app.namespace, "patch", "configmap", "a", "--type=merge", "-p", drift]);
    heard("healed in");
    assert_eq!(app.value("a"), "1");
    // `timeout` hands the signal on.
    assert!(app.home.program("kill").arg(operator.id().to_string()).status().unwrap().success());
    operator.wait().unwrap();
}

#[test]
fn only_an_automated_operator_writes_by_itself() {
    let home = Home::new();
    let output =
        home.tool("k8s-sync").args(["watch", "app", "--repo", "file:///none", "--self-heal"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--sync-policy automated"));
}

#[test]
fn a_definition_larger_than_an_annotation_may_be_is_applied() {
    let app = Application::new();
    let group = format!("{}.example.test", app.namespace);
    let fields: Vec<String> = (0..3000)
        .map(|number| {
            format!("            field-{number}: {{type: string, description: '{}'}}\n", "x".repeat(100))
        })
        .collect();
    let text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\nspec:\n  \
         group: {group}\n  scope: Namespaced\n  names: {{plural: things, singular: thing, kind: Thing}}\n  versions:\n  - name: v1\n    \
         served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n          \
         spec:\n           type: object\n           properties:\n{}",
        fields.concat()
    );
    assert!(text.len() > 400_000);
    std::fs::write(app.folder().join("crd.yml"), text).unwrap();
    app.done("apply", &[]);
    let again = app.done("apply", &[]);
    app.kubectl(&["delete", "crd", &format!("things.{group}"), "--wait=false"]);
    assert_eq!(again, [format!("unchanged CustomResourceDefinition.apiextensions.k8s.io things.{group}")]);
}

const DEGRADING: &str = "apps/v1\nkind: Deployment\nspec: {replicas: 1, progressDeadlineSeconds: 1, selector: {matchLabels: {a: b}}, \
    template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: none.invalid/none}]}}}";

#[test]
fn what_was_changed_goes_back_when_an_object_degrades() {
    let app = Application::new();
    app.config_map("a", "1");
    app.config_map("b", "1");
    app.done("apply", &["--prune"]);
    app.kubectl(&["-n", &app.namespace, "create", "configmap", "theirs", "--from-literal=value=theirs"]);
    app.config_map("a", "2");
    app.config_map("c", "1");
    app.config_map("theirs", "ours");
    app.remove("b");
    app.manifest("web", DEGRADING);
    let said = app.refused(2, "apply", &["--prune", "--force-conflicts", "--rollback-on-failure"]);
    assert!(said.contains("Degraded") || said.contains("degraded"), "{said}");
    assert!(said.contains("rolled back"), "{said}");
    assert_eq!(app.config_maps(), ["a", "b", "theirs"]);
    assert_eq!(["a", "b", "theirs"].map(|name| app.value(name)), ["1", "1", "theirs"]);
    // It goes after its pods.
    app.kubectl(&["-n", &app.namespace, "wait", "--for=delete", "deployment/web", "--timeout=60s"]);
    // What was proved of the new state is not believed of the old one.
    for name in ["web", "c", "theirs"] {
        app.remove(name);
    }
    app.config_map("a", "1");
    app.config_map("b", "1");
    app.done("apply", &[]);
    assert_eq!(app.value("a"), "1");
}

#[test]
fn a_plan_is_applied_as_it_is_or_not_at_all() {
    let app = Application::new();
    let plan = app.home.path().join("plan.json");
    let planned = ["--prune", "--plan", plan.to_str().unwrap()];
    app.config_map("a", "1");
    app.manifest("s", "v1\nkind: Secret\nstringData: {key: first-password}");
    assert_eq!(app.run("diff", &planned).status.code(), Some(1));
    let text = std::fs::read_to_string(&plan).unwrap();
    assert!(!text.contains("password") && !text.contains("Zmlyc3Q"), "{text}");
    assert!(app.config_maps().is_empty());
    // The plan knows where its manifests are.
    let mut command = app.home.tool("k8s-sync");
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args([
        "apply",
        "app",
        "--dest-namespace",
        &app.namespace,
    ]);
    let output = command.args(planned).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(app.value("a"), "1");

    let replan = || assert_eq!(app.run("diff", &planned).status.code(), Some(1));
    app.config_map("a", "2");
    replan();
    app.config_map("a", "3");
    assert!(app.refused(2, "apply", &planned).contains("a's manifest is another one"));
    replan();
    let theirs = r#"{"metadata": {"annotations": {"theirs": "1"}}}"#;
    app.kubectl(&["-n", &app.namespace, "patch", "configmap", "a", "--type=merge", "-p", theirs]);
    assert!(app.refused(2, "apply", &planned).contains("a has changed in the cluster"));
    replan();
    app.config_map("b", "1");
    assert!(app.refused(2, "apply", &planned).contains("b would be created, too"));
    assert_eq!(app.value("a"), "1");
}

#[test]
fn one_bad_manifest_keeps_all_from_being_applied() {
    let app = Application::new();
    app.config_map("a", "1");
    let bad = "apiVersion: v1\nkind: Service\nmetadata:\n  name: z\nspec:\n  nonsense: true\n";
    std::fs::write(app.folder().join("z.yml"), bad).unwrap();
    assert!(app.refused(2, "apply", &[]).contains("nonsense"));
    assert!(app.config_maps().is_empty());
    std::fs::write(
        app.folder().join("z.yml"),
        bad.replace("v1\nkind: Service", "nobody.test/v1\nkind: Thing"),
    )
    .unwrap();
    assert!(app.refused(2, "apply", &[]).contains("no kind Thing in nobody.test/v1"));
}

const LAST_APPLIED: &str =
    r#"kubectl.kubernetes.io/last-applied-configuration={"data":{"key":"Zmlyc3QtcGFzc3dvcmQ="}}"#;

#[test]
fn a_secrets_value_is_in_no_output() {
    let app = Application::new();
    let secret = |value: &str| {
        let text =
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  key: {value}\n");
        std::fs::write(app.folder().join("s.yml"), text).unwrap();
    };
    secret("first-password");
    app.done("apply", &[]);
    // As client-side apply leaves it.
    app.kubectl(&["-n", &app.namespace, "annotate", "secret", "s", LAST_APPLIED]);
    secret("second-password");
    let output = app.run("diff", &["-vv"]);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    // In base64 too.
    for value in ["password", "Zmlyc3QtcGFzc3dvcmQ", "c2Vjb25kLXBhc3N3b3Jk"] {
        assert!(!said.contains(value), "{said}");
    }
}

#[test]
fn no_cluster_may_be_tried_again() {
    let home = Home::new();
    let config = home.path().join("config");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {server: 'https://127.0.0.1:1'}\n\
        contexts:\n- name: c\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {token: secret-token}\n";
    std::fs::write(&config, text).unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
    let mut command = home.tool("k8s-sync");
    let output = command
        .env("KUBECONFIG", &config)
        .args(["apply", "app", "-f", "-"])
        .write_stdin(manifest)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(!said.contains("secret-token"), "{said}");
}
