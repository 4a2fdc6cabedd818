//! The pipeline's step: references as imgpush prints them, a template, and the file it becomes.

use crate::support::{DEPLOYMENT, DIGEST, Place, stderr, stdout};

const TEMPLATE: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  template:
    spec:
      containers:
        - name: hello-python
          image: hello-python   # by the pipeline
";

const STEP: [&str; 8] =
    ["--image", "-", "--container", "hello-python", "--template", "d.yml.tmpl", "--to", "d.yml"];

#[test]
fn a_template_becomes_the_manifest() {
    let place = Place::with("d.yml.tmpl", TEMPLATE);
    let image = format!("r.test:5000/team/hello:4b1c9e2@{DIGEST}");
    let run = place.pipe(&format!("{image}\n"), &STEP).success();
    assert_eq!(stdout(&run), "d.yml\n");
    assert_eq!(place.read("d.yml"), TEMPLATE.replace("image: hello-python", &format!("image: {image}")));
    assert_eq!(place.read("d.yml.tmpl"), TEMPLATE);

    let again = place.pipe(&format!("{image}\n"), &STEP).success();
    assert_eq!(stdout(&again), "", "a file that has its content already is not reported");
    assert_eq!(place.files(), ["d.yml", "d.yml.tmpl"]);
}

#[test]
fn any_placeholder_can_be_replaced_by_the_containers_name() {
    for placeholder in ["IMAGE", "${IMAGE}", "{{ .Image }}", "<image>", "'@IMAGE@'", "", "1.10", "~"] {
        let template = TEMPLATE.replace("image: hello-python", &format!("image: {placeholder}"));
        let place = Place::with("d.yml.tmpl", &template);
        place.pipe("app:1\n", &STEP).success();
        let quoted = if placeholder.starts_with('\'') { "'app:1'" } else { "app:1" };
        let space = if placeholder.is_empty() { "image: app:1 " } else { "image: app:1" };
        let written = place.read("d.yml").replace(quoted, "app:1").replace(space, "image: app:1");
        assert_eq!(written, TEMPLATE.replace("image: hello-python", "image: app:1"), "{placeholder}");
    }
}

#[test]
fn an_empty_stdin_is_an_error_that_names_the_step_before() {
    let place = Place::with("d.yml.tmpl", TEMPLATE);
    let run = place.pipe("\n", &STEP).code(2);
    assert!(stderr(&run).contains("stdin has no image reference"));
    assert_eq!(place.files(), ["d.yml.tmpl"]);
}

/// The options of a job's variables, as pipelines set them for all of its calls.
#[test]
fn variables_give_way_to_the_command_line() {
    let text =
        "kind: Pod\nspec:\n  containers:\n  - {name: web, image: app:1}\n  - {name: b, image: other:1}\n";
    let place = Place::with("d.yml", text);
    let expression = ".spec.containers[0].image = \"app:2\"";
    for arguments in [
        &["web=app:2"][..],
        &["--expr", expression],
        &["--image", "app:2", "--at", ".spec.containers[0].image"],
        &["--image", "app:2", "--container", "web"],
        &["--image", "app:2", "-i"],
    ] {
        place.write("d.yml", text);
        let mut command = place.command(&[&["d.yml"], arguments].concat());
        for (name, value) in [
            ("IMAGE", "absent.test/x:9"),
            ("CONTAINER", if arguments.contains(&"-i") { "web" } else { "b" }),
            ("TEMPLATE", "absent.yml"),
            ("TO", "new.yml"),
        ] {
            command.env(format!("MANIFEST_PATCH_{name}"), value);
        }
        let run = command.assert().success();
        let written = if arguments.contains(&"-i") { place.read("d.yml") } else { stdout(&run) };
        assert_eq!(written, text.replace("app:1", "app:2"), "{arguments:?}");
        assert_eq!(place.files(), ["d.yml"]);
    }
    let mut command = place.command(&["--container", "b", "d.yml"]);
    let run = command.env("MANIFEST_PATCH_IMAGE", "new:1").env("MANIFEST_PATCH_CONTAINER", "web").assert();
    assert!(stdout(&run.success()).contains("{name: b, image: new:1}"));
    let mut command = place.command(&["verify", "d.yml", "d.yml"]);
    command.env("MANIFEST_PATCH_IMAGE", "new:1").env("MANIFEST_PATCH_TO", "x").assert().success();
}

#[test]
fn options_that_exclude_each_other() {
    let place = Place::with("d.yml", TEMPLATE);
    for arguments in [
        &["--container", "a", "--at", ".x"][..],
        &["--container", "a", "--policy", "a:b"],
        &["--at", ".x", "--policy", "a:b"],
        &["--template", "d.yml", "--to", "e.yml", "-i"],
        &["--template", "d.yml"],
        &["--to", "e.yml", "d.yml"],
    ] {
        let run = place.run(&[&["--image", "app:2"], arguments].concat()).code(2);
        assert!(stderr(&run).contains("exclude each other") || stderr(&run).contains(" needs --"));
        assert!(stderr(&run).contains("hint: "));
    }
    assert_eq!(place.files(), ["d.yml"]);
}

#[test]
fn several_images_for_one_container_are_refused() {
    let place = Place::with("d.yml.tmpl", TEMPLATE);
    let run = place.pipe("app:1\nother:2\n", &STEP).code(2);
    assert!(stderr(&run).contains("2 images were given for one place"));
}

#[test]
fn stdin_goes_to_stdout_and_only_the_value_changes() {
    let place = Place::new();
    let run = place.pipe(DEPLOYMENT, &["--image", "r.test/team/app:22"]).success();
    assert_eq!(stdout(&run), DEPLOYMENT.replace("team/app:1 ", "team/app:22 "));
    let same = place.pipe(DEPLOYMENT, &["--image", "r.test/team/app:1"]).success();
    assert_eq!(stdout(&same), DEPLOYMENT);
}

#[test]
fn a_file_is_replaced_in_place() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let run = place.run(&["-i", "--image", "envoy:2", "migrate=r.test/team/migrate:8", "d.yml"]).success();
    assert_eq!(stdout(&run), "d.yml\n");
    let expected =
        DEPLOYMENT.replace("docker.io/library/envoy:1.2", "envoy:2").replace("migrate:7", "migrate:8");
    assert_eq!(place.read("d.yml"), expected);
    assert_eq!(place.files(), ["d.yml"]);
}
