//! Edits of manifests that others wrote, checked by another program that reads them.
//!
//! The manifests and the YAML test suite come out of Go module archives, yq out of its own; both are
//! fetched once into the caches of Go and of this project. Needs `go` and a Go module proxy.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]
#![allow(clippy::print_stderr, reason = "how much was seen is worth knowing")]

#[path = "properties/checks.rs"]
mod checks;
#[path = "properties/saphyr.rs"]
mod saphyr;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use checks::{edit_and_back, patch, same_events, target, whole_images};
use image_reference::ImageReference;
use manifest_patch::patch::Change;
use manifest_patch::refusal::Refusal;
use manifest_patch::select::Where;
use manifest_patch::yaml::{Document, Granit};

/// Projects that carry manifests, of many hands and tools.
const PROJECTS: [&str; 15] = [
    "github.com/argoproj/argo-cd/v3@v3.1.0",
    "github.com/argoproj/argo-rollouts@v1.8.0",
    "github.com/argoproj/argo-workflows/v3@v3.7.0",
    "github.com/cilium/cilium@v1.17.0",
    "github.com/fluxcd/flux2/v2@v2.6.4",
    "github.com/kedacore/keda/v2@v2.17.0",
    "github.com/kyverno/kyverno@v1.19.1",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "github.com/tektoncd/pipeline@v1.3.0",
    "github.com/tektoncd/triggers@v0.32.0",
    "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad",
    "k8s.io/kops@v1.32.0",
    "k8s.io/kubernetes@v1.37.2",
    "knative.dev/eventing@v0.45.0",
    "knative.dev/serving@v0.51.0",
];

/// In bytes. Larger files are generated, and hold more of the same.
const LARGEST: usize = 100_000;

/// Carries the YAML test suite, a directory a case.
const SUITE: &str = "github.com/goccy/go-yaml@v1.19.2";

const NEW_TAG: &str = "edited-1.10";

const YQ: &str = "github.com/mikefarah/yq/v4@v4.54.2";

#[test]
fn manifests_of_public_projects() {
    let yq = yq();
    let mut seen = Seen::default();
    for project in PROJECTS {
        for path in files_below(&module(project)) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if text.contains("image:") && text.len() <= LARGEST {
                seen.manifest(&path, &text, &yq);
            }
        }
    }
    eprintln!("{seen:?}");
    assert!(seen.manifests >= 2500 && seen.edits >= 3500 && seen.read_by_yq >= 3500, "{seen:?}");
}

/// What was seen of a corpus.
#[derive(Debug, Default)]
struct Seen {
    manifests: usize,
    edits: usize,
    read_by_yq: usize,
    refused: BTreeMap<String, usize>,
}

impl Seen {
    fn manifest(&mut self, path: &Path, text: &str, yq: &Path) {
        same_events(text);
        let images = whole_images(text);
        self.manifests += usize::from(!images.is_empty());
        for image in &images {
            match edit_and_back(text, image, NEW_TAG) {
                Ok(edits) => self.edits += edits,
                Err(Refusal::Verification(what)) => panic!("{}: {what}", path.display()),
                Err(refusal) => {
                    let kind = format!("{refusal:?}").split(['(', ' ']).next().unwrap().to_owned();
                    *self.refused.entry(kind).or_default() += 1;
                }
            }
        }
        if let Err(why) = self.yq_reads(path, text, &images, yq) {
            *self.refused.entry(why).or_default() += 1;
        }
    }

    /// All images edited at once, yq finds the new values under the paths that the proof names.
    fn yq_reads(
        &mut self,
        path: &Path,
        text: &str,
        images: &[ImageReference],
        yq: &Path,
    ) -> Result<(), String> {
        let new = |image: &ImageReference| format!("{}:{NEW_TAG}", image.repository());
        let targets = images.iter().map(|image| target(Where::Repository, &new(image))).collect();
        let Ok((outcome, after)) = patch(text, targets) else { return Ok(()) };
        if outcome.changes.is_empty() {
            return Ok(());
        }
        let one =
            |change: &Change| format!("(select(document_index == {}) | {})", change.document, change.path);
        let expression = outcome.changes.iter().map(one).collect::<Vec<_>>().join(", ");
        let mut child = Command::new(yq)
            .args(["--no-doc", "--unwrapScalar=true", &expression])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, after.as_bytes()));
        let output = child.wait_with_output().unwrap();
        // yq may stop reading where the file is not YAML to it.
        let _ = feeder.join().unwrap();
        if !output.status.success() {
            return Err("unread by yq".to_owned());
        }
        // In the order of the documents, and in each of them in that of the expression.
        let read = String::from_utf8(output.stdout).unwrap();
        let read: Vec<&str> = read.lines().filter(|line| !line.is_empty()).collect();
        let meant: Vec<&str> = outcome.changes.iter().map(|change| change.new.as_str()).collect();
        assert_eq!(read, meant, "{}: {expression}", path.display());
        self.read_by_yq += meant.len();
        Ok(())
    }
}

#[test]
fn the_yaml_test_suite() {
    let suite = module(SUITE).join("testdata/yaml-test-suite");
    let (mut read, mut edited, mut caught) = (0, 0, 0);
    for case in std::fs::read_dir(suite).unwrap() {
        let Ok(text) = std::fs::read_to_string(case.unwrap().path().join("in.yaml")) else { continue };
        same_events(&text);
        let Ok(documents) = Document::read_all::<Granit<'_>>(&text) else { continue };
        read += 1;
        // Every scalar is set once, whatever it is: changed rightly, or refused.
        for (number, document) in documents.iter().enumerate() {
            for node in 0..document.nodes().len() {
                let path = document.path(node);
                let Ok(at) = manifest_patch::expression::path(&path) else { continue };
                let one = manifest_patch::patch::Request {
                    targets: vec![target(Where::At(at), "app:1.10")],
                    scope: manifest_patch::select::Scope { documents: vec![number], ..Default::default() },
                    ..Default::default()
                };
                let source = manifest_patch::patch::Source { name: path, bytes: text.clone().into_bytes() };
                match manifest_patch::patch::patch_all(&[source], &one, None) {
                    Ok(outcomes) => edited += outcomes[0].changes.len(),
                    // Caught before it was written, though it should have been foreseen.
                    Err(located) if matches!(located.refusal, Refusal::Verification(_)) => {
                        eprintln!("{located}\n{text}");
                        caught += 1;
                    }
                    Err(_) => {}
                }
            }
        }
    }
    eprintln!("{read} inputs read, {edited} values edited");
    assert!(read > 200 && edited > 300 && caught == 0, "{read} {edited} {caught}");
}

/// A module's directory in Go's cache.
fn module(module: &str) -> PathBuf {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("go")
        .current_dir(scratch.path())
        .env("GOFLAGS", "-mod=mod")
        .args(["mod", "download", "-json", module])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["Error"].is_null(), "{module}: {}", answer["Error"]);
    PathBuf::from(answer["Dir"].as_str().unwrap())
}

/// yq v4, built once.
fn yq() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the cache is is no setting of the tool")]
    let cache = std::env::var_os("GITOPS_CACHE").filter(|value| !value.is_empty());
    let cache = cache.map_or_else(|| PathBuf::from("/var/cache/gitops-steps"), PathBuf::from).join("peers");
    let yq = cache.join("yq");
    if !yq.exists() {
        let built =
            Command::new("go").env("GOBIN", &cache).env("GOFLAGS", "-mod=mod").args(["install", YQ]).status();
        assert!(built.unwrap().success(), "yq can't be built");
    }
    yq
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if matches!(
                entry.path().extension().and_then(|e| e.to_str()),
                Some("yaml" | "yml" | "json")
            ) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}
