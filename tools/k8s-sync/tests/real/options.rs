//! Sync options, of the application and of objects.

use crate::{Application, cluster};

fn config_map(app: &Application, name: &str, options: &str, rest: &str) {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{argocd.argoproj.io/sync-options: '{options}'}}}}\n{rest}\n"
    );
    std::fs::write(app.folder().join(format!("{name}.yml")), text).unwrap();
}

fn field(app: &Application, name: &str, path: &str) -> String {
    app.kubectl(&["-n", &app.namespace, "get", "configmap", name, "-o", &format!("jsonpath={{{path}}}")])
}

#[test]
fn an_option_that_there_is_not_is_refused() {
    let app = Application::new();
    app.config_map("a", "1");
    let said = app.refused(2, "apply", &["--sync-option", "PruneLats=true"]);
    assert!(said.contains("`PruneLats=true` is no sync option"), "{said}");
    config_map(&app, "a", "Prune=fasle", "");
    let said = app.refused(2, "apply", &[]);
    assert!(said.contains("a.yml") && said.contains("`Prune=fasle`"), "{said}");
    assert!(app.config_maps().is_empty());
}

#[test]
fn the_namespace_is_made_where_that_is_asked_for() {
    let app = Application::new();
    app.config_map("a", "1");
    let other = format!("{}-new", app.namespace);
    let apply = |words: &[&str]| {
        let mut command = app.home.tool("k8s-sync");
        command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args(["apply", "app", "-f"]);
        command.arg(app.folder()).args(["--dest-namespace", &other]).args(words).output().unwrap()
    };
    assert!(!apply(&[]).status.success());
    let output = apply(&["--sync-option", "CreateNamespace=true"]);
    let lines = format!("created Namespace {other}\ncreated ConfigMap {other}/a\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines, "{}", String::from_utf8_lossy(&output.stderr));
    let again = apply(&["--sync-option", "CreateNamespace=true"]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), format!("unchanged ConfigMap {other}/a\n"));
    app.kubectl(&["delete", "namespace", &other, "--wait=false"]);
}

#[test]
fn replacing_takes_away_what_others_added() {
    let app = Application::new();
    config_map(&app, "a", "Replace=true", "data: {value: '1'}");
    app.done("apply", &[]);
    let theirs = r#"{"data": {"theirs": "1"}}"#;
    app.kubectl(&["-n", &app.namespace, "patch", "configmap", "a", "--type=merge", "-p", theirs]);
    config_map(&app, "a", "Replace=true", "data: {value: '2'}");
    app.done("apply", &[]);
    assert_eq!(field(&app, "a", ".data"), r#"{"value":"2"}"#);
    assert!(app.done("apply", &[])[0].starts_with("unchanged"));
}

#[test]
fn what_can_not_change_is_made_again_by_force() {
    let app = Application::new();
    let write = |value: &str| {
        config_map(&app, "a", "Force=true", &format!("immutable: true\ndata: {{value: '{value}'}}"));
    };
    write("1");
    app.done("apply", &[]);
    let before = field(&app, "a", ".metadata.uid");
    write("2");
    app.done("apply", &[]);
    assert_eq!(app.value("a"), "2");
    assert_ne!(field(&app, "a", ".metadata.uid"), before);
}

#[test]
fn pruning_goes_as_the_objects_say() {
    let app = Application::new();
    config_map(&app, "kept", "Prune=false", "");
    config_map(&app, "asked", "Prune=confirm", "");
    config_map(&app, "last", "PruneLast=true,PrunePropagationPolicy=background", "");
    for name in ["a", "gone", "stays"] {
        app.config_map(name, "1");
    }
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {argocd.argoproj.io/sync-options: PrunePropagationPolicy=orphan}}\n\
        spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: none.invalid/none}]}}}\n";
    std::fs::write(app.folder().join("web.yml"), web).unwrap();
    app.done("apply", &["--prune"]);
    for name in ["kept", "asked", "last", "gone", "web"] {
        app.remove(name);
    }
    let lines = app.done("apply", &["--prune", "--max-prune", "100"]);
    let pruned: Vec<&String> = lines.iter().filter(|line| line.starts_with("pruned")).collect();
    let gone = |name: &str| format!("pruned ConfigMap {}/{name}", app.namespace);
    let web = format!("pruned Deployment.apps {}/web", app.namespace);
    assert_eq!(pruned, [&web, &gone("gone"), &gone("last")], "the last kinds first");
    let orphan = app.kubectl(&["-n", &app.namespace, "get", "replicasets", "-l", "a=b", "-o", "name"]);
    assert_eq!(orphan.lines().count(), 1, "what it made stays");
    let approved = "argocd.argoproj.io/deletion-approved=2026-01-01T00:00:00Z";
    app.kubectl(&["-n", &app.namespace, "annotate", "configmap", "asked", approved]);
    app.done("apply", &["--prune", "--max-prune", "100"]);
    assert_eq!(app.config_maps(), ["a", "kept", "stays"]);
}

#[test]
fn a_kind_may_come_while_the_sync_is_under_way() {
    let app = Application::new();
    let group = format!("{}.late.test", app.namespace);
    let thing = |options: &str| {
        let text = format!(
            "apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: thing, annotations: {{argocd.argoproj.io/sync-options: '{options}'}}}}\n"
        );
        std::fs::write(app.folder().join("thing.yml"), text).unwrap();
    };
    thing("Prune=true");
    assert!(app.refused(2, "apply", &[]).contains("the cluster has no kind Thing"));
    thing("SkipDryRunOnMissingResource=true");
    app.config_map("a", "1");
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\n\
         spec: {{group: {group}, scope: Cluster, names: {{kind: Thing, plural: things}}, versions: [{{name: v1, served: true, storage: true,\n\
         \x20 schema: {{openAPIV3Schema: {{type: object}}}}}}]}}\n"
    );
    let file = app.home.path().join("definition.yml");
    std::fs::write(&file, definition).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| app.done("apply", &["--timeout", "60"]));
        // Applied first, so that the sync is under way.
        app.kubectl(&["-n", &app.namespace, "wait", "--for=create", "configmap/a", "--timeout=60s"]);
        app.kubectl(&["create", "-f", file.to_str().unwrap()]);
        assert_eq!(run.join().unwrap().len(), 2);
    });
    app.kubectl(&["get", &format!("things.{group}"), "thing"]);
    app.kubectl(&["delete", "crd", &format!("things.{group}"), "--wait=false"]);
}

#[test]
fn what_kubectl_applied_stays_its_own_where_that_is_asked_for() {
    let app = Application::new();
    let file = app.home.path().join("old.yml");
    let old = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {value: '1', forgotten: 'yes'}\n";
    std::fs::write(&file, old).unwrap();
    app.kubectl(&["-n", &app.namespace, "apply", "-f", file.to_str().unwrap()]);
    app.config_map("a", "1");
    let keeping = ["--sync-option", "ClientSideApplyMigration=false"];
    app.done("apply", &keeping);
    let path = "jsonpath={.metadata.managedFields[*].manager} {.metadata.annotations}";
    let all =
        app.kubectl(&["-n", &app.namespace, "get", "configmap", "a", "--show-managed-fields", "-o", path]);
    for kept in ["k8s-sync/app", "kubectl-client-side-apply", "last-applied-configuration"] {
        assert!(all.contains(kept), "{all}");
    }
    assert_eq!(field(&app, "a", ".data.forgotten"), "yes");
    // So are its values.
    app.config_map("a", "2");
    let said = app.refused(2, "apply", &keeping);
    assert!(said.contains(".data.value is owned by kubectl-client-side-apply"), "{said}");
    app.done("apply", &[&keeping[..], &["--force-conflicts"]].concat());
    assert_eq!((app.value("a"), field(&app, "a", ".data.forgotten")), ("2".to_owned(), "yes".to_owned()));
}

#[test]
fn health_that_is_to_be_ignored_is_not_waited_for() {
    let app = Application::new();
    // Nobody gives it an address.
    let balanced = |ignored: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{argocd.argoproj.io/sync-wave: '-1', \
             argocd.argoproj.io/ignore-healthcheck: '{ignored}'}}}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
        );
        std::fs::write(app.folder().join("web.yml"), text).unwrap();
    };
    app.config_map("late", "1");
    balanced("false");
    let said = app.refused(75, "apply", &["--timeout", "1"]);
    assert!(said.contains("web is Progressing"), "{said}");
    assert!(app.config_maps().is_empty(), "its wave is not over");
    balanced("true");
    app.done("apply", &["--timeout", "60"]);
    assert_eq!(app.config_maps(), ["late"]);
    app.done("wait", &["--timeout", "60"]);
}
