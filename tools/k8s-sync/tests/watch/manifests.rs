//! The manifests for the cluster: what they allow is what the operator needs, and not more.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::world::{World, cluster, until};

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde_json::to_value(serde_yaml::Value::deserialize(document).unwrap()).unwrap())
        .collect()
}

/// A kubeconfig of the operator's service account.
fn account(world: &World) -> PathBuf {
    let token = world.kubectl(&["-n", "k8s-sync", "create", "token", "k8s-sync"]);
    let text = std::fs::read_to_string(&cluster()["KUBECONFIG"]).unwrap();
    let mut configuration: Value = serde_yaml::from_str(&text).unwrap();
    configuration["users"][0]["user"] = json!({ "token": token.trim() });
    let file = world.home.path().join("account.kubeconfig");
    std::fs::write(&file, configuration.to_string()).unwrap();
    file
}

#[test]
fn the_account_may_do_what_the_operator_needs_and_no_more() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/k8s-sync.yml");
    let manifest = std::fs::read_to_string(folder)
        .unwrap()
        .replace("namespace: hello\n", &format!("namespace: {}\n", world.namespace));
    let file = world.home.path().join("k8s-sync.yml");
    std::fs::write(&file, &manifest).unwrap();
    // An earlier run's may still be on its way out.
    until("it is installed", || {
        world.try_kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]).status.success()
    });
    // The example's manifests, which bring their namespace, too.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hello-python-manifests/manifests");
    for (from, to) in [
        ("namespace.yml", "namespace.yml"),
        ("config.yml", "config.yml"),
        ("service.yml", "service.yml"),
        ("deployment.yml.tmpl", "deployment.yml"),
    ] {
        let text = std::fs::read_to_string(example.join(from)).unwrap();
        world.write(to, &text.replace(": hello\n", &format!(": {}\n", world.namespace)));
    }
    world.commit("Begin");
    // As the Deployment says, but for what is the machine's own.
    let documents = documents(&manifest);
    let deployment = documents.iter().find(|document| document["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let words: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(
        (&container["command"], &words[..2]),
        (&json!(["k8s-sync"]), &["watch", "$(APPLICATION)"][..])
    );
    let variables: Vec<(&str, &str)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap()))
        .filter(|(name, _)| !["K8S_SYNC_CACHE", "K8S_SYNC_LISTEN"].contains(name))
        .collect();
    let (url, account) = (world.url(), account(&world));
    let own = [("K8S_SYNC_REPO", url.as_str()), ("KUBECONFIG", account.to_str().unwrap())];
    let words = [&["app"][..], &words[2..]].concat();
    let mut operator = world.watch(&words, &[&variables[..], &own[..]].concat());
    assert_eq!(operator.until_synced()["created"], 3);
    operator.hear("a watch", |event| event["kind"] == "health");
    world.kubectl(&["-n", &world.namespace, "delete", "service", "hello-python"]);
    operator.hear_kind("healed");
    std::fs::remove_file(world.repository().join("service.yml")).unwrap();
    world.commit("Do without the service");
    assert_eq!(operator.until_synced()["pruned"], 1);
    let lease = world.kubectl(&[
        "-n",
        "k8s-sync",
        "get",
        "lease",
        "k8s-sync",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ]);
    assert!(!lease.is_empty());
    let reasons = ["-n", &world.namespace, "get", "events", "-o", "jsonpath={.items[*].reason}"];
    until("events", || world.kubectl(&reasons).contains("Healed"));
    let refused: Vec<Value> = operator
        .heard_lately()
        .into_iter()
        .filter(|event| event["message"].as_str().unwrap_or_default().contains("forbidden"))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let can = |words: &[&str]| {
        let asked = [&["auth", "can-i", "--as=system:serviceaccount:k8s-sync:k8s-sync"], words].concat();
        String::from_utf8(world.try_kubectl(&asked).stdout).unwrap().trim() == "yes"
    };
    for words in [
        &["patch", "deployments.apps", "-n", &world.namespace][..],
        &["create", "namespaces"],
        &["list", "mutatingwebhookconfigurations"],
        &["get", "secrets/age-keys", "-n", "k8s-sync"],
    ] {
        assert!(can(words), "{words:?}");
    }
    for words in [
        &["list", "secrets", "-A"][..],
        &["get", "secrets", "-n", "kube-system"],
        &["get", "secrets/k8s-sync", "-n", "k8s-sync"],
        &["patch", "deployments.apps", "-n", "k8s-sync"],
        &["create", "pods", "-n", &world.namespace],
        &["create", "rolebindings", "-n", &world.namespace],
        &["delete", "namespaces"],
        &["patch", "mutatingwebhookconfigurations"],
    ] {
        assert!(!can(words), "{words:?}");
    }
    drop(operator);
    world.kubectl(&["delete", "--ignore-not-found", "--wait=false", "-f", file.to_str().unwrap()]);
}
