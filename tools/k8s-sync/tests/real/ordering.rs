//! Phases, waves and hooks, and kinds that come with the same run.

use crate::{Application, cluster};

/// A Job that is done at once, and one that fails after a second.
const DONE: &str = "completions: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: none.invalid/none}]}}";
const FAILS: &str = "activeDeadlineSeconds: 1, template: {spec: {restartPolicy: Never, containers: [{name: c, image: none.invalid/none}]}}";

fn annotated(app: &Application, file: &str, head: &str, annotations: &str, rest: &str) {
    let text = format!("{head}\nmetadata: {{name: {file}, annotations: {{{annotations}}}}}\n{rest}\n");
    std::fs::write(app.folder().join(format!("{file}.yml")), text).unwrap();
}

fn job(app: &Application, name: &str, annotations: &str, spec: &str) {
    annotated(app, name, "apiVersion: batch/v1\nkind: Job", annotations, &format!("spec: {{{spec}}}"));
}

fn config_map(app: &Application, name: &str, annotations: &str) {
    annotated(app, name, "apiVersion: v1\nkind: ConfigMap", annotations, "data: {value: '1'}");
}

fn jobs(app: &Application) -> String {
    app.kubectl(&["-n", &app.namespace, "get", "jobs", "-o", "name"])
}

#[test]
fn hooks_run_in_their_phases_and_go_as_they_say() {
    let app = Application::new();
    let succeeded = "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: HookSucceeded";
    job(&app, "before", succeeded, DONE);
    job(&app, "after", "argocd.argoproj.io/hook: PostSync", DONE);
    job(&app, "among", "argocd.argoproj.io/hook: Sync, argocd.argoproj.io/sync-wave: '-1'", DONE);
    config_map(&app, "b", "argocd.argoproj.io/sync-wave: '-1'");
    app.config_map("a", "1");
    config_map(&app, "never", "argocd.argoproj.io/hook: PostDelete");
    let namespace = &app.namespace;
    let lines = |change: &str| {
        vec![
            format!("created Job.batch {namespace}/before"),
            format!("{change} ConfigMap {namespace}/b"),
            format!("created Job.batch {namespace}/among"),
            format!("{change} ConfigMap {namespace}/a"),
            format!("created Job.batch {namespace}/after"),
        ]
    };
    assert_eq!(app.done("apply", &["--prune"]), lines("created"));
    assert_eq!(jobs(&app), "job.batch/after\njob.batch/among\n");
    let uid = || app.kubectl(&["-n", namespace, "get", "job", "after", "-o", "jsonpath={.metadata.uid}"]);
    let first = uid();
    assert_eq!(app.done("apply", &["--prune"]), lines("unchanged"), "hooks run again");
    assert_ne!(uid(), first, "made anew");
    assert_eq!(app.run("diff", &["--prune"]).status.code(), Some(0), "hooks are no difference");
}

#[test]
fn a_hook_that_fails_keeps_the_rest_from_being_applied() {
    let app = Application::new();
    let failed = "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: HookFailed";
    job(&app, "before", failed, FAILS);
    config_map(&app, "sorry", "argocd.argoproj.io/hook: SyncFail");
    app.config_map("a", "1");
    let said = app.refused(2, "apply", &[]);
    assert!(said.contains("/before is degraded") && said.contains("DeadlineExceeded"), "{said}");
    assert_eq!(app.config_maps(), ["sorry"]);
    assert_eq!(jobs(&app), "");
}

#[test]
fn a_hook_may_have_a_generated_name() {
    let app = Application::new();
    app.config_map("a", "1");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: made-, annotations: {argocd.argoproj.io/hook: PostSync}}\n";
    std::fs::write(app.folder().join("g.yml"), text).unwrap();
    app.done("apply", &[]);
    app.done("apply", &[]);
    let made = app.config_maps().iter().filter(|name| name.starts_with("made-postsync-")).count();
    assert_eq!(made, 2, "one a run");
}

#[test]
fn a_wave_waits_for_the_one_before() {
    let app = Application::new();
    app.config_map("late", "1");
    annotated(
        &app,
        "claim",
        "apiVersion: v1\nkind: PersistentVolumeClaim",
        "argocd.argoproj.io/sync-wave: '-1'",
        "spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}",
    );
    let said = app.refused(75, "apply", &["--timeout", "2"]);
    assert!(said.contains("claim is Progressing"), "{said}");
    assert!(app.config_maps().is_empty());
}

#[test]
fn a_definition_its_object_and_their_namespace_come_in_one_run() {
    let app = Application::new();
    let group = format!("{}.example.test", app.namespace);
    let other = format!("{}-other", app.namespace);
    let text = format!(
        "apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: thing, namespace: {other}}}\nspec: {{size: 0400}}\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n---\n\
         apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\n\
         spec: {{group: {group}, scope: Namespaced, names: {{kind: Thing, plural: things}}, versions: [{{name: v1, served: yes, storage: on,\n\
         \x20 schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{size: {{type: integer}}}}}}}}}}}}}}]}}\n"
    );
    std::fs::write(app.folder().join("all.yml"), text).unwrap();
    assert_eq!(app.run("diff", &[]).status.code(), Some(1));
    let lines = app.done("apply", &[]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[2], format!("created Thing.{group} {other}/thing"));
    let things = format!("things.{group}");
    let size = app.kubectl(&["-n", &other, "get", &things, "-o", "jsonpath={.items[0].spec.size}"]);
    assert_eq!(size, "256");
    assert!(app.done("apply", &[]).iter().all(|line| line.starts_with("unchanged")));
    app.kubectl(&["delete", "namespace", &other, "--wait=false"]);
    app.kubectl(&["delete", "crd", &things, "--wait=false"]);
}

#[test]
fn a_plan_has_hooks_and_the_namespace_that_it_makes() {
    let app = Application::new();
    let other = format!("{}-planned", app.namespace);
    let plan = app.home.path().join("plan.json");
    let run = |verb: &str, status: i32| {
        let mut command = app.home.tool("k8s-sync");
        command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args([verb, "app", "--dest-namespace", &other]);
        command.args(["--sync-option", "CreateNamespace=true", "-f"]).arg(app.folder());
        let output = command.arg("--plan").arg(&plan).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{verb}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let hook = |spec: &str| {
        let text = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: before-, annotations: {{argocd.argoproj.io/hook: PreSync}}}}\n\
             spec: {{{spec}}}\n"
        );
        std::fs::write(app.folder().join("before.yml"), text).unwrap();
    };
    let there = || app.kubectl(&["get", "namespace", &other, "--ignore-not-found", "-o", "name"]);
    hook(DONE);
    app.config_map("a", "1");
    let (told, _) = run("diff", 1);
    assert!(told.contains(&format!("+++ git/Namespace {other}")), "{told}");
    assert_eq!(there(), "", "a plan writes nothing");
    let (done, _) = run("apply", 0);
    let lines: Vec<&str> = done.lines().collect();
    assert_eq!(lines[0], format!("created Namespace {other}"));
    assert!(lines[1].starts_with(&format!("created Job.batch {other}/before-presync-")), "{done}");
    assert_eq!(lines[2..], [format!("created ConfigMap {other}/a")]);
    // What it made is there now.
    let (_, said) = run("apply", 2);
    assert!(said.contains(&format!("Namespace {other} is no longer part of it")), "{said}");
    // A plan of nothing but a hook.
    run("diff", 0);
    let (done, _) = run("apply", 0);
    assert_eq!(done.lines().count(), 2, "{done}");
    hook(&format!("backoffLimit: 0, {DONE}"));
    let (_, said) = run("apply", 2);
    assert!(said.contains("PreSync hook Job.batch") && said.contains("manifest is another one"), "{said}");
    app.kubectl(&["delete", "namespace", &other, "--wait=false"]);
}
