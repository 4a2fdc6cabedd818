//! `verify BEFORE AFTER`: did nothing but images change?

use serde_json::Value;

use crate::support::{DEPLOYMENT, Place, assert_schema, stdout};

fn answer(after: &str) -> (Option<i32>, String) {
    let place = Place::with("before.yml", DEPLOYMENT);
    place.write("after.yml", after);
    let run = place.run(&["verify", "before.yml", "after.yml"]);
    (run.get_output().status.code(), stdout(&run))
}

#[test]
fn images_may_change() {
    let (status, lines) =
        answer(&DEPLOYMENT.replace("team/app:1", "team/app:2").replace("envoy:1.2", "envoy:1.3"));
    assert_eq!(status, Some(0), "{lines}");
    let app =
        "image after.yml:14 .spec.template.spec.containers[0].image r.test/team/app:1 -> r.test/team/app:2\n";
    assert!(lines.starts_with(app), "{lines}");
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(answer(DEPLOYMENT), (Some(0), String::new()));
}

#[test]
fn nothing_else_may() {
    for (old, new) in [
        ("0644", "0645"),
        ("# aligned", "# changed"),
        ("name:  app", "name: app"),
        ("kind: Deployment", "kind: DaemonSet"),
        ("team/app:1 ", "UPPER:::bad "),
        ("image: r.test/team/app:1", "image: r.test/team/app:2\n        tty: true"),
    ] {
        let (status, lines) = answer(&DEPLOYMENT.replace(old, new));
        assert_eq!(status, Some(1), "{old}");
        assert!(lines.lines().any(|line| line.starts_with("other after.yml:")), "{lines}");
    }
}

#[test]
fn what_the_tool_itself_changes_passes() {
    for (text, arguments) in [
        (DEPLOYMENT, &["app=other.test/app:3"][..]),
        ("image: {repository: app, tag: , digest: ''}\n", &["--image", "app:1.10"]),
        ("image:\n  repository: app\n  tag:\n", &["--image", "app:2"]),
        ("containers:\n- name: a\n  image:\n", &["a=app:2"]),
        ("containers:\n- name: a\n  image: >-\n    app:1\n", &["a=app:2"]),
        ("containers:\n- name: a\n  image: >-\n\n    app:1\n", &["a=app:2"]),
        ("x: &i app:1\ncontainers:\n- {name: a, image: *i}\n", &["--break-alias", "a=app:2"]),
        ("containers:\n- &x {name: a, image: app:1}\n- *x\n", &["--allow-shared", "a=app:2"]),
        ("kind: Kustomization\nimages:\n- name: app\n  newName: b\n  newTag: V1\n", &["app=c:2"]),
        ("data:\n  TAG: v1 # {\"$imagepolicy\": \"a:b:tag\"}\n", &["--policy", "a:b", "--image", "any:V2-B"]),
        (
            "x: 1\nx: 2\n---\ncontainers: [{name: a, image: app}]\n---\n# {{ template }}\n{{ x }}\n",
            &["a=app:2"],
        ),
        ("# one\n---\nkind: Pod\n---\n{containers: [{name: a, image: app}]}", &["a=app:2"]),
    ] {
        let place = Place::with("before.yml", text);
        place.write("after.yml", text);
        place.run(&[&["-i", "after.yml"], arguments].concat()).success();
        assert_ne!(place.read("after.yml"), text);
        let run = place.run(&["verify", "before.yml", "after.yml"]);
        assert_eq!(run.get_output().status.code(), Some(0), "{}", stdout(&run));
        assert!(stdout(&run).lines().all(|line| line.starts_with("image after.yml:")), "{}", stdout(&run));
        assert!(stdout(&run).lines().count() > 0);
    }
}

#[test]
fn places_are_told_of_the_whole_file() {
    let two = format!("{DEPLOYMENT}---\n{DEPLOYMENT}");
    let place = Place::with("before.yml", &two);
    let at = two.rfind("team/app:1").unwrap();
    place.write("after.yml", &format!("{}team/app:2{}", &two[..at], &two[at + "team/app:1".len()..]));
    let run = place.run(&["verify", "-o", "json", "before.yml", "after.yml"]).success();
    let edit = serde_json::from_str::<Value>(&stdout(&run)).unwrap()["edits"][0].clone();
    let start = two.rfind("r.test/team/app:1").unwrap();
    assert_eq!((edit["document"].as_u64(), edit["byteRange"][0].as_u64()), (Some(1), Some(start as u64)));
    assert_eq!(edit["line"].as_u64(), Some(14 + DEPLOYMENT.lines().count() as u64 + 1));
}

#[test]
fn a_value_that_repeats_an_image_is_not_one() {
    let text = "containers:\n- name: a\n  image: &i app:1\n  env:\n  - {name: IMAGE, value: *i}\n";
    let place = Place::with("before.yml", text);
    place.write("after.yml", &text.replace("app:1", "app:2"));
    let run = place.run(&["verify", "before.yml", "after.yml"]).code(1);
    assert!(stdout(&run).contains("other after.yml:3 .containers[0].env[0].value"), "{}", stdout(&run));
}

#[test]
fn records_are_lines_whatever_the_manifests_say() {
    let (status, lines) = answer(&DEPLOYMENT.replace("# aligned", "# \u{1b}]0;x\u{7}"));
    assert_eq!(status, Some(1));
    assert_eq!(lines, "other after.yml:5 name:      web   # \\x1b]0;x\\x07\n");
}

#[test]
fn what_can_not_be_compared_is_an_error() {
    let place = Place::with("before.yml", DEPLOYMENT);
    place.run(&["verify", "before.yml", "absent.yml"]).code(2);
    place.run(&["verify", "absent.yml", "before.yml"]).code(2);
    std::fs::create_dir(place.path("folder")).unwrap();
    place.run(&["verify", "before.yml", "folder"]).code(2);
}

#[test]
fn directories_are_compared_file_by_file() {
    let place = Place::new();
    for state in ["before", "after"] {
        std::fs::create_dir_all(place.path(state).join("sub")).unwrap();
        place.write(&format!("{state}/same.txt"), "same\n");
    }
    place.write("before/sub/d.yml", DEPLOYMENT);
    place.write("after/sub/d.yml", &DEPLOYMENT.replace("app:1 ", "app:2 "));
    for state in ["before", "after"] {
        std::os::unix::fs::symlink("nowhere", place.path(state).join("link")).unwrap();
    }
    place.run(&["verify", "before", "after"]).success();
    place.write("after/new.yml", "kind: Pod\n");
    let run = place.run(&["verify", "before", "after", "-o", "json"]).code(1);
    let answer: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_schema(&answer);
    assert_eq!(answer["others"][0]["what"], "a new file");
    assert_eq!(answer["edits"][0]["new"], "r.test/team/app:2");
}
