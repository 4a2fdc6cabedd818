//! What keeps a run from doing too much, and what it tells of it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Application, NEVER_HEALTHY, cluster};

const ALL_KINDS: &str = "clusterResourceWhitelist: [{group: '*', kind: '*'}]";

/// It holds a run up between what it reads and what it writes, until it is opened.
struct Gate<'a>(&'a Application);

impl<'a> Gate<'a> {
    fn before(app: &'a Application) -> Self {
        let hook = "apiVersion: v1\nkind: Service\n\
            metadata: {name: gate, annotations: {argocd.argoproj.io/hook: PreSync}}\n\
            spec: {type: LoadBalancer, ports: [{port: 80}]}\n";
        std::fs::write(app.folder().join("gate.yml"), hook).unwrap();
        Self(app)
    }

    /// Until a run has come to it.
    fn is_reached(&self) {
        self.kubectl(&["wait", "--for=create", "service/gate", "--timeout=60s"]);
    }

    fn open(&self) {
        let address = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}"#;
        self.kubectl(&["patch", "service", "gate", "--subresource=status", "--type=merge", "-p", address]);
    }

    fn kubectl(&self, words: &[&str]) {
        self.0.kubectl(&[&["-n", &self.0.namespace], words].concat());
    }
}

fn project(app: &Application, spec: &str) -> String {
    let file = app.home.path().join("project.yml");
    std::fs::write(
        &file,
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {{name: team}}\nspec: {{{spec}}}\n"
        ),
    )
    .unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_project_is_not_left() {
    let app = Application::new();
    app.config_map("a", "1");
    let here = format!("destinations: [{{server: '*', namespace: '{}'}}]", app.namespace);
    let with = |spec: &str| project(&app, spec);
    let allowed = with(&here);
    app.done("apply", &["--project", &allowed]);

    app.manifest("role", "rbac.authorization.k8s.io/v1\nkind: ClusterRole\nrules: []");
    let said = app.refused(2, "apply", &["--project", &allowed]);
    assert!(said.contains("ClusterRole") && said.contains("outside the project team"), "{said}");
    app.remove("role");
    let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: kube-system}\n";
    std::fs::write(app.folder().join("b.yml"), elsewhere).unwrap();
    let said = app.refused(2, "apply", &["--project", &allowed]);
    assert!(said.contains("kube-system/b is outside"), "{said}");
    app.remove("b");

    app.config_map("c", "1");
    let no_maps = format!("{here}, namespaceResourceBlacklist: [{{group: '', kind: ConfigMap}}]");
    app.refused(2, "diff", &["--project", &with(&no_maps)]);
    assert_eq!(app.config_maps(), ["a"], "nothing is applied of a set that is refused");
    let other_cluster = "destinations: [{server: 'https://elsewhere.test', namespace: '*'}]";
    app.refused(2, "apply", &["--project", &with(other_cluster)]);
    let windows = format!("{here}, {ALL_KINDS}, syncWindows: [{{kind: deny}}]");
    assert!(app.refused(2, "apply", &["--project", &with(&windows)]).contains("spec.syncWindows"));

    let repositories = with(&format!("{here}, sourceRepos: ['https://git.test/team/*']"));
    let mut command = app.home.tool("k8s-sync");
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]);
    command.args(["apply", "app", "--repo", "https://git.test/others/app.git", "--project", &repositories]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("sourceRepos"), "{said}");
}

#[test]
fn an_option_that_means_nothing_is_refused() {
    let app = Application::new();
    app.config_map("a", "1");
    assert!(app.refused(2, "wait", &["--plan", "plan.json"]).contains("--plan"));
    assert!(app.refused(2, "watch", &["--rollback-on-failure"]).contains("--rollback-on-failure"));
}

#[test]
fn what_stays_for_want_of_pruning_is_named() {
    let app = Application::new();
    for name in ["a", "b", "c"] {
        app.config_map(name, "1");
    }
    app.done("apply", &[]);
    app.remove("b");
    let name = format!("ConfigMap {}/b", app.namespace);
    for (verb, words) in [("diff", &[][..]), ("apply", &["--dry-run"]), ("apply", &[])] {
        let output = app.run(verb, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = format!("no longer in the source, stays without --prune: {name}\n");
        assert!(output.status.success() && said.contains(&told), "{verb}: {said}");
    }
    let output = app.run("apply", &["--prune"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("no longer in the source"));
    assert_eq!(app.config_maps(), ["a", "c"]);
}

#[test]
fn everything_goes_only_where_that_is_said() {
    let app = Application::new();
    for name in ["a", "b"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    for name in ["a", "b"] {
        app.remove(name);
    }
    app.refused(2, "apply", &["--prune"]);
    app.refused(2, "apply", &["--prune", "--allow-empty"]);
    assert_eq!(app.config_maps(), ["a", "b"]);
    let all = ["--prune", "--allow-empty", "--max-prune", "100"];
    assert_eq!(app.run("diff", &all).status.code(), Some(1));
    assert_eq!(app.done("apply", &[&all[..], &["--dry-run"]].concat()).len(), 2);
    assert_eq!(app.done("apply", &all).len(), 2);
    assert!(app.config_maps().is_empty());
    assert!(app.done("apply", &all).is_empty());
    std::fs::remove_dir(app.folder()).unwrap();
    app.refused(2, "apply", &all);
}

#[test]
fn what_has_changed_since_it_was_read_is_pruned_only_if_it_still_may() {
    let app = Application::new();
    for name in ["a", "anew", "kept", "labelled", "stays"] {
        app.config_map(name, "1");
    }
    app.done("apply", &[]);
    for name in ["anew", "kept", "labelled"] {
        app.remove(name);
    }
    let gate = Gate::before(&app);
    let kubectl = |words: &[&str]| app.kubectl(&[&["-n", &app.namespace], words].concat());
    std::thread::scope(|scope| {
        let run = scope.spawn(|| app.done("apply", &["--prune", "--max-prune", "100", "--timeout", "60"]));
        gate.is_reached();
        let id = kubectl(&[
            "get",
            "configmap",
            "a",
            "-o",
            r"jsonpath={.metadata.labels.applyset\.kubernetes\.io/part-of}",
        ]);
        kubectl(&["delete", "configmap", "anew"]);
        kubectl(&["create", "configmap", "anew", "--from-literal=value=theirs"]);
        kubectl(&["label", "configmap", "anew", &format!("applyset.kubernetes.io/part-of={id}")]);
        kubectl(&["annotate", "configmap", "kept", "argocd.argoproj.io/sync-options=Prune=false"]);
        kubectl(&["label", "configmap", "labelled", "theirs=1"]);
        gate.open();
        let lines = run.join().unwrap();
        let pruned: Vec<&String> = lines.iter().filter(|line| line.starts_with("pruned")).collect();
        assert_eq!(pruned, [&format!("pruned ConfigMap {}/labelled", app.namespace)]);
    });
    assert_eq!(app.config_maps(), ["a", "anew", "kept", "stays"]);
    assert_eq!(app.value("anew"), "theirs");
}

#[test]
fn an_object_that_is_deleted_under_a_runs_hands_is_made_again() {
    let app = Application::new();
    app.config_map("a", "1");
    app.done("apply", &["--prune"]);
    app.config_map("a", "2");
    let gate = Gate::before(&app);
    let kubectl = |words: &[&str]| app.kubectl(&[&["-n", &app.namespace], words].concat());
    let uid = || kubectl(&["get", "configmap", "a", "-o", "jsonpath={.metadata.uid}"]);
    let first = uid();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| app.done("apply", &["--prune", "--timeout", "60"]));
        gate.is_reached();
        app.hold("configmap/a", &["test.invalid/held"]);
        kubectl(&["delete", "configmap", "a", "--wait=false"]);
        gate.open();
        // It has applied to what is on its way out.
        kubectl(&["wait", "--for=jsonpath={.data.value}=2", "configmap/a", "--timeout=60s"]);
        app.hold("configmap/a", &[]);
        run.join().unwrap();
    });
    assert_eq!(app.value("a"), "2");
    assert_ne!(uid(), first);
}

#[test]
fn a_run_that_is_interrupted_says_what_may_be_half_done() {
    let app = Application::new();
    app.config_map("a", "1");
    let gate = Gate::before(&app);
    let run = app.command("apply", &["--timeout", "60"]).stderr(Stdio::piped()).spawn().unwrap();
    gate.is_reached();
    terminate(&run);
    let said = terminated(run);
    assert!(said.contains("interrupted while objects were written"), "{said}");
}

/// A run that waits for what never gets healthy, when `done` has come of what it wrote.
fn waits_in_vain(app: &Application, done: &[&str]) -> Child {
    app.manifest("web", NEVER_HEALTHY);
    let words = ["--prune", "--timeout", "60", "--rollback-on-failure"];
    let run = app.command("apply", &words).stderr(Stdio::piped()).spawn().unwrap();
    app.kubectl(&[&["-n", &app.namespace, "wait", "--timeout=60s"], done].concat());
    run
}

fn terminate(run: &Child) {
    assert!(Command::new("kill").arg(run.id().to_string()).status().unwrap().success());
}

/// What a run said that a signal has ended.
fn terminated(run: Child) -> String {
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.signal(), Some(15), "{said}");
    said
}

#[test]
fn what_was_changed_goes_back_at_a_signal() {
    let app = Application::new();
    app.config_map("a", "1");
    app.config_map("b", "1");
    app.done("apply", &["--prune"]);
    app.config_map("a", "2");
    app.remove("b");
    let run = waits_in_vain(&app, &["--for=delete", "configmap/b"]);
    assert_eq!(app.value("a"), "2");
    terminate(&run);
    let said = terminated(run);
    assert!(said.contains("error: rolled back 3 objects: interrupted by a signal"), "{said}");
    assert_eq!(app.config_maps(), ["a", "b"]);
    assert_eq!(app.value("a"), "1");
}

#[test]
fn another_signal_ends_a_run_that_goes_back() {
    let app = Application::new();
    app.config_map("a", "1");
    app.done("apply", &["--prune"]);
    app.hold("configmap/a", &["test.invalid/held"]);
    app.remove("a");
    let mut run = waits_in_vain(&app, &["--for=jsonpath={.metadata.deletionTimestamp}", "configmap/a"]);
    // It waits until the object is gone, to make it again.
    while run.try_wait().unwrap().is_none() {
        terminate(&run);
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = terminated(run);
    app.hold("configmap/a", &[]);
    assert!(said.contains("what was changed goes back"), "{said}");
    assert!(said.contains("interrupted while objects were written"), "{said}");
}

#[test]
fn what_is_deleted_and_stays_is_told_of() {
    let app = Application::new();
    app.config_map("a", "1");
    app.config_map("b", "1");
    app.done("apply", &["--prune"]);
    app.hold("configmap/a", &["test.invalid/held"]);
    app.remove("a");
    let output = app.run("apply", &["--prune"]);
    app.hold("configmap/a", &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("a is being deleted, and stays") && said.contains("test.invalid/held"), "{said}");
}

#[test]
fn waiting_is_for_what_is_not_there() {
    let app = Application::new();
    app.config_map("a", "1");
    let waited = |status: i32| {
        let output = app.run("wait", &["--timeout", "2", "-o", "json"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}");
        serde_json::from_str::<serde_json::Value>(said.lines().last().unwrap()).unwrap()
    };
    let failed = waited(75);
    assert_eq!((&failed["kind"], &failed["healthy"]), (&"summary".into(), &false.into()));
    assert!(failed["error"]["message"].as_str().unwrap().contains("not in the cluster yet"), "{failed}");
    app.done("apply", &[]);
    assert_eq!(waited(0)["synced"], true);
    app.config_map("a", "2");
    assert_eq!(waited(0)["synced"], false);
    // Somebody else may have brought it.
    app.kubectl(&["-n", &app.namespace, "create", "configmap", "theirs", "--from-literal=value=1"]);
    app.config_map("theirs", "1");
    assert_eq!(waited(0)["healthy"], true);
}

#[test]
fn the_namespace_is_marked() {
    let app = Application::new();
    app.config_map("a", "1");
    let label = |value: &str| format!("--namespace-label=team={value}");
    let note = "--namespace-annotation=note=of a team, and more";
    let create = ["--sync-option", "CreateNamespace=true"];
    let run = |words: &[&str]| app.done("apply", &[&create[..], words].concat());
    let configured = format!("configured Namespace {}", app.namespace);
    assert!(run(&[&label("x"), note]).contains(&configured));
    let read = || {
        let path = "jsonpath={.metadata.labels.team} {.metadata.annotations.note}";
        app.kubectl(&["get", "namespace", &app.namespace, "-o", path])
    };
    assert_eq!(read(), "x of a team, and more");
    assert!(!run(&[&label("x"), note]).contains(&configured));
    assert!(run(&[&label("y")]).contains(&configured));
    assert_eq!(read(), "y ");
    assert!(app.refused(2, "apply", &["--namespace-label=a=b"]).contains("CreateNamespace=true"));
}

#[test]
fn whose_fields_are_taken_is_said_by_manager_and_by_field() {
    let app = Application::new();
    let data = |value: &str| {
        app.manifest("a", &format!("v1\nkind: ConfigMap\ndata: {{value: '{value}', other: '{value}'}}"));
    };
    data("1");
    app.done("apply", &[]);
    let theirs = |field: &str, by: &str| {
        let patch = format!("{{\"data\": {{\"{field}\": \"theirs\"}}}}");
        app.patch_as(by, "configmap/a", &patch);
    };
    theirs("value", "one");
    theirs("other", "two");
    let said = app.refused(2, "apply", &["--force-conflicts=one"]);
    assert!(said.contains(".data.other is owned by two") && !said.contains("owned by one"), "{said}");
    let output = app.run("apply", &["--force-conflicts=one", "--yield-conflicts=.data.other"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("left .data.other of ConfigMap"), "{said}");
    let read = || {
        app.kubectl(&[
            "-n",
            &app.namespace,
            "get",
            "configmap",
            "a",
            "-o",
            "jsonpath={.data.value} {.data.other}",
        ])
    };
    assert_eq!(read(), "1 theirs");
    app.done("apply", &["--force-conflicts", "--yield-conflicts=nobody"]);
    assert_eq!(read(), "1 1");
    app.refused(2, "apply", &["--force-conflicts", "--yield-conflicts"]);
}

#[test]
fn a_dry_run_says_what_the_run_says() {
    let app = Application::new();
    app.config_map("a", "1");
    app.config_map("gone", "1");
    app.config_map("stays", "1");
    app.done("apply", &["--prune"]);
    app.remove("gone");
    app.config_map("a", "2");
    let hook = |name: &str, phase: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{argocd.argoproj.io/hook: {phase}}}}}\n"
        );
        std::fs::write(app.folder().join(format!("{name}.yml")), text).unwrap();
    };
    hook("before", "PreSync");
    hook("after", "PostSync");
    let words = ["--prune", "--sync-option", "CreateNamespace=true", "--namespace-label", "a=b"];
    let foretold = app.done("apply", &[&words[..], &["--dry-run"]].concat());
    assert_eq!(app.value("a"), "1");
    assert_eq!(foretold, app.done("apply", &words));
    assert_eq!(foretold.len(), 6, "{foretold:?}");
    let bad = "apiVersion: v1\nkind: ConfigMap\nnonsense: 1\nmetadata: {name: bad, annotations: {argocd.argoproj.io/hook: PostSync}}\n";
    std::fs::write(app.folder().join("bad.yml"), bad).unwrap();
    assert!(app.refused(2, "apply", &["--dry-run"]).contains("nonsense"));
}

#[test]
fn a_pipeline_gets_reports() {
    let app = Application::new();
    let (junit, metrics) = (app.home.path().join("junit.xml"), app.home.path().join("metrics.txt"));
    let words = ["--junit", junit.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
    let read = |path| std::fs::read_to_string(path).unwrap();
    app.config_map("a", "1");
    assert_eq!(app.run("diff", &words).status.code(), Some(1));
    let case = format!(r#"<testcase classname="ConfigMap" name="{}/a" time="0.000">"#, app.namespace);
    assert!(
        read(&junit).contains(&case) && read(&junit).contains("+  value: &apos;1&apos;"),
        "{}",
        read(&junit)
    );
    app.done("apply", &words);
    assert!(read(&junit).contains(r#"failures="0""#), "{}", read(&junit));
    let created = r#"k8s_sync_objects{application="app",change="created"} 1"#;
    assert!(
        read(&metrics).contains(created)
            && read(&metrics).contains(r#"k8s_sync_healthy{application="app"} 1"#)
    );
    app.manifest("bad", "v1\nkind: Service\nspec: {nonsense: 1}");
    app.refused(2, "apply", &words);
    assert!(
        read(&junit).contains(r#"failures="1""#) && read(&junit).contains("nonsense"),
        "{}",
        read(&junit)
    );
    assert!(read(&metrics).contains(r#"k8s_sync_synced{application="app"} 0"#), "{}", read(&metrics));
}

#[test]
fn an_object_on_its_way_out_is_made_again() {
    let app = Application::new();
    for name in ["a", "b"] {
        app.config_map(name, "1");
    }
    app.done("apply", &["--prune"]);
    app.hold("configmap/a", &["test.invalid/held"]);
    app.kubectl(&["-n", &app.namespace, "delete", "configmap", "a", "--wait=false"]);
    let said = app.refused(75, "apply", &["--timeout", "2"]);
    assert!(said.contains("a is still being deleted: see its finalizers"), "{said}");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| app.done("apply", &["--timeout", "60"]));
        app.hold("configmap/a", &[]);
        let created = format!("created ConfigMap {}/a", app.namespace);
        assert!(run.join().unwrap().contains(&created));
    });
    assert_eq!(app.config_maps(), ["a", "b"]);
}

#[test]
fn a_secrets_value_is_in_no_refusal() {
    let app = Application::new();
    app.manifest("s", "v1\nkind: Secret\nstringData: {pin: 12345}");
    let said = app.refused(2, "apply", &[]);
    assert!(said.contains(".stringData.pin") && !said.contains("12345"), "{said}");
    app.manifest("s", "v1\nkind: Secret\ndata: {pin: '%12345'}");
    let said = app.refused(2, "apply", &[]);
    assert!(said.contains("base64") && !said.contains("12345"), "{said}");
}

#[test]
fn both_places_of_an_object_are_told() {
    let app = Application::new();
    app.config_map("a", "1");
    std::fs::copy(app.folder().join("a.yml"), app.folder().join("b.yaml")).unwrap();
    let said = app.refused(2, "apply", &[]);
    assert!(
        said.contains("is in the source twice") && said.contains("a.yml") && said.contains("b.yaml"),
        "{said}"
    );
    assert!(app.config_maps().is_empty());
}

#[test]
fn a_quota_is_no_question_of_permission() {
    let app = Application::new();
    app.manifest("a-quota", "v1\nkind: ResourceQuota\nspec: {hard: {count/secrets: 0}}");
    app.done("apply", &["--timeout", "0"]);
    let status = "jsonpath={.status.hard}";
    app.kubectl(&["-n", &app.namespace, "wait", "--for", status, "resourcequota/a-quota", "--timeout=60s"]);
    app.manifest("s", "v1\nkind: Secret");
    let said = app.refused(2, "apply", &["--timeout", "0"]);
    assert!(said.contains("exceeded quota") && said.contains("hint: the account may, but"), "{said}");
}

#[test]
fn a_missing_namespace_is_explained() {
    let app = Application::new();
    app.config_map("a", "1");
    let mut command = app.home.tool("k8s-sync");
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args(["apply", "app", "--dest-namespace", "nowhere"]);
    let output = command.arg("-f").arg(app.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("CreateNamespace=true"), "{said}");
}

#[test]
fn what_can_never_change_is_named_for_every_kind() {
    let app = Application::new();
    let template = "template: {metadata: {labels: {a: b}}, spec: {restartPolicy: RESTART, containers: [{name: c, image: none.invalid/IMAGE}]}}";
    let pod = |restart: &str, image: &str| template.replace("RESTART", restart).replace("IMAGE", image);
    let binding = |role: &str| {
        format!(
            "rbac.authorization.k8s.io/v1\nkind: RoleBinding\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}"
        )
    };
    let set = |service: &str| {
        format!(
            "apps/v1\nkind: StatefulSet\nspec: {{replicas: 0, serviceName: {service}, selector: {{matchLabels: {{a: b}}}}, {}}}",
            pod("Always", "x")
        )
    };
    let claim = |class: &str| {
        format!(
            "v1\nkind: PersistentVolumeClaim\nspec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}"
        )
    };
    let job = |image: &str| format!("batch/v1\nkind: Job\nspec: {{suspend: true, {}}}", pod("Never", image));
    for (name, before, after, field) in [
        ("binding", binding("one"), binding("two"), "roleRef can't change"),
        ("set", set("one"), set("two"), "spec can't change"),
        ("claim", claim("one"), claim("two"), "spec can't change"),
        ("job", job("one"), job("two"), "spec.template.spec can't change"),
    ] {
        app.manifest(name, &before);
        app.done("apply", &["--timeout", "0"]);
        app.manifest(name, &after);
        let said = app.refused(2, "apply", &["--timeout", "0"]);
        assert!(said.contains(field) && said.contains("Replace=true,Force=true"), "{name}: {said}");
        app.remove(name);
    }
}
