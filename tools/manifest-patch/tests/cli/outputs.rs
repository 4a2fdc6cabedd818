//! What is printed and what is written.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, Place, stderr, stdout};

const NEW: [&str; 2] = ["--image", "r.test/team/app:2"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&NEW[..], more].concat()
}

/// As another program counts it.
fn sha256(text: &str) -> String {
    let place = Place::with("text", text);
    let output = std::process::Command::new("sha256sum").arg(place.path("text")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
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
fn a_dry_run_fails_where_the_run_would() {
    let place = Place::with("d.yml", DEPLOYMENT);
    let to = |path: &'static str| with(&["--template", "d.yml", "--to", path]);
    // Nobody, not even root, may make files here.
    let kernel = "/proc/self/new.yml";
    for arguments in [to("absent/new.yml"), to("d.yml/new.yml"), to(kernel), with(&["-i", "."])] {
        let run = place.run(&arguments).code(2);
        let rehearsed = place.run(&[&["-n"], arguments.as_slice()].concat()).code(2);
        let first = |run: &assert_cmd::assert::Assert| stderr(run).lines().next().unwrap().to_owned();
        if arguments.contains(&kernel) {
            assert!(stderr(&rehearsed).contains("can't write /proc/self/new.yml"), "{}", stderr(&rehearsed));
        } else {
            assert_eq!(first(&run), first(&rehearsed), "{arguments:?}");
        }
    }
    std::fs::create_dir(place.path("closed")).unwrap();
    place.write("closed/d.yml", DEPLOYMENT);
    std::fs::set_permissions(place.path("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    let run = place.run(&with(&["-i", "closed/d.yml"]));
    let status = run.get_output().status.code();
    place.write("closed/d.yml", DEPLOYMENT);
    assert_eq!(place.run(&with(&["-n", "-i", "closed/d.yml"])).get_output().status.code(), status);
    assert_eq!(place.files(), ["closed", "d.yml"]);
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
    assert_eq!(edit["byteRange"], json!([start, start + "r.test/team/app:1".len()]));
    assert_eq!(edit["verified"], json!(["bytes", "events", "meaning"]));
    assert_eq!(edit["file"], "d.yml");
    assert_eq!(
        (edit["document"].as_u64(), &edit["old"], &edit["new"]),
        (Some(0), &json!("r.test/team/app:1"), &json!("r.test/team/app:2"))
    );
    assert_eq!(proof["edits"].as_array().unwrap().len(), 1);
    assert_eq!(proof["unchanged"], json!(["e.yml"]));
    let [d, e] = proof["files"].as_array().unwrap().as_slice() else { panic!("{proof}") };
    assert_eq!(d["sha256Before"], sha256(DEPLOYMENT));
    assert_eq!(d["sha256After"], sha256(&place.read("d.yml")));
    assert_ne!(d["sha256Before"], d["sha256After"]);
    assert_eq!((&e["sha256Before"], &e["changed"]), (&e["sha256After"], &json!(false)));

    // The proof is enough to make the change.
    let mut made = DEPLOYMENT.to_owned();
    made.replace_range(start..start + "r.test/team/app:1".len(), edit["new"].as_str().unwrap());
    assert_eq!(made, place.read("d.yml"));

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
fn a_new_file_is_as_its_template_or_as_the_umask_says() {
    let place = Place::with("t.yml", DEPLOYMENT);
    std::fs::set_permissions(place.path("t.yml"), PermissionsExt::from_mode(0o640)).unwrap();
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    place.run(&with(&["--template", "t.yml", "--to", "one.yml"])).success();
    assert_eq!(mode("one.yml"), 0o640);
    place.pipe(DEPLOYMENT, &with(&["--template", "-", "--to", "two.yml"])).success();
    std::fs::write(place.path("three"), "").unwrap();
    assert_eq!(mode("two.yml"), mode("three"));

    std::fs::set_permissions(place.path("t.yml"), PermissionsExt::from_mode(0o777)).unwrap();
    let tool = place.spawnable(&with(&["--template", "t.yml", "--to", "four.yml"]));
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(place.path("")).args(["-c", "umask 027; exec \"$@\"", "sh"]);
    assert!(shell.arg(tool.get_program()).args(tool.get_args()).status().unwrap().success());
    assert_eq!(mode("four.yml"), 0o750);
}

fn make_pipe(place: &Place, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(place.path(name)).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_pipe_is_written_to_and_stays_one() {
    let place = Place::with("t.yml", DEPLOYMENT);
    make_pipe(&place, "pipe");
    let pipe = place.path("pipe");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    let mut command = place.command(&with(&["--template", "t.yml", "--to", "pipe"]));
    let run = command.timeout(Duration::from_secs(20)).assert().success();
    assert_eq!(stdout(&run), "pipe\n");
    assert_eq!(reader.join().unwrap(), DEPLOYMENT.replace("app:1 ", "app:2 "));
    assert!(std::fs::metadata(place.path("pipe")).unwrap().file_type().is_fifo());

    let run = place.command(&with(&["-i", "pipe"])).timeout(Duration::from_secs(20)).assert().code(2);
    assert!(stderr(&run).contains("pipe is a pipe or a device, which can't be replaced"), "{}", stderr(&run));
    assert_eq!(place.files(), ["pipe", "t.yml"]);
}

#[test]
fn stdout_and_a_link_to_a_new_file() {
    let place = Place::with("t.yml", DEPLOYMENT);
    let new = DEPLOYMENT.replace("app:1 ", "app:2 ");
    for to in ["-", "/dev/stdout"] {
        assert_eq!(stdout(&place.run(&with(&["--template", "t.yml", "--to", to])).success()), new);
    }
    std::fs::create_dir(place.path("there")).unwrap();
    symlink("there/d.yml", place.path("link.yml")).unwrap();
    symlink("link.yml", place.path("first.yml")).unwrap();
    place.run(&with(&["--template", "t.yml", "--to", "first.yml"])).success();
    assert_eq!(place.read("there/d.yml"), new);
    assert!(place.path("link.yml").is_symlink() && place.path("first.yml").is_symlink());
    assert_eq!(place.files(), ["first.yml", "link.yml", "t.yml", "there"]);
    symlink("loop.yml", place.path("loop.yml")).unwrap();
    place.run(&with(&["--template", "t.yml", "--to", "loop.yml"])).code(2);
}

#[test]
fn a_file_named_twice() {
    let place = Place::with("d.yml", DEPLOYMENT);
    place.run(&with(&["-i", "d.yml", "./d.yml"])).success();
    assert_eq!(place.read("d.yml"), DEPLOYMENT.replace("app:1 ", "app:2 "));
    assert_eq!(place.files(), ["d.yml"]);
}

/// Both changes are made, whoever comes first, and in whatever order each names the files.
#[test]
fn two_runs_at_once_lose_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.path("sub")).unwrap();
    let text = "containers:\n- {name: a, image: one:1}\n- {name: b, image: two:1}\n";
    for round in 0..40 {
        for file in ["d.yml", "sub/e.yml"] {
            place.write(file, text);
        }
        let runs = [["a=one:2", "d.yml", "sub/e.yml"], ["b=two:2", "sub/e.yml", "d.yml"]];
        let children = runs.map(|arguments| {
            let mut command = place.spawnable(&[&["-i"][..], &arguments].concat());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        });
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        for file in ["d.yml", "sub/e.yml"] {
            let both = text.replace("one:1", "one:2").replace("two:1", "two:2");
            assert_eq!(place.read(file), both, "round {round}");
        }
    }
    assert_eq!(place.files(), ["d.yml", "sub"]);
}

/// Whatever the moment at which a signal comes, all files are new or none is, and nothing is left behind.
#[test]
fn a_signal_leaves_all_files_or_none_changed() {
    let place = Place::new();
    let names: Vec<String> = (0..30).map(|number| format!("{number:02}.yml")).collect();
    let arguments: Vec<&str> = with(&["-i"]).into_iter().chain(names.iter().map(String::as_str)).collect();
    let write_all = || names.iter().for_each(|name| place.write(name, DEPLOYMENT));
    write_all();
    let start = Instant::now();
    place.run(&arguments).success();
    let whole = start.elapsed();
    for moment in 0..24 {
        write_all();
        let mut child = place.spawnable(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * moment / 20);
        let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
        let status = child.wait().unwrap();
        let new = names.iter().filter(|name| place.read(name) != DEPLOYMENT).count();
        // Before the tool watches for signals, the system itself ends it by them.
        let by_signal = status.signal() == Some(15) || status.code() == Some(143);
        assert!(status.success() || (killed.success() && by_signal), "{status}");
        // The signal may also come between the last file and the end.
        assert!(
            new == names.len() || (new == 0 && !status.success()),
            "{new} of {} files, {status}",
            names.len()
        );
        assert_eq!(place.files(), names, "{status}");
    }
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
    assert_eq!(proof["edits"][0]["verified"], json!(["bytes"]));
    crate::support::assert_schema(&proof);
}

#[test]
fn containers_in_brackets_of_a_template() {
    let chart = "kind: Pod\nspec:\n  {{- if .x }}\n  containers:\n  - {name: a, image: app:1}\n  - { image: \"app:1\",\n      name: b }\n  {{- end }}\n  initContainers: [{name: c, image: app:1}]\n";
    let place = Place::with("d.yml", chart);
    place.run(&["-i", "--image", "app:2", "d.yml"]).success();
    assert_eq!(place.read("d.yml"), chart.replace("app:1", "app:2"));
    place.run(&["-i", "b=app:3", "d.yml"]).success();
    assert_eq!(place.read("d.yml"), chart.replace("app:1", "app:2").replace("\"app:2\"", "\"app:3\""));
    let unread =
        "{{ x }}\ncontainers:\n- {name: a, image: app:{{ y }}, image: app:1}\n- {name: b, image: app:1}\n";
    place.write("d.yml", unread);
    let run = place.run(&["-i", "-o", "json", "--image", "app:2", "d.yml"]).success();
    let answer: Value = serde_json::from_str(&stdout(&run)).unwrap();
    crate::support::assert_schema(&answer);
    let told = "d.yml:3:3: what is in these brackets can't be read: no image in it is set";
    assert!(answer["warnings"].as_array().unwrap().contains(&json!(told)), "{answer}");
}

#[test]
fn help_has_examples() {
    let help = stdout(&Place::new().run(&["--help"]).success());
    assert!(help.contains("Examples:") && help.contains("MANIFEST_PATCH_TEMPLATE"));
    let version = stdout(&Place::new().run(&["--version"]).success());
    assert!(version.starts_with("manifest-patch "));
}
