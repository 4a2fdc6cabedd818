//! Which images are meant, in every kind of file that holds some.

use crate::support::{DEPLOYMENT, DIGEST, Place, assert_schema, stderr, stdout};

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

/// Every kind that holds pods, and the path to their specification.
const KINDS: [(&str, &str, &[&str]); 10] = [
    ("v1", "Pod", &["spec"]),
    ("v1", "PodTemplate", &["template", "spec"]),
    ("v1", "ReplicationController", &["spec", "template", "spec"]),
    ("apps/v1", "Deployment", &["spec", "template", "spec"]),
    ("apps/v1", "ReplicaSet", &["spec", "template", "spec"]),
    ("apps/v1", "StatefulSet", &["spec", "template", "spec"]),
    ("apps/v1", "DaemonSet", &["spec", "template", "spec"]),
    ("batch/v1", "Job", &["spec", "template", "spec"]),
    ("batch/v1", "CronJob", &["spec", "jobTemplate", "spec", "template", "spec"]),
    ("argoproj.io/v1alpha1", "Rollout", &["spec", "template", "spec"]),
];

#[test]
fn every_kind_and_every_place_in_it() {
    let pod = "containers: [{name: a, image: r.test/main:1}], initContainers: [{name: b, image: r.test/init:1}], \
        ephemeralContainers: [{name: c, image: r.test/debug:1}], \
        volumes: [{name: d, image: {reference: r.test/data:1}}, {name: e, emptyDir: {}}]";
    for (version, kind, path) in KINDS {
        let spec = path.iter().rev().fold(pod.to_owned(), |inner, key| format!("{key}: {{{inner}}}"));
        let object = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}, {spec}}}");
        for text in [
            format!("{object}\n"),
            format!("kind: List\napiVersion: v1\nitems:\n- {object}\n"),
            format!("kind: {kind}List\napiVersion: {version}\nitems:\n- {{kind: Namespace}}\n- {object}\n"),
        ] {
            for repository in ["main", "init", "debug", "data"] {
                let old = format!("r.test/{repository}:1");
                let new = format!("r.test/{repository}:2");
                patched(&text, &["--kind", kind, "--name", "x", "--image", &new], &[(&old, &new)]);
            }
            for (name, old) in [("a", "r.test/main:1"), ("b", "r.test/init:1"), ("c", "r.test/debug:1")] {
                patched(&text, &[&format!("{name}=other:2")], &[(old, "other:2")]);
            }
        }
    }
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
        error.contains("means 2 images: -:3:33 Pod container a (one); -:9:37 Job container a (two)"),
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
fn a_digest_that_has_no_place_is_told() {
    let pinned = format!("r.test/app:2@{DIGEST}");
    let kustomization = "kind: Kustomization\nimages:\n- name: r.test/app\n  newTag: old\n";
    let values = "image: {repository: r.test/app, tag: v1}\n";
    for (text, told) in [
        (kustomization, true),
        (values, true),
        ("kind: Kustomization\nimages:\n- name: r.test/app\n  newTag: old\n  digest: \"\"\n", false),
        ("image: {repository: r.test/app, tag: v1, sha: \"\"}\n", false),
        ("kind: Pod\nspec: {containers: [{name: a, image: r.test/app}]}\n", false),
        ("image:\n  repository: r.test/app\n  tag: v1 # {\"$imagepolicy\": \"a:b:tag\"}\n", true),
    ] {
        let run = Place::new().command(&["--image", &pinned]).write_stdin(text).assert().success();
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert_eq!(said.contains("there is no key for the digest"), told, "{text}{said}");
        let json = ["-o", "json", "--image", &pinned];
        let run_json = Place::new().command(&json).write_stdin(text).assert().success();
        let answer: serde_json::Value = serde_json::from_str(&stdout(&run_json)).unwrap();
        assert_schema(&answer);
        let warnings = answer["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(told), "{answer}");
        assert!(warnings.iter().all(|warning| said.contains(warning.as_str().unwrap())), "{answer}");
        let run = Place::new().command(&["--image", "r.test/app:2"]).write_stdin(text).assert();
        assert_eq!(run.get_output().stderr, b"", "{text}");
    }
}

/// There is nothing else in such a reference that could be set.
#[test]
fn a_digest_alone_needs_a_place() {
    for text in [
        "kind: Kustomization\nimages:\n- name: app\n  newName: r.test/app\n",
        "kind: Kustomization\nimages:\n- name: r.test/app\n",
        "image:\n  repository: r.test/app\n  tag: \"\"\n",
        "image:\n  repository: r.test/app\n",
    ] {
        let error = refused(text, &["--image", &format!("r.test/app@{DIGEST}")]);
        assert!(error.contains("the image has no key for the reference's digest"), "{error}");
        assert!(error.contains("hint: add the key"), "{error}");
    }
    let tagged = "image:\n  repository: r.test/app\n  tag: v1\n";
    assert!(refused(tagged, &["--image", &format!("r.test/app@{DIGEST}")]).contains("would be stale"));
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
    patched(&text, &["--expr", ".web.image.tag = \"9.0\""], &[("tag: 1\n", "tag: \"9.0\"\n")]);
    patched(&text, &["--at", ".web.image", "--image", "r.test/team/web:2"], &[("tag: 1\n", "tag: \"2\"\n")]);
    patched(
        &text,
        &["--expr", ".job.image.digest |= \"{DIGEST}\"".replace("{DIGEST}", &digest).as_str()],
        &[(DIGEST, &digest)],
    );
}

#[test]
fn what_is_null_is_not_there() {
    let pinned = format!("r.test/app:2@{DIGEST}");
    for null in ["null", "~", "Null", "NULL", "\"\""] {
        let text = format!("image: {{registry: r.test, repository: app, tag: v1, digest: {null}}}\n");
        patched(&text, &["--image", "r.test/app:v2"], &[("v1", "v2")]);
        let digest = [
            ("v1", "\"2\""),
            (
                &*format!("digest: {null}"),
                &*format!("digest: {quote}{DIGEST}{quote}", quote = if null == "\"\"" { "\"" } else { "" }),
            ),
        ];
        patched(&text, &["--image", &pinned], &digest);
        let text =
            format!("image: {{registry: {null}, repository: r.test/app, tag: {null}, digest: {DIGEST}}}\n");
        let other = DIGEST.replace("0123", "ffff");
        patched(&text, &["--image", &format!("r.test/app@{other}")], &[(DIGEST, &other)]);
    }
    let word = "image: {repository: r.test/app, tag: v1, digest: 'null'}\n";
    assert!(refused(word, &["--image", "r.test/app:v2"]).contains("would be stale"));
}

#[test]
fn helm_values_of_other_charts() {
    let image = "r.test/team/app:2";
    for (text, old, new) in [
        ("image:\n  repository: r.test/team/app\n  tag: \"\" # the chart's\n", "\"\"", "\"2\""),
        ("image:\n  repository: r.test/team/app\n  tag:\n", "tag:", "tag: \"2\""),
        ("image: {repository: r.test/team/app, version: v1}\n", "v1", "\"2\""),
        ("image: {registry: r.test, name: team/app, tag: v1}\n", "v1", "\"2\""),
        ("web:\n  image: r.test/team/app\n  imageTag: v1\n", "v1", "\"2\""),
        ("web:\n  image: r.test/team/app\n  tag: v1\n", "v1", "\"2\""),
        ("sidecarImage: r.test/team/app\nsidecarImageTag: v1\n", "v1", "\"2\""),
        ("sidecarImage: r.test/team/app:v1\n", "app:v1", "app:2"),
        ("images:\n- {repository: r.test/team/app, tag: v1}\n", "v1", "\"2\""),
        ("image: r.test/team/app:v1\ntag: other\n", "app:v1", "app:2"),
    ] {
        patched(text, &["--image", image], &[(old, new)]);
    }
    let digits = &DIGEST["sha256:".len()..];
    let sha = format!(
        "image:\n  repository: r.test/team/app\n  tag: v1\n  sha: {}\n",
        digits.replace("0123", "ffff")
    );
    let pinned = format!("{image}@{DIGEST}");
    patched(&sha, &["--image", &pinned], &[("v1", "\"2\""), (&digits.replace("0123", "ffff"), digits)]);
    assert!(refused(&sha, &["--image", image]).contains("-:4:8: the image has a digest here"));
    let untagged = "image:\n  repository: r.test/team/app\n";
    assert!(
        refused(untagged, &["--image", image])
            .contains("-:2:15: the image has no key for the reference's tag")
    );
    patched(untagged, &["--at", ".image.repository", "--image", "r.test/new:2"], &[("team/app", "new")]);
}

#[test]
fn values_inside_other_objects() {
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec:\n  values:\n    image: {repository: r.test/app, tag: v1}\n";
    patched(release, &["--image", "r.test/app:v2"], &[("v1}", "v2}")]);
    let inline = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nhelmCharts:\n- name: c\n  valuesInline:\n    image: {repository: r.test/app, tag: v1}\n";
    patched(inline, &["--image", "r.test/app:v2"], &[("v1}", "v2}")]);
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  images:\n  - name: r.test/app\n    newTag: old\n";
    patched(flux, &["--image", "r.test/app:v2"], &[("old", "v2")]);
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages:\n- name: app\n  newTag: old\n";
    patched(component, &["app=app:v2"], &[("old", "v2")]);
    let bare = "resources: [x.yml]\nimages:\n- name: app\n  newTag: old\n";
    patched(bare, &["--image", "app:v2"], &[("old", "v2")]);
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
    let digest = format!(
        "image:\n  repository: r.test/app # {{\"$imagepolicy\": \"a:b:name\"}}\n  sum: {DIGEST} # {{\"$imagepolicy\": \"a:b:digest\"}}\n"
    );
    let pinned = format!("r.test/app@{}", DIGEST.replace("0123", "ffff"));
    patched(&digest, &["--policy", "a:b", "--image", &pinned], &[(DIGEST, &DIGEST.replace("0123", "ffff"))]);
    let tag = "data:\n  TAG: v1 # {\"$imagepolicy\": \"a:b:tag\"}\nkind: ConfigMap\n";
    patched(tag, &["--policy", "a:b", "--image", "any:v2"], &[("v1", "v2")]);
    patched(
        text,
        &["--policy", "flux-system:app", "--image", "new.test/app:2"],
        &[("r.test/app", "new.test/app"), ("'1'", "'2'")],
    );
}

#[test]
fn each_flux_marker_is_one_of_its_own() {
    let mark = |part: &str| format!("# {{\"$imagepolicy\": \"a:b{part}\"}}");
    let tags = format!("data:\n  ONE: v1 {0}\n  TWO: v2 {0}\nkind: ConfigMap\n", mark(":tag"));
    patched(&tags, &["--policy", "a:b", "--image", "any:v3"], &[("v1", "v3"), ("v2", "v3")]);
    let pinned = format!("any:v3@{}", DIGEST.replace("0123", "ffff"));
    let no_name = format!("x:\n  which: v1 {}\n  sum: {DIGEST} {}\n", mark(":tag"), mark(":digest"));
    let digest = DIGEST.replace("0123", "ffff");
    patched(&no_name, &["--policy", "a:b", "--image", &pinned], &[("v1", "v3"), (DIGEST, &digest)]);
    let named = format!(
        "x:\n  which: v1 {0}\n  where: r.test/app {1}\n  again: v2 {0}\n",
        mark(":tag"),
        mark(":name")
    );
    let all = [("v1", "v3"), ("r.test/app", "new.test/app"), ("v2", "v3")];
    patched(&named, &["--policy", "a:b", "--image", "new.test/app:v3"], &all);
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
fn the_objects_are_told_where_the_scope_leaves_no_image() {
    let list = "kind: List\nitems:\n- {kind: Job, metadata: {name: once}}\n- {kind: Secret}\n";
    let text = format!("{DEPLOYMENT}---\n{list}---\nimage: app:1\n");
    let objects =
        "there are: - document 0 Deployment/web; - document 1 Job/once; - document 1 Secret; - document 2\n";
    for scope in [["--kind", "Deploymnt"], ["--name", "wbe"], ["--doc", "7"]] {
        let error = refused(&text, &[&scope[..], &["--image", "r.test/team/app:2"]].concat());
        assert!(error.contains(objects), "{error}");
        assert!(!error.contains("no images at all"), "{error}");
        let run = Place::new().pipe(&text, &[&scope[..], &["-o", "json", "app=a:2"]].concat()).code(2);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
        assert_schema(&answer);
        assert_eq!(answer["refusal"]["objects"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn what_manifests_say_does_not_steer_the_terminal() {
    let text = "kind: Pod\nspec:\n  containers: [{name: \"a\\e[2J\", image: app:1}]\n";
    let error = refused(text, &["b=app:2"]);
    assert!(error.contains("container a\\x1b[2J (app:1)") && !error.contains('\u{1b}'), "{error:?}");
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
