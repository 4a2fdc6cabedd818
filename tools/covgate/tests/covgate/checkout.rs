//! Which file of a report is which of another, of the diff, and of the work tree.

use crate::reports::{Answer, Bench};

/// A Cobertura report of one file below a source folder, with two of these lines covered.
fn cobertura(source: &str, file: &str, covered: [u32; 2]) -> String {
    let lines: Vec<String> = (1..=4)
        .map(|line| format!("<line number=\"{line}\" hits=\"{}\"/>", u32::from(covered.contains(&line))))
        .collect();
    format!(
        "<coverage line-rate=\"0.5\"><sources><source>{source}</source></sources><packages><package><classes>\
         <class name=\"m\" filename=\"{file}\"><lines>{}</lines></class></classes></package></packages></coverage>",
        lines.concat()
    )
}

fn lcov(file: &str) -> String {
    format!("SF:{file}\nDA:1,1\nDA:2,1\nDA:3,0\nDA:4,0\nend_of_record\n")
}

fn diff(file: &str) -> String {
    format!("--- a/{file}\n+++ b/{file}\n@@ -2,1 +2,2 @@\n two\n+three\n")
}

/// `covered/total` of the union, and what was said of it.
fn union(bench: &Bench, variables: &[(&str, &str)], reports: &[&str]) -> (String, String) {
    let answer = bench.run_with(&[&["--fail-under", "0"], reports].concat(), variables, "");
    let count = answer.stderr().split_once("% (").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    (count.split(" lines").next().unwrap_or_default().to_owned(), answer.stderr())
}

#[test]
fn a_source_folder_is_the_beginning_of_a_path() {
    let bench = Bench::new()
        .with("c.xml", cobertura("/builds/g/p/app", "m.py", [3, 4]))
        .with("relative.info", lcov("app/m.py"))
        .with("absolute.info", lcov("/builds/g/p/app/m.py"))
        .with("windows.info", lcov("C:\\p\\app\\m.py"))
        .with("windows.xml", cobertura("C:\\p\\", "app\\m.py", [3, 4]))
        .with("other.info", lcov("lib/m.py"));
    for (reports, expected) in [
        (["c.xml", "relative.info"], "4 of 4"),
        (["relative.info", "c.xml"], "4 of 4"),
        (["c.xml", "absolute.info"], "4 of 4"),
        (["windows.xml", "windows.info"], "4 of 4"),
        (["windows.xml", "relative.info"], "4 of 4"),
        (["c.xml", "other.info"], "4 of 8"),
    ] {
        assert_eq!(union(&bench, &[], &reports).0, expected, "{reports:?}");
    }
}

#[test]
fn packages_of_one_repository_stay_apart_and_checkouts_of_it_do_not() {
    let bench = Bench::new()
        .with("a.xml", cobertura("/builds/g/p/a/src", "main.py", [1, 2]))
        .with("b.xml", cobertura("/builds/g/p/b/src", "main.py", [3, 4]))
        .with("slot-0.xml", cobertura("/builds/0/g/p/src", "main.py", [1, 2]))
        .with("slot-1.xml", cobertura("/builds/1/g/p/src", "main.py", [3, 4]));
    assert_eq!(union(&bench, &[], &["a.xml", "b.xml"]).0, "4 of 8");
    let project = [("CI_PROJECT_PATH", "g/p")];
    assert_eq!(union(&bench, &project, &["a.xml", "b.xml"]).0, "4 of 8");
    assert_eq!(union(&bench, &project, &["slot-0.xml", "slot-1.xml"]).0, "4 of 4");
}

#[test]
fn a_file_that_could_be_several_is_counted_apart_and_named() {
    let bench =
        Bench::new().with("two.info", lcov("/w/a/m.py") + &lcov("/w/b/m.py")).with("one.info", lcov("m.py"));
    let (count, said) = union(&bench, &[], &["two.info", "one.info"]);
    assert_eq!(count, "6 of 12");
    assert!(said.contains("m.py of one.info may be any of several files"), "{said}");
}

/// Reports from containers and other runners, seen from a work tree.
#[test]
fn the_work_tree_tells_which_file_is_meant() {
    let bench = Bench::new()
        .with("app/m.py", "")
        .with("lib/m.py", "")
        .with("container.xml", cobertura("/srv/x/app", "m.py", [1, 2]))
        .with("runner.info", lcov("/somewhere/p/app/m.py"))
        .with("app.diff", diff("app/m.py"))
        .with("lib.diff", diff("lib/m.py"));
    assert_eq!(union(&bench, &[], &["container.xml", "runner.info"]).0, "2 of 4");
    let look =
        |report: &str, diff: &str| -> Answer { bench.run(&["--fail-under", "50", "--diff", diff, report]) };
    for report in ["container.xml", "runner.info"] {
        let answer = look(report, "app.diff");
        assert!(answer.stderr().contains("app/m.py: missed changed lines 3"), "{}", answer.stderr());
        let other = look(report, "lib.diff");
        assert!(other.stderr().contains("changed, but not in the report: lib/m.py"), "{}", other.stderr());
    }
    bench.run(&["--fail-under", "0", "--cobertura", "out.xml", "container.xml"]);
    let written = std::fs::read_to_string(bench.path("out.xml")).unwrap();
    assert!(written.contains("filename=\"app/m.py\""), "{written}");
    let per_file = bench.run(&["--fail-under", "0", "--per-file", "app/*=60", "container.xml"]);
    assert_eq!(per_file.status(), 1, "{}", per_file.stderr());
}

#[test]
fn a_folder_below_the_top_of_the_work_tree() {
    let bench = Bench::new()
        .with(".git/HEAD", "ref: refs/heads/main\n")
        .with("app/src/m.py", "")
        .with("app/c.info", lcov("src/m.py"))
        .with("whole.diff", diff("app/src/m.py"))
        .with("relative.diff", diff("src/m.py"));
    for diff in ["../whole.diff", "../relative.diff"] {
        let answer =
            bench.run_in("app", &["--fail-under", "0", "--fail-under-diff", "1", "--diff", diff, "c.info"]);
        assert!(answer.stderr().contains("m.py: missed changed lines 3"), "{}", answer.stderr());
    }
}

/// Two services of one repository, whose tools each ran in the service's folder.
fn services() -> Bench {
    let bench = Bench::new()
        .with("a/app.py", "1\n2\n3\n4\n")
        .with("b/app.py", "1\n2\n3\n4\n")
        .with("a/only_a.py", "1\n2\n3\n4\n");
    let git = |arguments: &[&str]| assert!(bench.program("git").args(arguments).status().unwrap().success());
    git(&["init", "-q"]);
    git(&["add", "a", "b"]);
    bench.with("b.diff", diff("b/app.py")).with("a.diff", diff("a/app.py"))
}

#[test]
fn the_folder_of_a_report_is_where_its_paths_begin() {
    let bench = services()
        .with("a/lcov.info", lcov("app.py"))
        .with("b/coverage/lcov.info", lcov("app.py").replace("DA:3,0", "DA:3,1"));
    assert_eq!(union(&bench, &[], &["a/lcov.info", "b/coverage/lcov.info"]).0, "5 of 8");
    let look = |diff: &str, report: &str| bench.run(&["--fail-under", "50", "--diff", diff, report]).stderr();
    let other = look("b.diff", "a/lcov.info");
    assert!(other.contains("changed, but not in the report: b/app.py"), "{other}");
    let own = look("a.diff", "a/lcov.info");
    assert!(own.contains("a/app.py: missed changed lines 3"), "{own}");
    let own = look("b.diff", "b/coverage/lcov.info");
    assert!(own.contains("changed lines: 100.00% (1 of 1)"), "{own}");
}

#[test]
fn an_ending_that_several_files_have_is_none_of_them() {
    let bench = services()
        .with("moved/a.info", lcov("app.py"))
        .with("moved/b.info", lcov("app.py"))
        .with("moved/whole.info", lcov("app.py") + &lcov("only_a.py"))
        .with("both.diff", diff("a/app.py") + &diff("b/app.py"));
    let (count, said) = union(&bench, &[], &["moved/a.info", "moved/b.info"]);
    assert_eq!(count, "4 of 8", "{said}");
    assert!(said.contains("app.py of moved/a.info may be any of several files of the work tree"), "{said}");
    for diff in ["a.diff", "b.diff", "both.diff"] {
        let said = bench.run(&["--fail-under", "50", "--diff", diff, "moved/a.info"]).stderr();
        assert!(said.contains("changed, but not in the report: "), "{said}");
        assert!(said.contains("changed lines: none"), "{said}");
    }
    let said = bench.run(&["--fail-under", "50", "--diff", "both.diff", "moved/whole.info"]).stderr();
    assert!(said.contains("a/app.py: missed changed lines 3"), "{said}");
    assert!(said.contains("not in the report: b/app.py"), "{said}");
}

#[test]
fn one_file_of_a_report_is_not_two_changed_ones() {
    let bench =
        Bench::new().with("both.diff", diff("a/app.py") + &diff("b/app.py")).with("one.info", lcov("app.py"));
    let said = bench.run(&["--fail-under", "50", "--diff", "both.diff", "one.info"]).stderr();
    assert!(said.contains("not in the report: a/app.py and 1 more"), "{said}");
}

#[test]
fn source_folders_are_kept_for_gitlab_where_the_work_tree_lacks_the_files() {
    let report = cobertura("/builds/g/p/a &amp; b", "m.py", [1, 2]);
    let bench = Bench::new().with("c.xml", report);
    bench.run(&["--fail-under", "0", "--cobertura", "out.xml", "c.xml"]);
    let written = std::fs::read_to_string(bench.path("out.xml")).unwrap();
    assert!(written.contains("<source>/builds/g/p/a &amp; b</source>"), "{written}");
    assert!(written.contains("filename=\"m.py\""), "{written}");
}
