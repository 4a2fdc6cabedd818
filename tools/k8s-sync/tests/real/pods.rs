//! Workloads whose pods really run, on the cluster's node.

use std::process::{Command, Stdio};

use crate::{Application, cluster};

/// An image whose entrypoint is busybox, on the node.
fn busybox() -> &'static str {
    const IMAGE: &str = "docker.io/gitops-steps/busybox:1";
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cluster/image_archive.py");
    let mut archive = Command::new("python3")
        .args(["-B", archive, IMAGE, "/bin/busybox"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut import = Command::new("ctr");
    import.args([
        "--address",
        &cluster()["CLUSTER_CONTAINERD"],
        "--namespace",
        "k8s.io",
        "images",
        "import",
        "-",
    ]);
    let imported = import.stdin(archive.stdout.take().unwrap()).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    assert!(archive.wait().unwrap().success());
    IMAGE
}

fn deployment(app: &Application, script: &str) {
    let text = format!(
        "apps/v1\nkind: Deployment\nspec:\n  replicas: 2\n  minReadySeconds: 2\n  progressDeadlineSeconds: 8\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    \
         metadata: {{labels: {{a: b}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      containers:\n      - name: c\n        \
         image: {}\n        imagePullPolicy: Never\n        args: [sh, -c, '{script}']",
        busybox()
    );
    app.manifest("web", &text);
}

#[test]
fn what_a_program_said_last_is_shown_and_its_fields_go_back() {
    let app = Application::new();
    deployment(&app, "sleep 3600");
    app.done("apply", &["--timeout", "120"]);
    let ready = || {
        let path = "jsonpath={.status.readyReplicas} {.spec.template.spec.containers[0].args[2]}";
        app.kubectl(&["-n", &app.namespace, "get", "deployment", "web", "-o", path])
    };
    assert_eq!(ready(), "2 sleep 3600");

    deployment(&app, "echo connecting; echo no database; exit 3");
    let said = app.refused(2, "apply", &["--timeout", "120", "--rollback-on-failure"]);
    assert!(said.contains("web is degraded: ProgressDeadlineExceeded"), "{said}");
    assert!(said.contains("log web-") && said.contains("/c: no database"), "{said}");
    assert!(said.contains("event BackOff: "), "{said}");
    assert!(said.lines().count() <= 24, "more than a screen: {said}");
    app.kubectl(&["-n", &app.namespace, "rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(ready(), "2 sleep 3600");
}
