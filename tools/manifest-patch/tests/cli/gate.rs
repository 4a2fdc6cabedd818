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
fn directories_are_compared_file_by_file() {
    let place = Place::new();
    for state in ["before", "after"] {
        std::fs::create_dir_all(place.path(state).join("sub")).unwrap();
        place.write(&format!("{state}/same.txt"), "same\n");
    }
    place.write("before/sub/d.yml", DEPLOYMENT);
    place.write("after/sub/d.yml", &DEPLOYMENT.replace("app:1 ", "app:2 "));
    place.run(&["verify", "before", "after"]).success();
    place.write("after/new.yml", "kind: Pod\n");
    let run = place.run(&["verify", "before", "after", "-o", "json"]).code(1);
    let answer: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_schema(&answer);
    assert_eq!(answer["others"][0]["what"], "a new file");
    assert_eq!(answer["edits"][0]["new"], "r.test/team/app:2");
}
