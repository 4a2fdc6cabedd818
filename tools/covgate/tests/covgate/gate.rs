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
