//! The verdict, its exit status and its output.

use crate::reports::{Bench, coverage_html, html_cells};

fn html(covered: u64, total: u64) -> Bench {
    Bench::new().with("public/index.html", coverage_html(&html_cells(covered, total), ""))
}

#[test]
fn a_copied_htmlcov_folder_passes_or_fails() {
    let answer = html(8241, 10_000).run(&["--fail-under", "80", "public"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (0, "TOTAL 82.41%\n"), "{}", answer.stderr());
    assert!(answer.stderr().contains("8241 of 10000"), "{}", answer.stderr());
    let answer = html(8241, 10_000).run(&["--fail-under", "82.42", "public"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (1, "TOTAL 82.41%\n"));
}

#[test]
fn nothing_passes_by_rounding() {
    let answer = html(79_999, 100_000).run(&["public"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (1, "TOTAL 79.99%\n"));
    assert!(
        answer.stderr().contains("coverage.py's own --fail-under would pass this"),
        "{}",
        answer.stderr()
    );
    let answer = html(79_999, 100_000).run(&["--rule", "coverage.py", "public"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (0, "TOTAL 79.99%\n"));
    assert!(answer.stderr().contains("the exact comparison would fail this"), "{}", answer.stderr());
}

#[test]
fn stdin_is_the_default_and_the_variable_a_default_too() {
    let report = coverage_html(&html_cells(9, 10), "");
    let bench = Bench::new();
    assert_eq!(bench.run_with(&[], &[], report.as_str()).status(), 0);
    assert_eq!(bench.run_with(&["-"], &[("COVGATE_FAIL_UNDER", "91")], report.as_str()).status(), 1);
    assert_eq!(bench.run_with(&[], &[("COVGATE_FAIL_UNDER", "")], report.as_str()).status(), 0);
}

/// An option goes before the variable of another one that it excludes, and a variable may stand in every job.
#[test]
fn an_option_goes_before_anothers_variable() {
    let contradiction = "<coverage lines-covered=\"9\" lines-valid=\"10\"><packages><package><classes><class \
        name=\"a\" filename=\"a.py\"><lines><line number=\"1\" hits=\"1\"/></lines></class></classes></package></packages>\
        </coverage>";
    let patch = "--- a/a.py\n+++ b/a.py\n@@ -0,0 +1 @@\n+one\n";
    let bench = Bench::new().with("c.xml", contradiction).with("a.diff", patch);
    let answer = |arguments: &[&str], variables: &[(&str, &str)]| {
        bench.run_with(&[arguments, &["c.xml"]].concat(), variables, "")
    };
    let trusted = answer(&["--trust-header"], &[("COVGATE_STRICT", "1")]);
    assert_eq!((trusted.status(), trusted.stdout().as_str()), (0, "TOTAL 90.00%\n"), "{}", trusted.stderr());
    answer(&["--strict"], &[("COVGATE_TRUST_HEADER", "1")]).is_trouble(&["contradicts itself"]);
    let diff = answer(&["--diff", "a.diff"], &[("COVGATE_DIFF_BASE", "nowhere")]);
    assert!(diff.status() == 0 && diff.stderr().contains("changed lines: 100.00%"), "{}", diff.stderr());
    answer(&["--diff-base", "nowhere"], &[("COVGATE_DIFF", "a.diff")]).is_trouble(&["--diff-base"]);
    for variables in [
        [("COVGATE_STRICT", "1"), ("COVGATE_TRUST_HEADER", "1")],
        [("COVGATE_DIFF", "a.diff"), ("COVGATE_DIFF_BASE", "main")],
    ] {
        answer(&[], &variables).is_trouble(&["cannot be used with"]);
    }
    answer(&["--strict", "--trust-header"], &[])
        .is_trouble(&["'--trust-header' cannot be used with '--strict'"]);
    let without_baseline = answer(&[], &[("COVGATE_MAX_DROP", "0")]);
    assert_eq!(without_baseline.status(), 0, "{}", without_baseline.stderr());
    answer(&["--max-drop", "0"], &[]).is_trouble(&["--baseline"]);
    let dropped = answer(&["--baseline", "c.xml"], &[("COVGATE_MAX_DROP", "0")]);
    assert_eq!(dropped.status(), 0, "{}", dropped.stderr());
}

#[test]
fn json_and_dotenv() {
    let bench = html(9, 10);
    let fields = bench.json(&["public"]);
    assert_eq!(fields["schema"], "covgate/v1");
    assert_eq!(
        (&fields["pass"], &fields["covered"], &fields["total"]),
        (&true.into(), &9.into(), &10.into())
    );
    assert_eq!((&fields["percent"], &fields["failUnder"]), (&"90.00".into(), &"80".into()));
    assert_eq!(bench.run(&["-o", "dotenv", "public"]).stdout(), "COVERAGE=90.00\n");
    let broken = Bench::new().json(&["nowhere"]);
    assert_eq!((&broken["schema"], &broken["error"]["kind"]), (&"covgate/v1".into(), &"input".into()));
}

#[test]
fn no_report_is_trouble() {
    Bench::new().run(&["public"]).is_trouble(&["public", "did the job that writes the report run"]);
    Bench::new().with("public/style.css", "").run(&["public"]).is_trouble(&["no coverage report in public"]);
    Bench::new().with("public/index.html", "<html>hello</html>").run(&["public"]).is_trouble(&["public"]);
    Bench::new().with("empty", "").run(&["empty"]).is_trouble(&["empty is empty"]);
    Bench::new().with("notes", "80%").run(&["notes"]).is_trouble(&["notes", "--format"]);
}

#[test]
fn nothing_to_cover_is_no_pass() {
    html(0, 0).run(&["--fail-under", "0", "public"]).is_trouble(&["no lines and branches to cover"]);
}

#[test]
fn a_page_that_is_cut_off_is_no_pass() {
    let page = coverage_html(&html_cells(9, 10), "");
    Bench::new().with("i.html", &page[..page.len() - 9]).run(&["i.html"]).is_trouble(&["ends too early"]);
}

/// A terminal, and a job's log in GitLab, obey what stands in a file's name.
#[test]
fn control_characters_of_names_are_escaped() {
    let name = r"src/\u001b[2J\nTOTAL 100.00%.js";
    let report = format!(
        r#"{{"{name}": {{"path": "{name}", "statementMap": {{"0": {{"start": {{"line": 1, "column": 0}}, "end": {{"line": 1, "column": 9}}}}}}, "fnMap": {{}}, "branchMap": {{}}, "s": {{"0": 0}}, "f": {{}}, "b": {{}}}}}}"#
    );
    let bench = Bench::new().with("final.json", report).with("cut.info", "SF:a\x1b[31m.c\nDA:1,1\n");
    let arguments = ["--fail-under", "0", "--per-file", "50", "final.json"];
    let words = bench.run(&arguments).stderr();
    assert!(words.contains(r"src/\x1b[2J\nTOTAL 100.00%.js: 0.00% (0 of 1)"), "{words}");
    assert!(!words.contains('\x1b') && words.lines().all(|line| line.starts_with("covgate: ")), "{words}");
    let note = bench.run(&[&arguments[..], &["-o", "markdown"]].concat()).stdout();
    assert!(note.contains(r"| `src/\x1b[2J\nTOTAL 100.00%.js` | 0 of 1 |"), "{note}");
    bench.run(&["cut.info"]).is_trouble(&[r"the record of a\x1b[31m.c has no end_of_record"]);
    let fields = bench.json(&arguments);
    assert_eq!(fields["files"][0]["path"], "src/\x1b[2J\nTOTAL 100.00%.js", "JSON has escapes of its own");
}
