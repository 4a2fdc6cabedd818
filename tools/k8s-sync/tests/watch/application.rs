//! The way to Argo CD: the Application that does the same is what Argo CD's own definition allows.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::world::{World, cluster, until};

/// Where the definition comes from.
const ARGO_CD: &str = "github.com/argoproj/argo-cd/v3@v3.1.0";

/// Argo CD's definition of an Application and its namespace, in the cluster.
fn argo_cd(world: &World) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let download = Command::new("go").args(["mod", "download", "-json", ARGO_CD]).output().unwrap();
        let module: serde_json::Value = serde_json::from_slice(&download.stdout).unwrap();
        let crd = Path::new(module["Dir"].as_str().unwrap()).join("manifests/crds/application-crd.yaml");
        world.kubectl(&["apply", "--server-side", "-f", crd.to_str().unwrap()]);
        // `kubectl wait` fails at once where there are no conditions yet.
        until("Argo CD's definition is established", || {
            let wait = ["wait", "--for=condition=Established", "crd/applications.argoproj.io"];
            world.try_kubectl(&wait).status.success()
        });
        world.try_kubectl(&["create", "namespace", "argocd"]);
    });
}

fn application(world: &World, words: &[&str]) -> Output {
    world
        .home
        .tool("k8s-sync")
        .env("KUBECONFIG", &cluster()["KUBECONFIG"])
        .arg("application")
        .args(words)
        .output()
        .unwrap()
}

fn printed(world: &World, words: &[&str]) -> String {
    let output = application(world, words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_option_is_carried_over() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let ignore = world.home.path().join("ignore.yml");
    std::fs::write(&ignore, "[{kind: ConfigMap, name: a, jsonPointers: [/data/value]}]").unwrap();
    let url = world.url();
    let words = [
        &world.namespace,
        "--repo",
        &url,
        "--revision",
        "main",
        "--dest-name",
        "blue",
        "--dest-namespace",
        "hello",
        "--sync-policy",
        "automated",
        "--auto-prune",
        "--self-heal",
        "--sync-option",
        "CreateNamespace=true,PruneLast=true",
        "--ignore-differences",
        ignore.to_str().unwrap(),
        "--respect-ignore-differences",
        "--paranoid",
    ];
    let text = printed(&world, &words);
    let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let spec = &document["spec"];
    assert_eq!(spec["destination"], serde_json::json!({ "namespace": "hello", "name": "blue" }));
    let options =
        ["ServerSideApply=true", "CreateNamespace=true", "PruneLast=true", "RespectIgnoreDifferences=true"];
    assert_eq!(spec["syncPolicy"]["syncOptions"], serde_json::json!(options));
    assert_eq!(spec["syncPolicy"]["automated"], serde_json::json!({ "prune": true, "selfHeal": true }));
    let rule = serde_json::json!([{ "kind": "ConfigMap", "name": "a", "jsonPointers": ["/data/value"] }]);
    assert_eq!(spec["ignoreDifferences"], rule);
    assert_eq!(spec["source"]["directory"]["recurse"], true);
    assert_eq!(spec["project"], "default");
    // What is read of it is what was said.
    let file = world.home.path().join("application.yml");
    std::fs::write(&file, &text).unwrap();
    assert_eq!(printed(&world, &["-f", file.to_str().unwrap()]), text);
    // What kustomize renders is found out by Argo CD itself, if nobody says that it is a plain folder.
    world.write("kustomization.yaml", "resources: [a.yml]\n");
    world.commit("Render it");
    let document: serde_json::Value = serde_yaml::from_str(&printed(&world, &words)).unwrap();
    assert!(document["spec"]["source"]["directory"].is_null());
}

#[test]
fn what_guards_an_application_is_carried_over() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let url = world.url();
    let project = world.home.path().join("project.yml");
    let text = "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: team}\n\
        spec: {sourceRepos: ['*'], destinations: [{server: '*', namespace: '*'}]}\n";
    std::fs::write(&project, text).unwrap();
    let words = ["web", "--repo", &url, "--project", project.to_str().unwrap()];
    let more = [
        "--sync-option=CreateNamespace=true",
        "--namespace-label=team=blue",
        "--namespace-label=tier=web",
        "--namespace-annotation=owner=me",
        "--sync-policy=automated",
        "--auto-prune",
        "--allow-empty",
        "--force-conflicts",
    ];
    let output = application(&world, &[&words[..], &more[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("the AppProject team has to be"), "{said}");
    assert!(!said.contains("--force-conflicts"), "it was said: {said}");
    let document: serde_json::Value = serde_yaml::from_slice(&output.stdout).unwrap();
    let spec = &document["spec"];
    assert_eq!(spec["project"], "team");
    let marked =
        serde_json::json!({"labels": {"team": "blue", "tier": "web"}, "annotations": {"owner": "me"}});
    assert_eq!(spec["syncPolicy"]["managedNamespaceMetadata"], marked);
    let automated = serde_json::json!({"prune": true, "selfHeal": false, "allowEmpty": true});
    assert_eq!(spec["syncPolicy"]["automated"], automated);
    // Argo CD takes what others own, and nobody has said that it may.
    let said = String::from_utf8_lossy(&application(&world, &words).stderr).into_owned();
    assert!(said.contains("Argo CD takes fields that others own"), "{said}");
    // A repository that the project does not allow is nothing to carry over.
    std::fs::write(&project, text.replace("sourceRepos: ['*']", "sourceRepos: ['https://git.test/*']"))
        .unwrap();
    let output = application(&world, &words);
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn what_an_application_can_not_say_is_refused_by_name() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let url = world.url();
    for (option, value) in [
        ("--yield-conflicts", ""),
        ("--yield-conflicts=.spec.replicas", ""),
        ("--force-conflicts=kubectl-edit", ""),
        ("--sync-option", "Force=true"),
        ("--max-prune", "10"),
        ("--rollback-on-failure", ""),
        ("--plan", "plan.json"),
        ("--dry-run", ""),
        ("--timeout", "10"),
        ("--decrypt", ""),
        ("--age-key-file", "keys.txt"),
        ("--age-key-secret", "a/b"),
        ("--cache", "cache"),
        ("--poll", "10"),
        ("--listen", "127.0.0.1:0"),
        ("--webhook-secret-file", "secret"),
        ("--lease", "a/b"),
    ] {
        let mut words = vec!["web", "--repo", &url, option];
        words.extend(Some(value).filter(|value| !value.is_empty()));
        let output = application(&world, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        let name = option.split('=').next().unwrap_or(option);
        assert!(output.status.code() == Some(2) && said.contains(name), "{option}: {output:?}");
        assert!(output.stdout.is_empty());
    }
    let twice = ["web", "--repo", &url, "--dest-name", "a", "--dest-name", "b"];
    let said = String::from_utf8_lossy(&application(&world, &twice).stderr).into_owned();
    assert!(said.contains("one destination"), "{said}");
    // How the repository is read is told, and not printed.
    for (option, value) in [
        ("--ssh-key-file", "robot.key"),
        ("--known-hosts", "robot.hosts"),
        ("--host-key-fingerprint", "SHA256:robotrobotrobotrobotrobotrobotrobotrobotrob"),
        ("--token-file", "robot.token"),
        ("--username", "robot"),
        ("--ca-file", "robot.pem"),
        ("--client-cert", "robot.crt"),
        ("--client-key", "robot.pem"),
        ("--proxy", "http://robot.test"),
        ("--connect-timeout", "7"),
        ("--silence-timeout", "7"),
    ] {
        let output = application(&world, &["web", "--repo", &url, option, value]);
        let (printed, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Files are read, and these are not there.
        assert!(output.status.success() || said.contains("can't read robot"), "{option}: {said}");
        assert!(said.contains(&format!("{option} is no part of an Application")), "{option}: {said}");
        assert!(!printed.contains("robot") && !printed.contains("imeout"), "{printed}");
    }
}

/// Argo CD itself is not here: what its controller would write is written in its place.
#[test]
fn an_application_is_applied_and_waited_for() {
    let world = World::new();
    argo_cd(&world);
    world.config_map("a", "1");
    world.commit("Begin");
    let url = world.url();
    let text =
        printed(&world, &[&world.namespace, "--repo", &url, "--sync-policy", "automated", "--self-heal"]);
    let file = world.home.path().join("application.yml");
    std::fs::write(&file, text).unwrap();
    let run = |verb: &str, seconds: &str| {
        let mut command = world.home.spawnable("k8s-sync");
        command.env("KUBECONFIG", &cluster()["KUBECONFIG"]);
        command
            .args([verb, "argo", "--dest-namespace", &world.namespace, "--timeout", seconds, "-f"])
            .arg(&file);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let applied = run("apply", "0").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(applied.status.success(), "{said}");
    let records = String::from_utf8(applied.stdout).unwrap();
    assert!(
        records.contains(&format!("created Application.argoproj.io argocd/{}", world.namespace)),
        "{records}"
    );
    let argo_writes = |sync: &str, health: &str| {
        let status = format!(
            r#"{{"status": {{"sync": {{"status": "{sync}"}}, "health": {{"status": "{health}"}}}}}}"#
        );
        let words = ["-n", "argocd", "patch", "application", &world.namespace, "--type=merge", "-p", &status];
        world.kubectl(&words);
    };
    for (sync, health, said) in [
        ("", "", "Argo CD has not looked at it yet"),
        ("OutOfSync", "Healthy", "OutOfSync"),
        ("Synced", "Progressing", "its objects are Progressing"),
    ] {
        if !sync.is_empty() {
            argo_writes(sync, health);
        }
        let output = run("wait", "1").wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(75) && words.contains(said), "{sync} {health}: {words}");
    }
    let waiting = run("wait", "60");
    argo_writes("Synced", "Healthy");
    assert!(waiting.wait_with_output().unwrap().status.success());
    argo_writes("Synced", "Degraded");
    assert_eq!(run("wait", "60").wait_with_output().unwrap().status.code(), Some(2));
    world.kubectl(&["-n", "argocd", "delete", "application", &world.namespace]);
}
