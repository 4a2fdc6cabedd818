//! Several clusters, kept by one process.

use std::path::PathBuf;

use hermetic::{Variables, service, variables};
use serde_json::{Value, json};

use crate::world::{World, cluster, until};

/// An API server of a test's own.
struct OwnCluster {
    state: tempfile::TempDir,
    kubeconfig: String,
}

impl OwnCluster {
    fn start() -> Self {
        let mut own = Self { state: tempfile::tempdir().unwrap(), kubeconfig: String::new() };
        own.kubeconfig = own.call("up").remove("KUBECONFIG").unwrap();
        own
    }

    fn call(&self, verb: &str) -> Variables {
        let mut script = service("cluster");
        variables(script.arg(verb).env("CLUSTER_NODES", "0").env("GITOPS_STATE", self.state.path()))
    }

    fn kubectl(&self, world: &World, words: &[&str]) -> String {
        let mut command = world.home.program(&cluster()["KUBECTL"]);
        let output = command.args(["--kubeconfig", &self.kubeconfig]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn value(&self, world: &World, name: &str) -> String {
        let words = ["-n", &world.namespace, "get", "configmap", name, "-o", "jsonpath={.data.value}"];
        self.kubectl(world, &words)
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        self.call("down");
    }
}

/// A kubeconfig with the test's clusters as the contexts blue and green; and their servers.
fn blue_and_green(world: &World, green: &OwnCluster) -> (PathBuf, [String; 2]) {
    let read =
        |file: &str| -> Value { serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap() };
    let configurations = [("blue", read(&cluster()["KUBECONFIG"])), ("green", read(&green.kubeconfig))];
    let of = |list: &str, key: &str| -> Vec<Value> {
        let named =
            |(name, configuration): &(&str, Value)| json!({ "name": name, key: configuration[list][0][key] });
        configurations.iter().map(named).collect()
    };
    let contexts: Vec<Value> = ["blue", "green"]
        .map(|name| json!({ "name": name, "context": { "cluster": name, "user": name } }))
        .into();
    let both = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "blue", "contexts": contexts,
        "clusters": of("clusters", "cluster"), "users": of("users", "user"),
    });
    let file = world.home.path().join("blue-and-green.kubeconfig");
    std::fs::write(&file, both.to_string()).unwrap();
    let servers = [0, 1].map(|index: usize| {
        configurations[index].1["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned()
    });
    (file, servers)
}

fn of<'a>(kind: &'a str, application: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["kind"] == kind && event["application"] == application
}

#[test]
fn one_process_keeps_several_clusters() {
    let world = World::new();
    let green = OwnCluster::start();
    green.kubectl(&world, &["create", "namespace", &world.namespace]);
    let (kubeconfig, servers) = blue_and_green(&world, &green);
    let variables = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    world.config_map("a", "1");
    world.commit("Begin");
    // By their servers, each with its own credentials.
    let by_server = ["--dest-server", &servers[0], "--dest-server", &servers[1]];
    let mut operator = world.operator_with(&by_server, &variables);
    let labels = servers.clone().map(|server| format!("app@{}", server.trim_start_matches("https://")));
    let first = operator.until_synced()["application"].clone();
    let second = operator.until_synced()["application"].clone();
    assert!(
        first != second && labels.iter().all(|label| *label == first || *label == second),
        "{first} {second}"
    );
    assert_eq!((world.value("a").as_str(), green.value(&world, "a").as_str()), ("1", "1"));
    drop(operator);
    // By the contexts' names.
    let by_name = ["--dest-name", "blue", "--dest-name", "green"];
    let mut operator = world.operator_with(&by_name, &variables);
    operator.until_synced();
    operator.until_synced();
    world.config_map("a", "2");
    world.commit("Two");
    operator.until_synced();
    operator.until_synced();
    assert_eq!((world.value("a").as_str(), green.value(&world, "a").as_str()), ("2", "2"));
    // What is changed in one is healed there.
    let patch = [
        "-n",
        &world.namespace,
        "patch",
        "configmap",
        "a",
        "--type=merge",
        "-p",
        r#"{"data": {"value": "theirs"}}"#,
    ];
    green.kubectl(&world, &patch);
    operator.hear("green is healed", of("healed", "app@green"));
    assert_eq!(green.value(&world, "a"), "2");
    let index = operator.get("/").body;
    for cluster in ["blue", "green"] {
        let link = format!("/applications/app%40{cluster}");
        assert!(index.contains(&format!(r#"href="{link}""#)), "{index}");
        assert!(operator.get(&link).body.contains(&format!("{cluster}, namespace {}", world.namespace)));
        let synced = format!(r#"k8s_sync_sync_state{{application="app@{cluster}",state="Synced"}}"#);
        assert_eq!(operator.metric(&synced), 1);
    }
    // One that is away does not hold up the other.
    green.call("down");
    world.config_map("a", "3");
    world.commit("Three");
    operator.hear("blue is synced", of("synced", "app@blue"));
    operator.hear("green fails", of("failure", "app@green"));
    assert_eq!(world.value("a"), "3");
    until("the page says so", || operator.get("/applications/app%40green").body.contains("Newer in Git"));
}

#[test]
fn applications_of_a_file_go_to_clusters_of_their_own() {
    let world = World::new();
    let green = OwnCluster::start();
    green.kubectl(&world, &["create", "namespace", &world.namespace]);
    let (kubeconfig, servers) = blue_and_green(&world, &green);
    for folder in ["one", "two"] {
        std::fs::create_dir(world.repository().join(folder)).unwrap();
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {folder}}}\ndata: {{value: '1'}}\n");
        world.write(&format!("{folder}/a.yml"), &text);
    }
    world.commit("Begin");
    let (url, namespace) = (world.url(), &world.namespace);
    let applications = format!(
        "applications:\n- {{name: one, repo: '{url}', path: one, destName: blue}}\n---\n\
         apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: two}}\nspec:\n  project: default\n  \
         source: {{repoURL: '{url}', targetRevision: main, path: two}}\n  \
         destination: {{server: '{server}', namespace: {namespace}}}\n  syncPolicy: {{automated: {{}}}}\n",
        server = servers[1],
    );
    let file = world.home.path().join("apps.yaml");
    std::fs::write(&file, applications).unwrap();
    let words = ["-f", file.to_str().unwrap(), "--sync-policy", "automated"];
    let mut operator = world.watch(&words, &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
    operator.until_synced();
    operator.until_synced();
    assert_eq!((world.value("one").as_str(), world.value("two").as_str()), ("1", ""));
    assert_eq!((green.value(&world, "one").as_str(), green.value(&world, "two").as_str()), ("", "1"));
}
