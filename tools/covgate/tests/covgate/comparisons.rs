//! Several reports as one, changed lines, single files, a baseline, and what is written for other programs.

use serde_json::Value;

use crate::reports::Bench;

const UNIT: &str = "SF:src/app/a.py\nDA:1,1\nDA:2,0\nDA:3,0\nDA:4,1\nend_of_record\nSF:src/app/b.py\nDA:1,0\nend_of_record\n";
const SYSTEM: &str = r#"<coverage line-rate="0.5"><packages><package><classes>
    <class name="a" filename="src/app/a.py"><lines><line number="2" hits="1"/><line number="3" hits="0"/></lines></class>
    <class name="c" filename="src/app/c.py"><lines><line number="1" hits="1"/></lines></class></classes></package></packages></coverage>"#;

/// Adds lines 2 and 3 of a.py, a line of b.py and a document.
const DIFF: &str = "diff --git a/src/app/a.py b/src/app/a.py\nindex 1111111..2222222 100644\n--- a/src/app/a.py\n+++ b/src/app/a.py\n\
    @@ -1,2 +1,4 @@\n one\n+two\n+three\n four\n\
    diff --git a/README.md b/README.md\nindex 1111111..2222222 100644\n--- a/README.md\n+++ b/README.md\n@@ -0,0 +1 @@\n+words\n";

fn bench() -> Bench {
    Bench::new().with("unit.info", UNIT).with("system.xml", SYSTEM).with("change.diff", DIFF)
}

#[test]
fn reports_of_two_formats_are_one_union() {
    let fields = bench().json(&["unit.info", "system.xml"]);
    assert_eq!((&fields["covered"], &fields["total"]), (&4.into(), &6.into()), "{fields}");
    assert_eq!(fields["format"], Value::Null);
    let counts_only = r#"{"total": {"lines":{"total":2,"covered":1,"skipped":0,"pct":50},"statements":{"total":2,"covered":1,"skipped":0,"pct":50}}, "a.js": {"lines":{"total":2,"covered":1},"statements":{"total":2,"covered":1}}}"#;
    bench()
        .with("s.json", counts_only)
        .run(&["unit.info", "s.json"])
        .is_trouble(&["names no lines", "coverage-final.json"]);
}

#[test]
fn changed_lines_have_a_threshold_of_their_own() {
    let arguments = ["--fail-under", "40", "--fail-under-diff", "50", "--diff", "change.diff"];
    let answer = bench().run(&[&arguments[..], &["unit.info"]].concat());
    assert_eq!(answer.status(), 1, "{}", answer.stderr());
    assert!(answer.stderr().contains("src/app/a.py: missed changed lines 2-3"), "{}", answer.stderr());
    let answer = bench().run(&[&arguments[..], &["unit.info", "system.xml"]].concat());
    assert_eq!(answer.status(), 0, "{}", answer.stderr());
    let absolute = UNIT.replace("src/app/", "/builds/group/project/src/app/");
    assert_eq!(bench().with("abs.info", absolute).run(&[&arguments[..], &["abs.info"]].concat()).status(), 1);
    let docs_only = bench().run_with(&["--fail-under", "40", "--diff", "-", "unit.info"], &[], "");
    assert_eq!(docs_only.status(), 0, "{}", docs_only.stderr());
    bench()
        .with("no.diff", "hello\n")
        .run(&["--diff", "no.diff", "unit.info"])
        .is_trouble(&["no.diff", "git diff"]);
}

#[test]
fn a_file_that_was_changed_and_is_not_in_the_report_is_named() {
    let other = DIFF.replace("src/app/a.py", "src/app/untested.py");
    let answer = bench().with("o.diff", other).run(&["--fail-under", "40", "--diff", "o.diff", "unit.info"]);
    assert!(answer.stderr().contains("not in the report: src/app/untested.py"), "{}", answer.stderr());
}

#[test]
fn changed_lines_since_a_revision() {
    let bench = bench().with("src/app/a.py", "one\nfour\n").with("src/app/b.py", "x\n");
    let git = |arguments: &[&str]| {
        let mut git = bench.program("git");
        assert!(git.args(["-c", "init.defaultBranch=main"]).args(arguments).status().unwrap().success());
    };
    git(&["init", "-q"]);
    git(&["add", "src"]);
    git(&["commit", "-qm", "one"]);
    git(&["tag", "base"]);
    std::fs::write(bench.path("src/app/a.py"), "one\ntwo\nthree\nfour\n").unwrap();
    let arguments = ["--fail-under", "40", "--diff-base", "base", "unit.info"];
    assert!(bench.run(&arguments).stderr().contains("missed changed lines 2-3"));
    git(&["commit", "-qam", "two"]);
    let fields = bench.json(&arguments);
    assert_eq!((&fields["diff"]["covered"], &fields["diff"]["total"]), (&0.into(), &2.into()), "{fields}");
    let arguments = ["--fail-under", "40", "--fail-under-diff", "50", "unit.info"];
    bench.run(&arguments).is_trouble(&["--fail-under-diff needs the changed lines"]);
    let merge_request = bench.run_with(&arguments, &[("CI_MERGE_REQUEST_DIFF_BASE_SHA", "base")], "");
    assert_eq!(merge_request.status(), 1, "{}", merge_request.stderr());
    bench.run(&["--diff-base", "origin/gone", "unit.info"]).is_trouble(&["origin/gone", "git fetch"]);
}

#[test]
fn stdin_is_one_thing() {
    for arguments in [&["--diff", "-"][..], &["-", "-"], &["--baseline", "-", "-"]] {
        bench().run(arguments).is_trouble(&["stdin can be one thing only"]);
    }
}

#[test]
fn every_file_has_its_threshold() {
    let answer =
        bench().run(&["--fail-under", "40", "--per-file", "0", "--per-file", "**/b.py=10", "unit.info"]);
    assert_eq!(answer.status(), 1);
    assert!(answer.stderr().contains("src/app/b.py: 0.00% (0 of 1) is below 10%"), "{}", answer.stderr());
    assert_eq!(bench().run(&["--fail-under", "40", "--per-file", "0", "unit.info"]).status(), 0);
    assert_eq!(bench().json(&["--per-file", "0", "unit.info"])["files"][0]["path"], "src/app/a.py");
}

#[test]
fn a_globs_own_commas_are_none_between_thresholds() {
    let arguments = ["--fail-under", "0", "unit.info"];
    let judged = |given: &[&str], variable: &str| {
        let variables = [("COVGATE_PER_FILE", variable)];
        bench().run_with(&[&arguments[..], given].concat(), &variables, "").stderr()
    };
    for said in [judged(&["--per-file", "**/{a,b}.py=10"], ""), judged(&[], "**/a.{py,js}=40,**/[b,].py=10")]
    {
        assert!(said.contains("src/app/b.py: 0.00% (0 of 1) is below 10%"), "{said}");
        assert!(!said.contains("src/app/a.py"), "{said}");
    }
    let said = judged(&["--per-file", "0,**/b.py=20"], "");
    assert!(said.contains("src/app/b.py: 0.00% (0 of 1) is below 20%"), "{said}");
}

#[test]
fn coverage_may_not_drop() {
    let bench = bench().with("before.info", UNIT.replace("DA:2,0", "DA:2,1"));
    let arguments = ["--fail-under", "0", "--baseline", "before.info", "unit.info"];
    assert_eq!(bench.run(&arguments).status(), 1);
    assert_eq!(bench.run(&[&arguments[..], &["--max-drop", "20"]].concat()).status(), 0);
    assert_eq!(bench.run(&[&arguments[..], &["--max-drop", "19.999"]].concat()).status(), 1);
    bench.run(&["--max-drop", "1", "unit.info"]).is_trouble(&["--baseline"]);
}

/// A tracefile with a record a test states each record's sums, and the lines of both records are a union.
#[test]
fn a_baseline_is_measured_as_the_report_is() {
    let record = |test: &str, lines: &[(u32, u32)]| {
        let hit = lines.iter().filter(|(_, hits)| *hits > 0).count();
        let data: Vec<String> = lines.iter().map(|(line, hits)| format!("DA:{line},{hits}\n")).collect();
        format!("TN:{test}\nSF:a.c\n{}LF:{}\nLH:{hit}\nend_of_record\n", data.concat(), lines.len())
    };
    let two = record("t1", &[(1, 1), (2, 1), (3, 0)]) + &record("t2", &[(1, 1), (2, 1), (3, 1)]);
    let lines: Vec<String> =
        (1..=10).map(|line| format!("<line number=\"{line}\" hits=\"{}\"/>", u8::from(line <= 8))).collect();
    let contradiction = format!(
        "<coverage lines-covered=\"9\" lines-valid=\"10\"><packages><package><classes><class name=\"a\" \
         filename=\"a.py\"><lines>{}</lines></class></classes></package></packages></coverage>",
        lines.concat()
    );
    let bench = Bench::new()
        .with("two.info", two)
        .with("now.info", record("", &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 0)]))
        .with("c.xml", contradiction);
    assert_eq!(bench.run(&["two.info"]).stdout(), "TOTAL 100.00%\n");
    let dropped = bench.run(&["--baseline", "two.info", "now.info"]);
    assert_eq!(dropped.status(), 1, "{}", dropped.stderr());
    assert!(dropped.stderr().contains("of the 100.00% (3 of 3) of two.info"), "{}", dropped.stderr());

    let itself = bench.run(&["--baseline", "c.xml", "c.xml"]);
    assert_eq!(itself.status(), 0, "{}", itself.stderr());
    let trusted = bench.run(&["--baseline", "c.xml", "--trust-header", "c.xml"]);
    assert_eq!(trusted.status(), 0, "{}", trusted.stderr());
    let warned = bench.run(&["--baseline", "c.xml", "two.info"]);
    assert!(warned.stderr().contains("c.xml contradicts itself"), "{}", warned.stderr());
    bench.run(&["--baseline", "c.xml", "--strict", "now.info"]).is_trouble(&["c.xml contradicts itself"]);
    let rounded = bench.with("last.json", r#"{"result": {"line": 80.0}}"#);
    let warned = rounded.run(&["--baseline", "last.json", "now.info"]);
    assert!(warned.stderr().contains("last.json has only a rounded figure"), "{}", warned.stderr());
}

#[test]
fn a_header_that_contradicts_the_body() {
    let report =
        SYSTEM.replace("line-rate=\"0.5\"", "line-rate=\"1\" lines-covered=\"9\" lines-valid=\"10\"");
    let bench = Bench::new().with("c.xml", report);
    let same = bench.run(&["--fail-under", "60", "c.xml"]);
    assert_eq!((same.status(), same.stdout().as_str()), (0, "TOTAL 66.66%\n"));
    assert!(same.stderr().contains("its header says 9 of 10 lines, its body 2 of 3"), "{}", same.stderr());
    bench.run(&["--fail-under", "60", "--strict", "c.xml"]).is_trouble(&["contradicts itself"]);
    bench.run(&["--fail-under", "80", "c.xml"]).is_trouble(&["contradicts itself", "--trust-header"]);
    let trusted = bench.run(&["--fail-under", "80", "--trust-header", "c.xml"]);
    assert_eq!((trusted.status(), trusted.stdout().as_str()), (0, "TOTAL 90.00%\n"));
    let cut = bench.run(&["--fail-under", "80", "--trust-header", "--cobertura", "m.xml", "c.xml"]);
    assert_eq!((cut.status(), bench.counts("m.xml")[1].as_str()), (0, "2/3"), "{}", cut.stderr());
    let without_header = bench.with("b.xml", SYSTEM.replace(" line-rate=\"0.5\"", ""));
    let body = without_header.run(&["--fail-under", "60", "--trust-header", "b.xml"]);
    assert_eq!((body.status(), body.stdout().as_str()), (0, "TOTAL 66.66%\n"));
}

/// Generators round rates to two or four decimals, and leave out zeros at their end.
#[test]
fn a_rate_without_counts_is_a_header_too() {
    let bench = |rates: &str| {
        let line = |number: u32, hits: u32| {
            format!(
                "<line number=\"{number}\" hits=\"{hits}\" branch=\"true\" condition-coverage=\"50% (1/2)\"/>"
            )
        };
        let lines: Vec<String> = (1..=6).map(|number| line(number, u32::from(number < 6))).collect();
        Bench::new().with(
            "c.xml",
            format!(
                "<coverage {rates}><packages><package><classes><class name=\"a\" filename=\"a.py\"><lines>{}\
                 </lines></class></classes></package></packages></coverage>",
                lines.concat()
            ),
        )
    };
    let strict = |rates: &str| bench(rates).run(&["--strict", "c.xml"]);
    for agreeing in ["0.8333", "0.83", "0.8333333333333334", "NaN", ""] {
        let answer = strict(&format!("line-rate=\"{agreeing}\""));
        assert_eq!((answer.status(), answer.stdout().as_str()), (0, "TOTAL 83.33%\n"), "{}", answer.stderr());
    }
    strict("line-rate=\"0.8433\"").is_trouble(&["its header says about 84.33% of lines, its body 5 of 6"]);
    bench("line-rate=\"0.1\"").run(&["c.xml"]).is_trouble(&["contradicts itself", "--trust-header"]);
    let same = bench("line-rate=\"0.9\"").run(&["c.xml"]);
    assert_eq!((same.status(), same.stdout().as_str()), (0, "TOTAL 83.33%\n"));
    assert!(same.stderr().contains("the verdict is the same"), "{}", same.stderr());
    let branches = bench("line-rate=\"0.8333\" branch-rate=\"0.9\"");
    branches.run(&["--metric", "branch", "c.xml"]).is_trouble(&["about 90% of branches, its body 6 of 12"]);

    let trusted = bench("line-rate=\"0.1\"").run(&["--trust-header", "c.xml"]);
    assert_eq!((trusted.status(), trusted.stdout().as_str()), (1, "TOTAL 10.00%\n"));
    assert!(
        trusted.stderr().contains("c.xml's header has only a rounded figure, 10%"),
        "{}",
        trusted.stderr()
    );
    let nothing = "<coverage line-rate=\"1\"><packages/></coverage>";
    Bench::new().with("c.xml", nothing).run(&["--trust-header", "c.xml"]).is_trouble(&["no lines to cover"]);
}

/// SimpleCov's `.last_run.json` has percentages and no counts, so none are shown.
#[test]
fn a_rounded_figure_has_no_counts() {
    let bench = Bench::new()
        .with("last.json", r#"{"result": {"line": 80.0, "branch": 62.5}}"#)
        .with("lines.json", r#"{"result": {"line": 80.0}}"#);
    let answer = bench.run(&["--baseline", "lines.json", "last.json"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (0, "TOTAL 80.00%\n"), "{}", answer.stderr());
    assert!(answer.stderr().contains("80.00% (about 80.0% of lines) reaches 80%"), "{}", answer.stderr());
    assert!(answer.stderr().contains("points of the 80.00% of lines.json"), "{}", answer.stderr());
    let fields = bench.json(&["--baseline", "lines.json", "last.json"]);
    assert_eq!((&fields["total"], &fields["baseline"]["total"]), (&Value::Null, &Value::Null), "{fields}");
    hermetic::schema::check(include_str!("../../schema/covgate.v1.json"), &fields);
    let note = bench.run(&["-o", "markdown", "last.json"]).stdout();
    assert!(note.contains("| lines | – | – | 80.00 | 80% | ✓ |"), "{note}");
    assert!(!answer.stderr().contains("800") && !note.contains("800"), "{note}");
    let branches = bench.run(&["--metric", "branch", "last.json"]);
    assert_eq!(
        (branches.status(), branches.stdout().as_str()),
        (1, "TOTAL 62.50%\n"),
        "{}",
        branches.stderr()
    );
    bench.run(&["--metric", "branch", "lines.json"]).is_trouble(&["does not count branches"]);
}

#[test]
fn cobertura_for_gitlab_is_cut_to_the_diff_and_reads_back() {
    let bench = bench();
    bench.run(&["--fail-under", "0", "--cobertura", "all.xml", "unit.info"]);
    assert_eq!(bench.counts("all.xml")[1], "2/5");
    bench.run(&["--fail-under", "0", "--diff", "change.diff", "--cobertura", "cut.xml", "unit.info"]);
    assert_eq!(bench.counts("cut.xml")[1], "2/4");
    bench.run(&["-n", "--fail-under", "0", "--cobertura", "none.xml", "unit.info"]);
    assert!(!bench.path("none.xml").exists());
    bench
        .run(&["--fail-under", "0", "--cobertura", "missing/a.xml", "unit.info"])
        .is_trouble(&["missing/a.xml"]);
    std::fs::create_dir(bench.path("folder")).unwrap();
    bench
        .run(&["--fail-under", "0", "--cobertura", "folder", "unit.info"])
        .is_trouble(&["can't write folder"]);
    let lines: Vec<String> = (1..20_000).map(|line| format!("DA:{line},1\n")).collect();
    let lines = lines.concat();
    let files: Vec<String> = (0..40).map(|file| format!("SF:f{file}.c\n{lines}end_of_record\n")).collect();
    let huge = files.concat();
    let bench = bench.with("huge.info", huge);
    let answer = bench.run(&["--cobertura", "huge.xml", "huge.info"]);
    assert!(std::fs::metadata(bench.path("huge.xml")).unwrap().len() < 10 * 1024 * 1024);
    assert!(answer.stderr().contains("are left out"), "{}", answer.stderr());
}

#[test]
fn notes_and_pictures() {
    let bench = bench();
    let arguments = ["--fail-under", "60", "--diff", "change.diff", "--per-file", "1", "unit.info", "-o"];
    let note = bench.run(&[&arguments[..], &["markdown"]].concat()).stdout();
    assert!(
        note.starts_with("### Coverage 40.00%: failed\n") && note.contains("| `src/app/a.py` | 2-3 |"),
        "{note}"
    );
    let junit = bench.run(&[&arguments[..], &["junit"]].concat()).stdout();
    assert!(junit.contains("<testsuite name=\"covgate\" tests=\"4\" failures=\"3\">"), "{junit}");
    let badge = bench.run(&[&arguments[..], &["badge"]].concat()).stdout();
    assert!(badge.starts_with("<svg ") && badge.contains(">40.00%</text>"), "{badge}");
}

#[test]
fn json_is_what_the_schema_says() {
    let schema = include_str!("../../schema/covgate.v1.json");
    let arguments = ["--diff", "change.diff", "--baseline", "unit.info", "--per-file", "1", "unit.info"];
    for fields in [bench().json(&arguments), bench().json(&["nowhere"])] {
        hermetic::schema::check(schema, &fields);
    }
}
