//! Whose a field is: what others have, leave, scale or applied before, and what can't change or is ignored.

use crate::{Application, NEVER_HEALTHY};

#[test]
fn replicas_that_an_autoscaler_sets_are_left_alone() {
    let app = Application::new();
    let deployment = "apps/v1\nkind: Deployment\nspec:\n  replicas: 0\n  selector: {matchLabels: {a: b}}\n  template:\n    \
        metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: none.invalid/none}]}";
    app.manifest("web", deployment);
    app.done("apply", &["--timeout", "0"]);
    let scale = |by: &str, to: &str| {
        let patch = format!("[{{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":{to}}}]");
        let words = ["patch", "deployment/web", "--subresource=scale", "--type=json", "-p", &patch];
        app.kubectl(&[&words[..], &["-n", &app.namespace, "--field-manager", by]].concat());
    };
    let replicas = || {
        app.kubectl(&["-n", &app.namespace, "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"])
    };
    app.kubectl(&["-n", &app.namespace, "autoscale", "deployment", "web", "--max=3"]);
    // The autoscaler is part of the controller manager.
    scale("kube-controller-manager", "2");
    app.done("apply", &["--timeout", "0", "--force-conflicts"]);
    assert_eq!(replicas(), "2");
    // Without the autoscaler its number is nobody's, and Git's counts again.
    app.kubectl(&["-n", &app.namespace, "delete", "hpa", "web"]);
    app.done("apply", &["--timeout", "0"]);
    assert_eq!(replicas(), "0");
    scale("somebody", "1");
    assert!(app.refused(2, "apply", &["--timeout", "0"]).contains(".spec.replicas is owned by somebody"));
}

#[test]
fn an_autoscaler_of_the_same_set_has_the_replicas() {
    let app = Application::new();
    let web = |image: &str| {
        let text = format!(
            "apps/v1\nkind: Deployment\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    \
             metadata: {{labels: {{a: b}}}}\n    spec: {{containers: [{{name: c, image: none.invalid/{image}}}]}}"
        );
        app.manifest("web", &text);
    };
    web("first");
    let autoscaler = "autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: {minReplicas: 2, maxReplicas: 3, scaleTargetRef: \
        {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}";
    app.manifest("scaler", autoscaler);
    app.done("apply", &["--timeout", "0"]);
    let scaled = [
        "-n",
        &app.namespace,
        "wait",
        "--for=jsonpath={.spec.replicas}=2",
        "deployment/web",
        "--timeout=120s",
    ];
    app.kubectl(&scaled);
    assert_eq!(app.run("diff", &[]).status.code(), Some(0));
    web("second");
    let output = app.run("apply", &["--timeout", "0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("left .spec.replicas of Deployment.apps"), "{said}");
    let path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}";
    let web = app.kubectl(&["-n", &app.namespace, "get", "deployment", "web", "-o", path]);
    assert_eq!(web, "2 none.invalid/second");
}

#[test]
fn a_field_of_somebody_elses_is_named_and_left() {
    let app = Application::new();
    app.config_map("a", "1");
    app.done("apply", &[]);
    let patch = r#"{"data": {"value": "theirs"}}"#;
    app.patch_as("them", "configmap/a", patch);
    let said = app.refused(2, "apply", &[]);
    assert!(
        said.contains("them") && said.contains("data.value") && said.contains("--force-conflicts"),
        "{said}"
    );
    assert_eq!(app.value("a"), "theirs");
    app.done("apply", &["--force-conflicts"]);
    assert_eq!(app.value("a"), "1");
}

#[test]
fn a_field_of_somebody_elses_can_be_yielded() {
    let app = Application::new();
    let data = |first: &str, second: &str| {
        format!("v1\nkind: ConfigMap\ndata: {{value: '{first}', other.key/x: '{second}'}}")
    };
    app.manifest("a", &data("1", "1").replace("/x", "_x"));
    app.done("apply", &[]);
    let theirs = r#"{"data": {"value": "theirs"}}"#;
    app.patch_as("them", "configmap/a", theirs);
    app.manifest("a", &data("2", "2").replace("/x", "_x"));
    app.done("apply", &["--yield-conflicts"]);
    assert_eq!(app.value("a"), "theirs");
    let other =
        app.kubectl(&["-n", &app.namespace, "get", "configmap", "a", "-o", r"jsonpath={.data.other\.key_x}"]);
    assert_eq!(other, "2");
}

#[test]
fn a_difference_is_shown_whoever_has_the_field() {
    let app = Application::new();
    for name in ["a", "b"] {
        app.config_map(name, "1");
    }
    app.done("apply", &[]);
    app.patch_as("kubectl-patch", "configmap/a", r#"{"data": {"value": "theirs"}}"#);
    app.config_map("b", "2");
    let output = app.run("diff", &[]);
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        shown.contains("theirs") && shown.contains("+  value: '2'") && said.contains("kubectl-patch"),
        "{shown}{said}"
    );
}

#[test]
fn what_kubectl_applied_on_the_client_side_becomes_ours() {
    let app = Application::new();
    let file = app.home.path().join("old.yml");
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {value: old, forgotten: 'yes'}\n";
    std::fs::write(&file, text).unwrap();
    app.kubectl(&["-n", &app.namespace, "apply", "-f", file.to_str().unwrap()]);
    app.manifest("a", "v1\nkind: Secret\nstringData: {value: new}");
    assert_eq!(app.run("diff", &[]).status.code(), Some(1));
    app.done("apply", &[]);
    let secret =
        app.kubectl(&["-n", &app.namespace, "get", "secret", "a", "-o", "json", "--show-managed-fields"]);
    let secret: serde_json::Value = serde_json::from_str(&secret).unwrap();
    assert_eq!(secret["data"], serde_json::json!({"value": "bmV3"}), "what Git does not have goes");
    assert!(secret["metadata"]["annotations"].is_null(), "and so does the copy of the secret: {secret}");
    assert!(!secret["metadata"]["managedFields"].to_string().contains("kubectl"), "{secret}");
    assert_eq!(app.done("apply", &[]), [format!("unchanged Secret {}/a", app.namespace)]);
}

#[test]
fn a_secrets_texts_are_seen_and_kept_like_its_data() {
    let app = Application::new();
    let data = || app.kubectl(&["-n", &app.namespace, "get", "secret", "a", "-o", "jsonpath={.data}"]);
    app.manifest("a", "v1\nkind: Secret\nstringData: {a: '1', b: '2'}");
    app.done("apply", &[]);
    app.manifest("a", "v1\nkind: Secret\nstringData: {a: '1'}");
    assert_eq!(app.run("diff", &[]).status.code(), Some(1));
    app.done("apply", &[]);
    assert_eq!(data(), r#"{"a":"MQ=="}"#);
    app.patch_as("them", "secret/a", r#"{"data": {"a": "ZHJpZnQ="}}"#);
    assert_eq!(app.run("diff", &["--force-conflicts"]).status.code(), Some(1));
    app.done("apply", &["--force-conflicts"]);
    assert_eq!(data(), r#"{"a":"MQ=="}"#);
    // It goes back as it was.
    app.remove("a");
    app.manifest("web", NEVER_HEALTHY);
    let words = ["--prune", "--max-prune", "100", "--timeout", "2", "--rollback-on-failure"];
    app.refused(75, "apply", &words);
    assert_eq!(data(), r#"{"a":"MQ=="}"#);
}

/// A Deployment without pods, as somebody's manifest has it.
fn scaled_down(rest: &str) -> String {
    format!(
        "apps/v1\nkind: Deployment\nspec: {{{rest}selector: {{matchLabels: {{a: b}}}}, template: {{metadata: \
         {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: none.invalid/none}}]}}}}}}"
    )
}

#[test]
fn what_an_adoption_takes_away_is_shown_before() {
    let app = Application::new();
    let file = app.home.path().join("old.yml");
    let apply_as_before = |text: &str| {
        std::fs::write(&file, format!("apiVersion: {text}\nmetadata: {{name: a, labels: {{team: x}}}}\n"))
            .unwrap();
        app.kubectl(&["-n", &app.namespace, "apply", "-f", file.to_str().unwrap()]);
    };
    apply_as_before(&scaled_down("replicas: 3, "));
    app.manifest("a", &scaled_down(""));
    let shown = |words: &[&str]| {
        let output = app.run("diff", words);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let plan = app.home.path().join("plan.json");
    let diff = shown(&["--plan", plan.to_str().unwrap()]);
    for line in ["-  replicas: 3", "+  replicas: 1", "-    team: x"] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    app.done("apply", &["--timeout", "0", "--plan", plan.to_str().unwrap()]);
    let replicas = ["-n", &app.namespace, "get", "deployment", "a", "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(app.kubectl(&replicas), "1");
    // So it is where kubectl has applied to what is ours.
    apply_as_before(&scaled_down("minReadySeconds: 5, "));
    app.manifest("a", &scaled_down("revisionHistoryLimit: 3, "));
    assert!(shown(&[]).contains("-  minReadySeconds: 5"));
}

#[test]
fn an_adoption_is_taken_back() {
    let app = Application::new();
    let file = app.home.path().join("old.yml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {value: old, other: 'yes'}\n";
    std::fs::write(&file, text).unwrap();
    app.kubectl(&["-n", &app.namespace, "apply", "-f", file.to_str().unwrap()]);
    let object = || {
        let words = ["-n", &app.namespace, "get", "configmap", "a", "-o", "json", "--show-managed-fields"];
        let mut object: serde_json::Value = serde_json::from_str(&app.kubectl(&words)).unwrap();
        object["metadata"]["resourceVersion"].take();
        object
    };
    let before = object();
    app.manifest("a", "v1\nkind: ConfigMap\ndata: {value: new}");
    app.manifest("web", NEVER_HEALTHY);
    app.refused(75, "apply", &["--timeout", "2", "--rollback-on-failure"]);
    assert_eq!(object(), before);
}

#[test]
fn an_immutable_field_is_named_with_what_would_help() {
    let app = Application::new();
    app.manifest("a", "v1\nkind: Secret\nimmutable: true\nstringData: {value: first-password}");
    app.done("apply", &[]);
    app.manifest("a", "v1\nkind: Secret\nimmutable: true\nstringData: {value: second-password}");
    let said = app.refused(2, "apply", &[]);
    assert!(said.contains("data can't change") && said.contains("Replace=true,Force=true"), "{said}");
    let deployment = |label: &str| {
        app.manifest("web", &format!("apps/v1\nkind: Deployment\nspec: {{replicas: 0, selector: {{matchLabels: {{a: {label}}}}}, \
            template: {{metadata: {{labels: {{a: {label}}}}}, spec: {{containers: [{{name: c, image: none.invalid/none}}]}}}}}}"));
    };
    app.remove("a");
    deployment("b");
    app.done("apply", &["--timeout", "0"]);
    deployment("c");
    let said = app.refused(2, "apply", &["--timeout", "0"]);
    assert!(
        said.contains("Deployment.apps") && said.contains("spec.selector can't change: field is immutable"),
        "{said}"
    );
}

#[test]
fn ignored_differences_are_neither_seen_nor_made() {
    let app = Application::new();
    let map = |value: &str, other: &str| {
        app.manifest("a", &format!("v1\nkind: ConfigMap\ndata: {{value: '{value}', other: '{other}'}}"));
    };
    map("1", "1");
    app.done("apply", &[]);
    let theirs = r#"{"data": {"value": "theirs"}}"#;
    app.patch_as("them", "configmap/a", theirs);
    let unchanged = [format!("unchanged ConfigMap {}/a", app.namespace)];
    let rules = app.home.path().join("rules.yml");
    for rule in [
        "jsonPointers: [/data/value]",
        "jqPathExpressions: ['.data[]? | select(test(\"^th\"))']",
        "managedFieldsManagers: [them]",
    ] {
        std::fs::write(&rules, format!("- kind: ConfigMap\n  {rule}\n")).unwrap();
        let ignoring = ["--ignore-differences", rules.to_str().unwrap()];
        assert_eq!(app.run("diff", &ignoring).status.code(), Some(0), "{rule}");
        assert_eq!(app.done("apply", &ignoring), unchanged, "{rule}");
        assert_eq!(app.value("a"), "theirs", "{rule}");
    }
    // With another difference the object is written: all of it, or all but what is ignored.
    let ignoring = ["--ignore-differences", rules.to_str().unwrap()];
    map("1", "2");
    app.refused(2, "apply", &ignoring);
    app.done("apply", &[&ignoring[..], &["--respect-ignore-differences"]].concat());
    assert_eq!(app.value("a"), "theirs");
    map("1", "3");
    app.done("apply", &[&ignoring[..], &["--force-conflicts"]].concat());
    assert_eq!(app.value("a"), "1");
    std::fs::write(&rules, "- kind: ConfigMap\n  jqPathExpressions: ['.data | nonsense']\n").unwrap();
    assert!(app.refused(2, "apply", &ignoring).contains("not an expression of jq"));
}
