//! What is printed and what is written.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use crate::support::{DEPLOYMENT, Place, stderr, stdout};

const NEW: [&str; 2] = ["--image", "r.test/team/app:2"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&NEW[..], more].concat()
}

#[test]
fn check_answers_and_writes_nothing() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let run = place.run(&with(&["--check", "-i", "d.yml"])).code(1);
    assert_eq!(stdout(&run), "d.yml\n");
    assert_eq!(place.read("d.yml"), DEPLOYMENT);
    place.run(&["--check", "--image", "r.test/team/app:1", "d.yml"]).code(0);
}

#[test]
fn a_dry_run_prints_the_same_and_writes_nothing() {
    let place = Place::with("d.yml", DEPLOYMENT);
    assert_eq!(stdout(&place.run(&with(&["-n", "-i", "d.yml"])).success()), "d.yml\n");
    assert_eq!(place.read("d.yml"), DEPLOYMENT);
    place.run(&with(&["-n", "--template", "d.yml", "--to", "new.yml"])).success();
    assert_eq!(place.files(), ["d.yml"]);
}

#[test]
fn the_diff_is_one_that_git_applies() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let diff = stdout(&place.run(&with(&["--diff", "d.yml"])).success());
    assert!(diff.contains(
        "\n-        image: r.test/team/app:1   # set by CI\n+        image: r.test/team/app:2   # set by CI\n"
    ));
    assert_eq!(place.read("d.yml"), DEPLOYMENT);
    place.write("patch", &diff);
    let applied =
        std::process::Command::new("git").current_dir(place.path("")).args(["apply", "patch"]).status();
    assert!(applied.unwrap().success());
    assert_eq!(place.read("d.yml"), DEPLOYMENT.replace("app:1 ", "app:2 "));
}

#[test]
fn json_is_the_proof() {
    let place = Place::with("d.yml", DEPLOYMENT);
    place.write("e.yml", "kind: Pod\n");
    let run = place.run(&with(&["-i", "-o", "json", "d.yml", "e.yml"])).success();
    let proof: Value = serde_json::from_str(&stdout(&run)).unwrap();
    crate::support::assert_schema(&proof);
    let edit = &proof["edits"][0];
    assert_eq!(edit["path"], ".spec.template.spec.containers[0].image");
    assert_eq!((edit["line"].as_u64(), edit["column"].as_u64()), (Some(14), Some(16)));
    let start = DEPLOYMENT.find("r.test/team/app:1").unwrap();
    assert_eq!(edit["byteRange"], serde_json::json!([start, start + "r.test/team/app:1".len()]));
    assert_eq!(edit["verified"], serde_json::json!(["bytes", "events", "meaning"]));
    assert_eq!(proof["unchanged"], serde_json::json!(["e.yml"]));

    let failed = place.run(&["-o", "json", "x=app:2", "d.yml"]).code(2);
    crate::support::assert_schema(&serde_json::from_str(&stdout(&failed)).unwrap());
}

#[test]
fn dotenv() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let run = place.run(&with(&["-i", "-o", "dotenv", "d.yml"])).success();
    assert_eq!(stdout(&run), "MANIFEST_CHANGED=true\nMANIFEST_EDITS=1\n");
}

#[test]
fn modes_and_symbolic_links_stay() {
    let place = Place::with("d.yml", DEPLOYMENT);
    std::fs::set_permissions(place.path("d.yml"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("d.yml", place.path("link.yml")).unwrap();
    place.run(&with(&["-i", "link.yml"])).success();
    assert!(place.path("link.yml").is_symlink());
    assert!(place.read("d.yml").contains("app:2"));
    let mode = std::fs::metadata(place.path("d.yml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn several_files_all_or_none() {
    let place = Place::with("a.yml", DEPLOYMENT);
    place.write("b.yml", "containers: [{name: x, image: *unknown}]\nimage: r.test/team/app:1\n");
    place.run(&with(&["-i", "a.yml", "b.yml"])).code(2);
    assert_eq!(place.read("a.yml"), DEPLOYMENT);

    // The second can be read but not replaced: a directory stands where its target should be.
    std::fs::create_dir(place.path("to")).unwrap();
    let run = place.run(&with(&["--template", "a.yml", "--to", "to"])).code(2);
    assert!(stderr(&run).contains("can't read to"), "{}", stderr(&run));
    assert_eq!(place.files(), ["a.yml", "b.yml", "to"]);
}

#[test]
fn a_closed_or_full_stdout() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.spawnable(&with(&["d.yml"]));
    assert_eq!(command.stdout(full).output().unwrap().status.code(), Some(2));
}

#[test]
fn templates_are_labelled_and_strict_refuses_them() {
    let chart = "kind: Deployment\nspec:\n  containers:\n  {{- if .x }}\n  - name: a\n    image: 'app:1'   # {{ x }}\n  {{- end }}\n  - image: {{ .image }}\n";
    let place = Place::with("d.yml", chart);
    let run = place.run(&["-i", "--strict", "--image", "app:2", "d.yml"]).code(2);
    assert!(stderr(&run).contains("d.yml:6:12: a template that is not YAML can't be verified"));
    let run = place.run(&["-i", "--image", "app:2", "d.yml"]).success();
    assert!(stderr(&run).contains("d.yml is a template, not YAML"));
    assert_eq!(place.read("d.yml"), chart.replace("app:1", "app:2"));
    let run = place.run(&["-n", "-o", "json", "a=app:3", "d.yml"]).success();
    let proof: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(proof["edits"][0]["verified"], serde_json::json!(["bytes"]));
    crate::support::assert_schema(&proof);
}

#[test]
fn help_has_examples() {
    let help = stdout(&Place::new().run(&["--help"]).success());
    assert!(help.contains("Examples:") && help.contains("MANIFEST_PATCH_TEMPLATE"));
    let version = stdout(&Place::new().run(&["--version"]).success());
    assert!(version.starts_with("manifest-patch "));
}
