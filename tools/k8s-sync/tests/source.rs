//! What sources are read and how, through the binary, without a cluster.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use hermetic::Home;

/// A folder with these files, in a home whose PATH has only these programs (shell scripts).
struct Source(Home);

impl Source {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = Home::new();
        for (name, text) in files {
            write(&home.path().join("source").join(name), text);
        }
        std::fs::create_dir_all(home.path().join("bin")).unwrap();
        Self(home)
    }

    fn program(self, name: &str, script: &str) -> Self {
        let path = self.0.path().join("bin").join(name);
        write(&path, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// `health` reads a source as every verb does.
    fn read(&self) -> Output {
        let mut command = self.0.tool("k8s-sync");
        command.env("PATH", self.0.path().join("bin")).args(["health", "-f"]);
        command.arg(self.0.path().join("source")).output().unwrap()
    }

    fn objects(&self) -> Vec<String> {
        let output = self.read();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect()
    }

    fn refused(&self) -> String {
        let output = self.read();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    }
}

/// As process 1 of a container it can't die of a signal: the kernel keeps from it what it does not handle.
#[test]
fn a_signal_ends_process_one_too() {
    let home = Home::new();
    let ready = home.path().join("ready");
    assert!(home.program("mkfifo").arg(&ready).status().unwrap().success());
    let tool = home.spawnable("k8s-sync");
    let mut command = home.program("unshare");
    command.args(["-Urpf", "--kill-child"]).arg(tool.get_program()).args(["health", "-f"]).arg(&ready);
    let mut container = command.spawn().unwrap();
    // It is opened when the tool reads, which it does after it has begun to watch for signals.
    let writer = std::fs::File::options().write(true).open(&ready).unwrap();
    let id = container.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    assert!(home.program("kill").arg(children.trim()).status().unwrap().success());
    assert_eq!(container.wait().unwrap().code(), Some(143));
    drop(writer);
}

/// Holds an event against the schema.
fn conforms(event: &serde_json::Value) {
    hermetic::schema::check(include_str!("../schema/k8s-sync.v1.json"), event);
}

#[test]
fn events_are_what_the_schema_says() {
    let source = Source::new(&[("a.yml", &config_map("a"))]);
    let read = |name: &str| {
        let mut command = source.0.tool("k8s-sync");
        command.args(["health", "-o", "json", "-f"]).arg(source.0.path().join(name));
        let output = command.output().unwrap();
        let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        conforms(&event);
        event
    };
    assert_eq!(read("source")["health"], "Healthy");
    assert_eq!(read("nowhere")["error"]["kind"], "input");
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

#[test]
fn manifests_are_told_by_their_endings() {
    let text = |name: &str| config_map(name);
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d"}}]}"#;
    let source = Source::new(&[
        ("a.yaml", &text("a")),
        ("below/b.yml", &text("b")),
        ("c.yml.tmpl", "{{ no YAML }}"),
        ("README.md", "# not a manifest"),
        ("d.json", json),
    ]);
    assert_eq!(source.objects(), ["ConfigMap a", "ConfigMap b", "Pod d"]);
}

#[test]
fn hidden_files_and_links_to_folders_are_passed_over() {
    let source = Source::new(&[
        (".gitlab-ci.yml", "stages: [test]"),
        (".github/workflows/test.yml", "on: push"),
        ("..2026_01_01/a.yml", &config_map("a")),
    ]);
    let folder = source.0.path().join("source");
    // As Kubernetes lays out a volume, and a folder that is in itself.
    std::os::unix::fs::symlink("..2026_01_01", folder.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yml", folder.join("a.yml")).unwrap();
    std::os::unix::fs::symlink(".", folder.join("loop")).unwrap();
    assert_eq!(source.objects(), ["ConfigMap a"]);
}

#[test]
fn a_text_of_another_editor_is_read() {
    let crlf = config_map("crlf").replace('\n', "\r\n");
    let source = Source::new(&[("a.yml", &format!("\u{feff}{}", config_map("bom"))), ("b.yml", &crlf)]);
    assert_eq!(source.objects(), ["ConfigMap bom", "ConfigMap crlf"]);
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_its_line() {
    let source = Source::new(&[("a.yml", &format!("{}kind: Secret\n", config_map("a")))]);
    let said = source.refused();
    assert!(said.contains("a.yml: line 5: duplicate key `kind`"), "{said}");
}

#[test]
fn a_name_that_yaml_reads_as_something_else_is_explained() {
    let source = Source::new(&[("a.yml", &config_map("on"))]);
    let said = source.refused();
    assert!(said.contains("metadata.name is read as true"), "{said}");
}

#[test]
fn a_kustomization_is_rendered_by_kustomize() {
    let script = format!(
        "test \"$*\" = 'build .' && test -f kustomization.yaml && /bin/cat <<END\n{}END",
        config_map("k")
    );
    let source = Source::new(&[("kustomization.yaml", "resources: [base.yml]"), ("base.yml", "never: read")])
        .program("kustomize", &script);
    assert_eq!(source.objects(), ["ConfigMap k"]);
}

#[test]
fn kubectl_stands_in_for_kustomize() {
    let script = format!("test \"$*\" = 'kustomize .' && /bin/cat <<END\n{}END", config_map("k"));
    let source = Source::new(&[("kustomization.yml", "")]).program("kubectl", &script);
    assert_eq!(source.objects(), ["ConfigMap k"]);
}

#[test]
fn a_chart_is_rendered_by_helm() {
    let script =
        format!("test \"$1\" = template && test -f Chart.yaml && /bin/cat <<END\n{}END", config_map("h"));
    let source = Source::new(&[("Chart.yaml", "name: chart"), ("templates/a.yaml", "{{ .Values.a }}")])
        .program("helm", &script);
    assert_eq!(source.objects(), ["ConfigMap h"]);
}

#[test]
fn a_renderer_that_is_not_there_is_named() {
    let said = Source::new(&[("kustomization.yaml", "")]).refused();
    assert!(
        said.contains("neither kustomize nor kubectl is on PATH") && said.contains("hint: install it"),
        "{said}"
    );
    let said = Source::new(&[("Chart.yaml", "")]).refused();
    assert!(said.contains("no helm is on PATH") && said.contains("`helm template "), "{said}");
}

#[test]
fn a_renderer_that_fails_is_quoted() {
    let source = Source::new(&[("Chart.yaml", "")]).program(
        "helm",
        "echo 'Error: missing in charts/ directory: https://user:secret@charts.test' >&2; exit 1",
    );
    let said = source.refused();
    assert!(said.contains("missing in charts/ directory: https://charts.test"), "{said}");
}

#[test]
fn what_is_rendered_has_to_be_the_source_itself() {
    let source = Source::new(&[("a.yml", &config_map("a")), ("below/kustomization.yaml", "resources: []")]);
    let said = source.refused();
    assert!(said.contains("below/kustomization.yaml") && said.contains("-f or --path"), "{said}");
}
