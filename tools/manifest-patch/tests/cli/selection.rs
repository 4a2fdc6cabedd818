//! Which images are meant, in every kind of file that holds some.

use crate::support::{DEPLOYMENT, DIGEST, Place, stderr, stdout};

/// Runs the tool on a text and compares the result; `changes` are (old, new) pieces of the text.
fn patched(text: &str, arguments: &[&str], changes: &[(&str, &str)]) {
    let run = Place::new().pipe(text, arguments).success();
    let mut expected = text.to_owned();
    for (old, new) in changes {
        assert_eq!(expected.matches(old).count(), 1, "{old}");
        expected = expected.replace(old, new);
    }
    assert_eq!(stdout(&run), expected, "{arguments:?}");
}

fn refused(text: &str, arguments: &[&str]) -> String {
    let run = Place::new().pipe(text, arguments).code(2);
    assert_eq!(stdout(&run), "");
    stderr(&run)
}

#[test]
fn kinds_of_pods() {
    let pod = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: app:1\n";
    patched(pod, &["--image", "app:2"], &[("app:1", "app:2")]);
    let cron = "\
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: \"app:1\"}]}}}}}
";
    patched(cron, &["a=app:2"], &[("\"app:1\"", "\"app:2\"")]);
    let list = "\
apiVersion: v1
kind: List
items:
- kind: Pod
  metadata: {name: one}
  spec: {containers: [{name: a, image: app:1}]}
- kind: Pod
  metadata: {name: two}
  spec: {containers: [{name: a, image: app:one}]}
";
    patched(list, &["--name", "two", "a=app:2"], &[("app:one", "app:2")]);
    let template = "kind: PodTemplate\napiVersion: v1\ntemplate:\n  spec:\n    ephemeralContainers:\n    - image: app:1\n";
    patched(template, &["--image", "app:2"], &[("app:1", "app:2")]);
}

#[test]
fn init_containers_volumes_and_repositories_spelled_otherwise() {
    patched(DEPLOYMENT, &["migrate=r.test/other:1"], &[("r.test/team/migrate:7", "r.test/other:1")]);
    patched(DEPLOYMENT, &["--image", "envoy:9"], &[("docker.io/library/envoy:1.2", "envoy:9")]);
    let volume = "kind: Pod\nspec:\n  volumes:\n  - name: v\n    image:\n      reference: data:1\n";
    patched(volume, &["--image", "data:2"], &[("data:1", "data:2")]);
}

#[test]
fn a_repository_is_literal() {
    let text = "kind: Pod\nspec:\n  containers:\n  - {name: a, image: app:1}\n  - {name: b, image: a.p:1}\n";
    patched(text, &["--image", "a.p:2"], &[("a.p:1", "a.p:2")]);
}

#[test]
fn custom_resources_but_not_their_definitions() {
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: app:1\n";
    patched(rollout, &["a=app:2"], &[("app:1", "app:2")]);
    let workflow = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  templates:\n  - name: step\n    script: {image: app:1}\n";
    patched(workflow, &["--image", "app:2"], &[("app:1", "app:2")]);
    let prometheus =
        "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec:\n  image: quay.io/prom:v1\n";
    patched(prometheus, &["--image", "quay.io/prom:v2"], &[("prom:v1", "prom:v2")]);
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec:\n  image: app:1\n  containers: [{name: a, image: app:1}]\n";
    assert!(refused(definition, &["--image", "app:2"]).contains("no images at all"));
    let config = "apiVersion: v1\nkind: ConfigMap\ndata:\n  image: app:1\n";
    refused(config, &["--image", "app:2"]);
}

#[test]
fn several_documents_and_narrowing() {
    let pod = |name: &str, image: &str| {
        format!(
            "kind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: a, image: {image}}}\n"
        )
    };
    let text = format!("# one\n{}---\n{}---\n# end\n", pod("one", "app:1"), pod("two", "app:one"));
    patched(&text, &["--doc", "1", "a=app:2"], &[("app:one", "app:2")]);
    patched(&text, &["--name", "one", "--image", "app:2"], &[("app:1", "app:2")]);
    patched(&text, &["--kind", "pod", "a=app:2"], &[("app:1", "app:2"), ("app:one", "app:2")]);
    assert!(refused(&text, &["--kind", "Deployment", "a=app:2"]).contains("no container `a`"));
}

#[test]
fn a_name_that_means_different_images_is_refused() {
    let text = "kind: Pod\nspec:\n  containers: [{name: a, image: one:1}]\n---\nkind: Job\nspec:\n  template:\n    spec:\n      containers: [{name: a, image: two:1}]\n";
    let error = refused(text, &["a=app:2"]);
    assert!(
        error.contains("means 2 images: -:3 Pod container a (one); -:9 Job container a (two)"),
        "{error}"
    );
    patched(text, &["--all", "a=app:2"], &[("one:1", "app:2"), ("two:1", "app:2")]);
    patched(text, &["--kind", "Job", "a=app:2"], &[("two:1", "app:2")]);
}

#[test]
fn paths_and_assignments() {
    let path = ".spec.template.spec.containers[0].image";
    let change = [("r.test/team/app:1", "app:2")];
    patched(DEPLOYMENT, &["--at", path, "--image", "app:2"], &change);
    patched(DEPLOYMENT, &["--expr", &format!("{path} = \"app:2\"")], &change);
    let select = "(.spec.template.spec.containers[] | select(.name == \"app\")).image |= \"app:2\"";
    patched(DEPLOYMENT, &["--expr", select], &change);
    let run = Place::new()
        .command(&["--expr", &format!("{path} = strenv(IMAGE)")])
        .env("IMAGE", "app:2")
        .write_stdin(DEPLOYMENT)
        .assert();
    assert!(stdout(&run.success()).contains("image: app:2   # set by CI"));

    let error = refused(DEPLOYMENT, &["--expr", ".spec.containers[0].image = \"app:2\""]);
    assert!(error.contains("no value at .spec.containers[0].image in -"), "{error}");
    assert!(refused(DEPLOYMENT, &["--expr", &format!("{path} = \"UPPER CASE:::bad\"")]).contains("is not a"));
    let two = format!("{DEPLOYMENT}---\n{DEPLOYMENT}");
    assert!(refused(&two, &["--at", path, "--image", "app:2"]).contains("means 2 images"));
}

#[test]
fn kustomizations() {
    let text = format!(
        "\
kind: Kustomization
images:
- name: app   # ours
  newName: r.test/app
  newTag: \"1.0\"
- {{name: pinned, digest: {DIGEST}}}
"
    );
    patched(&text, &["--image", "r.test/app:1.10"], &[("\"1.0\"", "\"1.10\"")]);
    patched(&text, &["app=other.test/app:2"], &[("r.test/app", "other.test/app"), ("\"1.0\"", "\"2\"")]);
    let digest = DIGEST.replace("0123", "ffff");
    patched(&text, &["--image", &format!("pinned@{digest}")], &[(DIGEST, &digest)]);
    assert!(refused(&text, &["--image", "pinned:2"]).contains("-:6:26: the image has a digest here"));
}

#[test]
fn helm_values() {
    let text = format!(
        "\
web:
  image:
    registry: r.test
    repository: team/web   # path
    tag: 1
    digest: \"\"
plain: {{image: r.test/plain:1}}
job:
  image: {{repository: r.test/job, tag: '2', digest: '{DIGEST}'}}
"
    );
    patched(&text, &["--image", "r.test/team/web:1.10"], &[("tag: 1\n", "tag: \"1.10\"\n")]);
    let moved = [("registry: r.test", "registry: other.test"), ("team/web", "new"), ("tag: 1\n", "tag: b\n")];
    patched(&text, &["web=other.test/new:b"], &moved);
    patched(&text, &["--image", "r.test/plain:2"], &[("plain:1", "plain:2")]);
    let digest = DIGEST.replace("0123", "ffff");
    let pinned = format!("r.test/job:3@{digest}");
    patched(&text, &["--image", &pinned], &[("'2'", "'3'"), (DIGEST, &digest)]);
    assert!(refused(&text, &["--image", "r.test/job:3"]).contains("would be stale"));
    patched(&text, &["--at", ".web.image.tag", "--image", "any:9.0"], &[("tag: 1\n", "tag: \"9.0\"\n")]);
}

#[test]
fn flux_markers() {
    let text = "\
apiVersion: example.com/v1
kind: Thing
spec:
  runtime: r.test/run:1 # {\"$imagepolicy\": \"flux-system:run\"}
  parts:
    where: r.test/app # {\"$imagepolicy\": \"flux-system:app:name\"}
    which: '1' # {\"$imagepolicy\": \"flux-system:app:tag\"}
";
    patched(text, &["--image", "r.test/run:2"], &[("run:1", "run:2")]);
    patched(text, &["--image", "r.test/app:2"], &[("'1'", "'2'")]);
    patched(
        text,
        &["--policy", "flux-system:app", "--image", "new.test/app:2"],
        &[("r.test/app", "new.test/app"), ("'1'", "'2'")],
    );
}

#[test]
fn what_is_there_is_told_when_nothing_fits() {
    let error = refused(DEPLOYMENT, &["ap=app:2"]);
    assert!(error.contains("no container `ap` in -"), "{error}");
    assert!(error.contains("did you mean `app`?"), "{error}");
    assert!(error.contains("Deployment/web init container migrate (r.test/team/migrate:7)"), "{error}");
    let bare = "kind: Pod\nspec:\n  containers:\n  - name: a\n";
    assert!(refused(bare, &["a=app:2"]).contains("Pod container a (no image key)"));
}

#[test]
fn every_image_asked_for_must_be_there() {
    assert!(
        refused(DEPLOYMENT, &["--image", "envoy:2", "--image", "absent:1"]).contains("no image of absent")
    );
    assert!(
        refused(DEPLOYMENT, &["--image", "envoy:2", "--image", "envoy:3"]).contains("are of one repository")
    );
}
