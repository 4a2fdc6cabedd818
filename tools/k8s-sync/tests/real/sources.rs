//! Sources read by the programs that people read them with: kubectl and its kustomize, kustomize, helm, and git.

use std::process::Output;
use std::sync::OnceLock;

use hermetic::{Variables, service, variables};

use crate::{Application, cluster};

/// A repository with two commits, the first of them tagged: a base, and an overlay beside it.
fn repository(app: &Application) -> String {
    let git = |words: &[&str]| {
        let done = app.home.program("git").arg("-C").arg(app.folder()).args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    write(app, "base/kustomization.yaml", "resources: [a.yml]\n");
    write(app, "overlay/kustomization.yaml", "resources: [../base]\nnamePrefix: blue-\n");
    git(&["init", "--quiet", "--initial-branch=main"]);
    for value in ["1", "2"] {
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: '{value}'}}\n");
        write(app, "base/a.yml", &text);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", value]);
        if value == "1" {
            git(&["tag", "--annotate", "--message=first", "first"]);
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// A run with kubectl as the only renderer.
fn apply(app: &Application, words: &[&str]) -> Output {
    apply_by(app, &[("kubectl", &cluster()["KUBECTL"])], words)
}

/// A run with these renderers.
fn apply_by(app: &Application, programs: &[(&str, &str)], words: &[&str]) -> Output {
    let bin = tempfile::tempdir_in(app.home.path()).unwrap();
    for (name, program) in programs {
        std::os::unix::fs::symlink(program, bin.path().join(name)).unwrap();
    }
    let mut command = app.home.tool("k8s-sync");
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).env("PATH", path);
    command.args(["apply", "app", "--dest-namespace", &app.namespace]).args(words);
    command.output().unwrap()
}

/// kustomize and helm; they are built at the first use.
fn renderers() -> &'static Variables {
    static RENDERERS: OnceLock<Variables> = OnceLock::new();
    RENDERERS.get_or_init(|| variables(service("renderers").arg("up")))
}

fn write(app: &Application, name: &str, text: &str) {
    let path = app.folder().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The records of a run that went well.
fn records(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn kustomize_and_kubectl_render_alike() {
    let app = Application::new();
    repository(&app);
    let generator =
        "resources: [../base]\nnamePrefix: blue-\nconfigMapGenerator: [{name: made, literals: [value=1]}]\n";
    write(&app, "overlay/kustomization.yaml", generator);
    let folder = app.folder().join("overlay");
    let words = ["-f", folder.to_str().unwrap()];
    let kustomize = ("kustomize", renderers()["KUSTOMIZE"].as_str());
    let first = records(&apply_by(&app, &[kustomize], &words));
    assert!(first.contains(&format!("created ConfigMap {}/blue-a", app.namespace)), "{first:?}");
    assert!(first.iter().any(|line| line.contains("/blue-made-")), "{first:?}");
    let again = records(&apply(&app, &words));
    assert_eq!(again, first.iter().map(|line| line.replace("created", "unchanged")).collect::<Vec<_>>());
}

#[test]
fn a_chart_is_rendered_as_helm_has_it() {
    let app = Application::new();
    let group = format!("{}.helm.test", app.namespace);
    let map = |name: &str, annotations: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n"
        )
    };
    write(&app, "chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    write(&app, "chart/values.yaml", "value: 'on'\n");
    write(&app, "chart/templates/NOTES.txt", "{{ .Release.Name }} is no manifest.\n");
    write(&app, "chart/templates/_names.tpl", "{{ define \"name\" }}{{ .Release.Name }}-web{{ end }}\n");
    let templated = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include \"name\" . }}, namespace: {{ .Release.Namespace }}}\n\
        data: {value: {{ required \"a value is needed\" .Values.value | quote }}}\n";
    write(&app, "chart/templates/map.yaml", templated);
    write(&app, "chart/templates/before.yaml", &map("before", "helm.sh/hook: 'pre-install,pre-upgrade'"));
    write(&app, "chart/templates/tests/never.yaml", &map("never", "helm.sh/hook: test"));
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\n\
         spec: {{group: {group}, scope: Cluster, names: {{kind: Thing, plural: things}}, versions: [{{name: v1, served: true, storage: true,\n\
         \x20 schema: {{openAPIV3Schema: {{type: object}}}}}}]}}\n"
    );
    write(&app, "chart/crds/things.yaml", &definition);
    git(&app, &["init", "--quiet", "--initial-branch=main"]);
    git(&app, &["add", "."]);
    git(&app, &["commit", "--quiet", "--message", "chart"]);

    let (chart, url) = (app.folder().join("chart"), format!("file://{}", app.folder().display()));
    let (folder, repository) =
        (["-f", chart.to_str().unwrap()], ["--repo", &url, "--path", "chart", "--revision", "main"]);
    let helm = [("helm", renderers()["HELM"].as_str())];
    let namespace = &app.namespace;
    let lines = |change: &str| {
        vec![
            format!("created ConfigMap {namespace}/before"),
            format!("{change} ConfigMap {namespace}/app-web"),
            format!("{change} CustomResourceDefinition.apiextensions.k8s.io things.{group}"),
        ]
    };
    assert_eq!(records(&apply_by(&app, &helm, &folder)), lines("created"));
    assert_eq!(app.value("app-web"), "on", "quoted as Helm quotes it");
    // The same from a repository: nothing has changed, and the hook runs again.
    assert_eq!(records(&apply_by(&app, &helm, &repository)), lines("unchanged"));
    write(&app, "chart/values.yaml", "{}\n");
    let output = apply_by(&app, &helm, &folder);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{failed}");
    assert!(failed.contains("a value is needed") && failed.contains("map.yaml"), "{failed}");
    app.kubectl(&["delete", "crd", &format!("things.{group}"), "--wait=false"]);
}

#[test]
fn a_kustomization_of_any_revision_is_rendered() {
    let app = Application::new();
    let newest = repository(&app);
    let url = format!("file://{}", app.folder().display());
    for (revision, value) in [("main", "2"), ("first", "1"), (newest.as_str(), "2"), ("HEAD", "2")] {
        let output = apply(&app, &["--repo", &url, "--path", "overlay", "--revision", revision]);
        assert!(output.status.success(), "{revision}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(app.value("blue-a"), value, "{revision}");
    }
    let cache = app.home.path().join(".cache/k8s-sync/app/objects/pack");
    let packs = || std::fs::read_dir(&cache).unwrap().count();
    let before = packs();
    assert!(apply(&app, &["--repo", &url, "--path", "overlay"]).status.success());
    assert!(before > 0 && packs() == before, "what was fetched is not fetched again");
    let output = apply(&app, &["--repo", &url, "--revision", "nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_link_out_of_the_repository_is_refused() {
    let app = Application::new();
    std::os::unix::fs::symlink("/etc/passwd", app.folder().join("secret.yml")).unwrap();
    repository(&app);
    let url = format!("file://{}", app.folder().display());
    let output = apply(&app, &["--repo", &url, "--path", "overlay"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("a link to /etc/passwd"), "{said}");
}

fn git(app: &Application, words: &[&str]) {
    let done = app.home.program("git").arg("-C").arg(app.folder()).args(words).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn what_was_fetched_is_used_again_and_mended_where_it_is_damaged() {
    let app = Application::new();
    let newest = repository(&app);
    let url = format!("file://{}", app.folder().display());
    let run = |revision: &str| apply(&app, &["--repo", &url, "--path", "base", "--revision", revision]);
    let refused = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    std::fs::remove_file(app.folder().join("base/kustomization.yaml")).unwrap();
    git(&app, &["commit", "--quiet", "--all", "--message", "plain"]);
    let commit = app.home.program("git").arg("-C").arg(app.folder()).args(["rev-parse", "HEAD"]).output();
    let commit = String::from_utf8(commit.unwrap().stdout).unwrap().trim().to_owned();
    assert_ne!(commit, newest);
    assert!(run("main").status.success());

    // A commit that is there needs no server.
    let away = app.home.path().join("away");
    std::fs::rename(app.folder(), &away).unwrap();
    let output = run(&commit);
    assert!(output.status.success(), "{}", refused(&output));
    assert!(!run("main").status.success());
    std::fs::rename(&away, app.folder()).unwrap();

    let packs = app.home.path().join(".cache/k8s-sync/app/objects/pack");
    for file in std::fs::read_dir(&packs).unwrap() {
        let path = file.unwrap().path();
        let mut permissions = path.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        std::fs::set_permissions(&path, permissions).unwrap();
        let half = std::fs::read(&path).unwrap();
        std::fs::write(&path, &half[..half.len() / 2]).unwrap();
    }
    let output = run("main");
    assert!(output.status.success(), "{}", refused(&output));
}

#[test]
fn links_are_followed_within_the_repository_and_submodules_are_named() {
    let app = Application::new();
    repository(&app);
    let url = format!("file://{}", app.folder().display());
    let commit = || {
        git(&app, &["add", "."]);
        git(&app, &["commit", "--quiet", "--message", "more"]);
    };
    let run = |path: &str| {
        let output = apply(&app, &["--repo", &url, "--path", path]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    std::fs::create_dir(app.folder().join("linked")).unwrap();
    std::os::unix::fs::symlink("../base/a.yml", app.folder().join("linked/a.yml")).unwrap();
    commit();
    assert_eq!(run("linked"), (Some(0), String::new()));
    assert_eq!(app.value("a"), "2");
    std::os::unix::fs::symlink("../nowhere.yml", app.folder().join("linked/b.yml")).unwrap();
    commit();
    let (status, said) = run("linked");
    assert!(status == Some(2) && said.contains("linked/b.yml: a link to ../nowhere.yml"), "{said}");
    git(&app, &["rm", "--quiet", "linked/b.yml"]);
    let module = format!("160000,{},linked/module", "1".repeat(40));
    git(&app, &["update-index", "--add", "--cacheinfo", &module]);
    git(&app, &["commit", "--quiet", "--message", "module"]);
    let (status, said) = run("linked");
    assert!(status == Some(2) && said.contains("linked/module: a submodule"), "{said}");
}

#[test]
fn yaml_means_what_it_means_to_kubectl() {
    let app = Application::new();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: \"no\", b: &text 'on'}}\nspec:\n  \
        hostNetwork: no\n  automountServiceAccountToken: off\n  terminationGracePeriodSeconds: 0x1F\n  \
        securityContext: &ids {runAsUser: 1_000, fsGroup: 010}\n  \
        containers:\n  - {name: c, image: none.invalid/none, tty: y, env: [{name: V, value: *text}],\n     \
        securityContext: {<<: {runAsUser: 7, runAsGroup: 8}, runAsUser: 9}}\n  \
        volumes: [{name: v, emptyDir: ~}, {name: w, projected: {defaultMode: 0400, sources: []}}]\n";
    let file = app.folder().join("pod.yml");
    std::fs::write(&file, text).unwrap();
    app.kubectl(&["-n", &app.namespace, "create", "-f", file.to_str().unwrap()]);
    let spec = || {
        app.kubectl(&["-n", &app.namespace, "get", "pod", "p", "-o", "jsonpath={.spec}{.metadata.labels.b}"])
    };
    let theirs = spec();
    app.kubectl(&["-n", &app.namespace, "delete", "pod", "p", "--now"]);
    app.done("apply", &["--timeout", "0"]);
    // The token's volume has a name of its own each time; there is none here.
    let without_node = |text: &str| text.replace("\"nodeName\":\"localhost\",", "");
    assert_eq!(without_node(&spec()), without_node(&theirs));
}
