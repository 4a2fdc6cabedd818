//! Each format, in the dialects of the tools that write it.

use crate::reports::{Bench, coverage_html, html_cells};

/// `covered/total` of total, line, branch and function of one report.
#[track_caller]
fn counts(name: &str, content: impl AsRef<[u8]>, expected: [&str; 4]) {
    assert_eq!(Bench::new().with(name, content).counts(name), expected);
}

#[test]
fn coverage_py_html_with_branches_before_and_after_7_12() {
    let before = "<td>15</td><td>2</td><td>0</td><td>6</td><td>2</td><td class=\"right\" data-ratio=\"17 21\">81%</td>";
    counts("index.html", coverage_html(before, ""), ["17/21", "13/15", "4/6", "-"]);
    let since = "<td class=\"spacer\">&nbsp;</td><td data-ratio=\"13 15\">87%</td><td>15</td><td>2</td><td>0</td>\
                 <td class=\"spacer\">&nbsp;</td><td data-ratio=\"4 6\">67%</td><td>6</td><td>2</td>\
                 <td class=\"spacer\">&nbsp;</td><td data-ratio=\"17 21\">81%</td>";
    counts("index.html", coverage_html(since, ""), ["17/21", "13/15", "4/6", "-"]);
}

#[test]
fn the_page_of_one_file_is_not_the_index() {
    let page = coverage_html("", "").replace("indexfile", "pyfile").replace("<tr class=\"total\">", "<tr>");
    Bench::new().with("app_py.html", page).run(&["app_py.html"]).is_trouble(&["the page of one source file"]);
}

#[test]
fn rows_that_coverage_py_leaves_out_are_no_contradiction() {
    let row =
        format!("<tr class=\"region\"><td class=\"name left\"><a>a.py</a></td>{}</tr>", html_cells(1, 4));
    let page = coverage_html(&html_cells(7, 10), &row);
    let skipping = page.replace("</main>", "<p>2 files skipped due to complete coverage.</p></main>");
    let answer = Bench::new().with("i.html", skipping).run(&["--strict", "--fail-under", "70", "i.html"]);
    assert_eq!(answer.status(), 0, "{}", answer.stderr());
    Bench::new()
        .with("i.html", page)
        .run(&["--fail-under", "70", "i.html"])
        .is_trouble(&["contradicts itself"]);
}

const COVERAGE_JSON: &str = r#"{"meta": {"format": 3, "version": "7.11.0", "branch_coverage": true, "show_contexts": false},
 "files": {"app/m.py": {"executed_lines": [1, 2, 3], "summary": {"covered_lines": 3, "num_statements": 4,
   "percent_covered": 66.7, "num_branches": 2, "num_partial_branches": 1, "covered_branches": 1, "missing_branches": 1},
   "missing_lines": [5], "excluded_lines": [], "executed_branches": [[2, 3]], "missing_branches": [[2, -1]],
   "functions": {"f": {"executed_lines": [2], "summary": {"covered_lines": 1, "num_statements": 2}, "missing_lines": [5]},
     "": {"executed_lines": [1], "summary": {"covered_lines": 1, "num_statements": 1}}}, "classes": {}},
  "app/__init__.py": {"executed_lines": [0], "summary": {"covered_lines": 0, "num_statements": 0}, "missing_lines": []}},
 "totals": {"covered_lines": 3, "num_statements": 4, "percent_covered": 66.7, "num_branches": 2, "covered_branches": 1}}"#;

#[test]
fn coverage_py_json() {
    counts("coverage.json", COVERAGE_JSON, ["4/6", "3/4", "1/2", "1/1"]);
    let format_1 = r#"{"meta": {"version": "5.5", "timestamp": "2021-01-01T00:00:00", "branch_coverage": true},
        "files": {"a.py": {"executed_lines": [1], "summary": {"covered_lines": 1, "num_statements": 2,
          "num_branches": 2, "covered_branches": 1}, "missing_lines": [2]}},
        "totals": {"covered_lines": 1, "num_statements": 2, "num_branches": 2, "covered_branches": 1}}"#;
    counts("coverage.json", format_1, ["2/4", "1/2", "1/2", "-"]);
    // coverage.py 5 lists all that ran, statement or not.
    let ran = r#"{"meta": {"version": "5.5", "branch_coverage": false, "show_contexts": false},
        "files": {"a.py": {"executed_lines": [1, 2, 70], "summary": {"covered_lines": 1, "num_statements": 2},
          "missing_lines": [3], "excluded_lines": [2, 70]},
          "__init__.py": {"executed_lines": [1], "summary": {"covered_lines": 0, "num_statements": 0}, "missing_lines": []}},
        "totals": {"covered_lines": 1, "num_statements": 2}}"#;
    counts("coverage.json", ran, ["1/2", "1/2", "-", "-"]);
    assert_eq!(
        Bench::new().with("c.json", ran).run(&["--strict", "--fail-under", "50", "c.json"]).status(),
        0
    );
}

const COBERTURA: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>
<coverage line-rate="0.6" branch-rate="0.5" lines-covered="3" lines-valid="5" branches-covered="1" branches-valid="2" version="1.9" timestamp="1">
  <!-- a "comment" with <line number="9" hits="1"/> in it -->
  <sources><source>/builds/app</source></sources>
  <packages><package name="a &amp; b" line-rate="0.6">
    <classes>
      <class name="A" filename='src/a "x".cs' line-rate="0.5">
        <methods><method name="get_X" signature="()"><lines><line number="1" hits="1"/></lines></method>
          <method name="Y" signature="()"><lines><line number="4" hits="0"/></lines></method></methods>
        <lines>
          <line hits="1" number="1" branch="False"/>
          <line number="2" hits="12345678901234567890123" branch="True" condition-coverage="50% (1/2)">
            <conditions><condition number="0" type="jump" coverage="50%"/></conditions>
          </line>
          <line
             number = "4" hits="0" ></line>
        </lines>
      </class>
      <class name="A/inner" filename='src/a "x".cs'><methods/><lines><line number="4" hits="0"/><line number="7" hits="1"/></lines></class>
      <class name="B" filename="src/b.cs"><methods/><lines><![CDATA[<line number="8" hits="1"/>]]><line number="1" hits="0"/></lines></class>
    </classes>
  </package></packages>
</coverage>
"#;

#[test]
fn cobertura_counts_a_line_of_several_classes_once() {
    counts("c.xml", COBERTURA, ["3/5", "3/5", "1/2", "1/2"]);
}

#[test]
fn cobertura_in_other_encodings() {
    let latin =
        COBERTURA.replace("<?xml version=\"1.0\" ?>", "<?xml version=\"1.0\" encoding='ISO-8859-1'?>");
    let latin: Vec<u8> = latin.replace("a &amp; b", "\u{e9}t\u{e9}").chars().map(|c| c as u8).collect();
    counts("c.xml", latin, ["3/5", "3/5", "1/2", "1/2"]);
    let wide: Vec<u8> = format!("\u{feff}{COBERTURA}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    counts("c.xml", wide, ["3/5", "3/5", "1/2", "1/2"]);
    counts("c.xml", format!("\u{feff}{COBERTURA}"), ["3/5", "3/5", "1/2", "1/2"]);
    let broken = [COBERTURA.as_bytes(), b"<!-- \xff -->"].concat();
    Bench::new().with("c.xml", broken).run(&["c.xml"]).is_trouble(&["c.xml"]);
}

#[test]
fn cobertura_of_coverage_py_has_the_total_of_coverage_py() {
    let report =
        COBERTURA.replace("a \"comment\"", "Generated by coverage.py: https://coverage.readthedocs.io a");
    counts("c.xml", report, ["4/7", "3/5", "1/2", "1/2"]);
}

#[test]
fn cobertura_of_matlab_counts_no_branches() {
    let report = COBERTURA.replace(
        "branches-covered=\"1\" branches-valid=\"2\"",
        "branches-covered=\"NaN\" branches-valid=\"NaN\"",
    );
    counts("c.xml", report, ["3/5", "3/5", "1/2", "1/2"]);
}

#[test]
fn cobertura_whose_lines_stand_in_its_methods_only() {
    let report = r#"<coverage line-rate="0.5"><packages><package><classes><class name="A" filename="a"><methods>
        <method name="m"><lines><line number="1" hits="0"/><line number="2" hits="1"/></lines></method></methods>
        </class></classes></package></packages></coverage>"#;
    counts("c.xml", report, ["1/2", "1/2", "-", "1/1"]);
}

#[test]
fn xml_that_is_no_report_or_not_whole() {
    let at = COBERTURA.find("</packages>").unwrap();
    for cut in [at, at + 5, COBERTURA.len() - 4, COBERTURA.find("number=\"2\"").unwrap() + 3] {
        Bench::new()
            .with("c.xml", &COBERTURA[..cut])
            .run(&["c.xml"])
            .is_trouble(&["c.xml", "ends too early"]);
    }
    let bomb = COBERTURA
        .replace("SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'", "[<!ENTITY a \"b\">]");
    Bench::new().with("c.xml", bomb).run(&["c.xml"]).is_trouble(&["<!ENTITY"]);
    let deep = format!("<coverage line-rate=\"1\">{}", "<a>".repeat(100_000));
    Bench::new().with("c.xml", deep).run(&["c.xml"]).is_trouble(&["nest deeper"]);
    let long = format!("<coverage line-rate=\"1\"><a b=\"{}\"/></coverage>", "x".repeat(5_000_000));
    Bench::new().with("c.xml", long).run(&["c.xml"]).is_trouble(&["longer than"]);
    let crossed = COBERTURA.replace("</classes>", "</klasses>");
    Bench::new().with("c.xml", crossed).run(&["c.xml"]).is_trouble(&["</klasses> closes <classes>"]);
    let twice = format!("{COBERTURA}<coverage/>");
    Bench::new().with("c.xml", twice).run(&["c.xml"]).is_trouble(&["second root"]);
    let wrong = COBERTURA.replace("hits=\"0\"", "hits=\"many\"");
    Bench::new().with("c.xml", wrong).run(&["c.xml"]).is_trouble(&["hits=\"many\"", "at byte"]);
}

const JACOCO: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="all"><sessioninfo id="h-1" start="1" dump="2"/><group name="core"><package name="com/acme"><class name="com/acme/Foo" sourcefilename="Foo.java"><method name="&lt;init&gt;" desc="()V" line="3"><counter type="INSTRUCTION" missed="0" covered="3"/><counter type="LINE" missed="0" covered="1"/><counter type="METHOD" missed="0" covered="1"/></method><method name="f" desc="(I)I" line="5"><counter type="INSTRUCTION" missed="4" covered="6"/><counter type="BRANCH" missed="1" covered="1"/><counter type="LINE" missed="1" covered="1"/><counter type="METHOD" missed="0" covered="1"/></method><method name="g" desc="()V" line="9"><counter type="INSTRUCTION" missed="1" covered="0"/><counter type="LINE" missed="1" covered="0"/><counter type="METHOD" missed="1" covered="0"/></method><counter type="INSTRUCTION" missed="5" covered="9"/><counter type="BRANCH" missed="1" covered="1"/><counter type="LINE" missed="2" covered="2"/><counter type="METHOD" missed="1" covered="2"/></class><sourcefile name="Foo.java"><line nr="3" mi="0" ci="3" mb="0" cb="0"/><line nr="5" mi="1" ci="6" mb="1" cb="1"/><line nr="6" mi="3" ci="0" mb="0" cb="0"/><line nr="9" mi="1" ci="0" mb="0" cb="0"/><counter type="LINE" missed="2" covered="2"/></sourcefile></package></group><counter type="INSTRUCTION" missed="5" covered="9"/><counter type="BRANCH" missed="1" covered="1"/><counter type="LINE" missed="2" covered="2"/><counter type="COMPLEXITY" missed="2" covered="2"/><counter type="METHOD" missed="1" covered="2"/><counter type="CLASS" missed="0" covered="1"/></report>"#;

#[test]
fn jacoco() {
    counts("jacoco.xml", JACOCO, ["9/14", "2/4", "1/2", "2/3"]);
    assert_eq!(Bench::new().with("j.xml", JACOCO).run(&["--strict", "j.xml"]).status(), 1);
    let contradicting = JACOCO.replace("<counter type=\"INSTRUCTION\" missed=\"5\" covered=\"9\"/><counter type=\"BRANCH\" missed=\"1\" covered=\"1\"/><counter type=\"LINE\" missed=\"2\" covered=\"2\"/><counter type=\"COMPLEXITY\"", "<counter type=\"INSTRUCTION\" missed=\"0\" covered=\"14\"/><counter type=\"COMPLEXITY\"");
    Bench::new().with("j.xml", contradicting).run(&["j.xml"]).is_trouble(&["14 of 14", "9 of 14"]);
}

#[test]
fn jacoco_of_code_without_line_numbers_and_of_gcovr() {
    let class = |file: &str| {
        format!(
            "<class name=\"p/A\"{file}><method name=\"f\" desc=\"()V\"><counter type=\"METHOD\" missed=\"0\" covered=\"1\"/></method>\
             <counter type=\"INSTRUCTION\" missed=\"2\" covered=\"8\"/><counter type=\"BRANCH\" missed=\"1\" covered=\"1\"/></class>"
        )
    };
    let report = |package: &str| {
        format!(
            "<report name=\"r\"><package name=\"p\">{package}</package><counter type=\"INSTRUCTION\" missed=\"2\" covered=\"8\"/>\
             <counter type=\"BRANCH\" missed=\"1\" covered=\"1\"/><counter type=\"METHOD\" missed=\"0\" covered=\"1\"/></report>"
        )
    };
    let bench = Bench::new().with("none.xml", report(&class(""))).with(
        "some.xml",
        report(
            &(class(" sourcefilename=\"A.java\"")
                + "<sourcefile name=\"A.java\"><line nr=\"3\" mi=\"0\" ci=\"5\" mb=\"1\" cb=\"1\"/></sourcefile>"),
        ),
    );
    assert_eq!(bench.counts("none.xml"), ["8/10", "0/0", "1/2", "1/1"]);
    assert_eq!(bench.counts("some.xml"), ["8/10", "1/1", "1/2", "1/1"]);
    for report in ["none.xml", "some.xml"] {
        let answer = bench.run(&["--strict", report]);
        assert_eq!(answer.status(), 0, "{report}: {}", answer.stderr());
    }
    let gcovr = r#"<report name="gcovr"><sessioninfo id="s" start="1" dump="1"/><package name="root"><class name="a_c" sourcefilename="./a.c"><lines><line nr="1"/><line nr="2" mb="1" cb="1"/></lines>
        <counter type="LINE" missed="3" covered="5"/><counter type="BRANCH" missed="1" covered="1"/></class></package><counter type="LINE" missed="3" covered="5"/><counter type="BRANCH" missed="1" covered="1"/></report>"#;
    counts("jacoco.xml", gcovr, ["5/8", "5/8", "1/2", "-"]);
}

#[test]
fn clover_of_clover_and_of_phpunit() {
    let clover = r#"<?xml version="1.0" encoding="UTF-8"?>
<coverage generated="1" clover="4.4.1"><project timestamp="1" name="p">
 <metrics coveredelements="5" complexity="3" coveredmethods="1" methods="2" statements="4" coveredstatements="3" conditionals="2" coveredconditionals="1" elements="8" files="1" classes="1" packages="1" ncloc="9" loc="10"/>
 <package name="a"><metrics statements="4"/><file name="A.java" path="/src/a/A.java"><class name="A"><metrics statements="4"/></class>
  <line num="3" type="method" signature="f() : int" count="1"/><line num="4" count="1" type="stmt"/><line num="5" type="cond" truecount="1" falsecount="0"/>
  <line num="6" count="1" type="stmt"/><line num="6" count="2" type="stmt"/><line num="8" type="method" signature="g()" count="0"/><line num="9" count="0" type="stmt"/>
 </file></package></project>
 <testproject timestamp="1" name="t"><metrics statements="9" coveredstatements="9" elements="9" coveredelements="9"/><file name="T.java"><line num="1" count="1" type="stmt"/></file></testproject></coverage>"#;
    counts("clover.xml", clover, ["5/8", "3/4", "1/2", "1/2"]);
    let phpunit = r#"<?xml version="1.0" encoding="UTF-8"?>
<coverage generated="1700000000"><project timestamp="1700000000"><file name="/app/src/A.php">
 <class name="A" namespace="global"><metrics complexity="2" methods="2" coveredmethods="1" conditionals="0" coveredconditionals="0" statements="3" coveredstatements="2" elements="5" coveredelements="3"/></class>
 <line num="7" type="method" name="f" visibility="public" complexity="1" crap="1" count="2"/><line num="9" type="stmt" count="2"/><line num="10" type="stmt" count="1"/>
 <line num="14" type="method" name="g" visibility="public" complexity="1" crap="2" count="0"/><line num="16" type="stmt" count="0"/>
 <metrics loc="20" ncloc="18" classes="1" methods="2" coveredmethods="1" conditionals="0" coveredconditionals="0" statements="3" coveredstatements="2" elements="5" coveredelements="3"/></file>
 <metrics files="1" loc="20" ncloc="18" classes="1" methods="2" coveredmethods="1" conditionals="0" coveredconditionals="0" statements="3" coveredstatements="2" elements="5" coveredelements="3"/></project></coverage>"#;
    counts("clover.xml", phpunit, ["3/5", "2/3", "-", "1/2"]);
    let header = "elements=\"5\" coveredelements=\"3\"/></project>";
    let other = phpunit.replace(header, "elements=\"5\" coveredelements=\"5\"/></project>");
    let bench = Bench::new().with("c.xml", &other);
    bench.run(&["c.xml"]).is_trouble(&["5 of 5 elements", "3 of 5"]);
    assert_eq!(bench.run(&["--trust-header", "c.xml"]).stdout(), "TOTAL 100.00%\n");
    let less =
        phpunit.replace("num=\"10\" type=\"stmt\" count=\"1\"", "num=\"10\" type=\"stmt\" count=\"0\"");
    Bench::new()
        .with("c.xml", less)
        .run(&["--fail-under", "50", "c.xml"])
        .is_trouble(&["3 of 5 elements", "2 of 5"]);
}

#[test]
fn clover_of_istanbul_and_of_gcovr() {
    let istanbul = r#"<coverage generated="1" clover="3.2.0"><project timestamp="1" name="All files">
 <metrics statements="3" coveredstatements="2" conditionals="2" coveredconditionals="1" methods="2" coveredmethods="1" elements="7" coveredelements="4" complexity="0" loc="3" ncloc="3" packages="1" files="1" classes="1"/>
 <file name="a.js" path="/app/a.js"><metrics statements="3" coveredstatements="2" conditionals="2" coveredconditionals="1" methods="2" coveredmethods="1"/>
  <line num="1" count="1" type="stmt"/><line num="2" count="4" type="cond" truecount="1" falsecount="1"/><line num="7" count="0" type="stmt"/></file></project></coverage>"#;
    counts("clover.xml", istanbul, ["4/7", "2/3", "1/2", "1/2"]);
    let gcovr = r#"<coverage clover="gcovr 8.3" generated="1"><project timestamp="1"><metrics complexity="0" elements="3" coveredelements="2" conditionals="0" coveredconditionals="0" statements="0" coveredstatements="0" coveredmethods="0" methods="0" ncloc="3"/>
 <package name="root"><file name="a.c" path="a.c"><metrics elements="3" coveredelements="2" conditionals="0" coveredconditionals="0" statements="0" coveredstatements="0" coveredmethods="0" methods="0"/>
  <line num="1" type="stmt" count="1"/><line num="2" type="stmt" count="1"/><line num="4" type="stmt" count="0"/></file></package></project></coverage>"#;
    counts("clover.xml", gcovr, ["2/3", "2/3", "-", "-"]);
    for (metric, report) in [("total", istanbul), ("line", istanbul), ("function", istanbul), ("line", gcovr)]
    {
        let answer = Bench::new().with("c.xml", report).run(&[
            "--strict",
            "--fail-under",
            "50",
            "--metric",
            metric,
            "c.xml",
        ]);
        assert_eq!(answer.status(), 0, "{metric}: {}", answer.stderr());
    }
}

const LCOV: &str = "TN:unit\nSF:src/a.c\nFN:1,f\nFN:9,15,g\nFNDA:2,f\nFNDA:0,g\nFNF:2\nFNH:1\nDA:1,2\nDA:2,2,abc==\nDA:2,0\nDA:4,0\n\
    BRDA:2,0,0,1\nBRDA:2,0,1,-\nBRDA:2,e0,2,0\nBRF:3\nBRH:1\nLF:3\nLH:2\nend_of_record\n";

#[test]
fn lcov_counts_repeated_lines_and_records_once() {
    counts("lcov.info", LCOV, ["2/3", "2/3", "1/3", "1/2"]);
    let again = LCOV.replace("TN:unit", "TN:system").replace("DA:4,0", "DA:4,7").replace("LH:2", "LH:3");
    counts("lcov.info", format!("{LCOV}{again}"), ["3/3", "3/3", "1/3", "1/2"]);
    let crlf = LCOV.replace('\n', "\r\n");
    counts("lcov.info", crlf, ["2/3", "2/3", "1/3", "1/2"]);
    let version_2 = "# made by lcov 2\nTN:\nSF:a.cc\nFNL:0,1,5\nFNA:0,3,_Z1fv\nFNA:0,1,_Z1fi\nFNL:1,7,9\nFNA:1,0,_Z1gv\nFNF:2\nFNH:1\n\
        MCDC:1,2,t,1,0,x\nMCF:2\nMCH:1\nBRDA:3,0,a == b && f(x,y),0\nDA:1,3\nDA:3,1e3\nDA:7,-1\nLF:3\nLH:2\nend_of_record\n";
    counts("lcov.info", version_2, ["2/3", "2/3", "0/1", "1/2"]);
}

#[test]
fn lcov_that_is_broken() {
    let cut = &LCOV[..LCOV.len() - "end_of_record\n".len()];
    Bench::new().with("l", cut).run(&["l"]).is_trouble(&["ends too early", "src/a.c"]);
    let odd = LCOV.replace("DA:1,2", "DA:one,2");
    Bench::new().with("l", odd).run(&["l"]).is_trouble(&["line 9"]);
    let orphan = format!("DA:1,1\n{LCOV}");
    Bench::new().with("l", orphan).run(&["l"]).is_trouble(&["line 1"]);
}

#[test]
fn go_profiles_of_merged_runs() {
    let profile = "mode: count\nacme.test/m/a.go:3.16,5.2 2 1\nacme.test/m/a.go:7.16,9.12 3 0\nacme.test/m/a.go:7.16,9.12 3 4\nC:/x/b.go:1.1,2.2 1 0\n";
    counts("cover.out", profile, ["5/6", "6/8", "-", "-"]);
    Bench::new()
        .with("c", &profile[..profile.len() - 5])
        .run(&["c"])
        .is_trouble(&["ends too early", "line 5"]);
    Bench::new().with("c", "mode: set\n").run(&["c"]).is_trouble(&["no statements to cover"]);
}

const LLVM_COV: &str = r#"{"data":[{"files":[{"branches":[[3,8,3,13,1,0,0,0,4]],"expansions":[],"filename":"/src/a.rs","segments":
 [[1,12,5,true,true,false],[3,8,5,true,true,false],[3,14,0,true,true,false],[5,6,5,true,false,false],[6,2,0,false,false,false]],
 "summary":{"branches":{"count":2,"covered":1,"notcovered":1,"percent":50},"functions":{"count":1,"covered":1,"percent":100},
 "instantiations":{"count":1,"covered":1,"percent":100},"lines":{"count":6,"covered":4,"percent":66.7},"regions":{"count":3,"covered":2,"notcovered":1,"percent":66.7}}}],
 "functions":[],"totals":{"branches":{"count":2,"covered":1,"notcovered":1,"percent":50},"functions":{"count":1,"covered":1,"percent":100},
 "lines":{"count":6,"covered":4,"percent":66.7},"regions":{"count":3,"covered":2,"notcovered":1,"percent":66.7}}}],
 "type":"llvm.coverage.json.export","version":"2.0.1"}"#;

#[test]
fn llvm_cov() {
    counts("cov.json", LLVM_COV, ["4/6", "4/6", "1/2", "1/1"]);
    // Merged, the lines come from the segments: 1 to 6, of which 4 and 5 begin in a region that was not reached.
    let bench = Bench::new().with("a.json", LLVM_COV).with("b.json", LLVM_COV);
    let fields = bench.json(&["a.json", "b.json"]);
    assert_eq!((&fields["covered"], &fields["total"]), (&4.into(), &6.into()));
}

const ISTANBUL_FINAL: &str = r#"{"/app/a.js": {"path": "/app/a.js",
 "statementMap": {"0": {"start": {"line": 1, "column": 0}, "end": {"line": 1, "column": 9}}, "1": {"start": {"line": 1, "column": 10}, "end": {"line": 1, "column": 12}}, "2": {"start": {"line": 4, "column": 2}, "end": {"line": 4, "column": null}}},
 "fnMap": {"0": {"name": "f", "decl": {"start": {"line": 1}}, "loc": {"start": {"line": 1}}, "line": 1}},
 "branchMap": {"0": {"loc": {"start": {"line": 4, "column": 2}, "end": {"line": 4}}, "type": "if", "locations": [{"start": {"line": 4}}, {"start": {}, "end": {}}], "line": 4}},
 "s": {"0": 1, "1": 0, "2": 0}, "f": {"0": 3}, "b": {"0": [1, 0]}, "_coverageSchema": "1a1c", "hash": "ab"}}"#;

#[test]
fn istanbul_final_and_summary() {
    counts("coverage-final.json", ISTANBUL_FINAL, ["1/3", "1/2", "1/2", "1/1"]);
    let part = r#"{"lines":{"total":2,"covered":1,"skipped":0,"pct":50},"statements":{"total":3,"covered":1,"skipped":0,"pct":33.33},"functions":{"total":1,"covered":1,"skipped":0,"pct":100},"branches":{"total":2,"covered":1,"skipped":0,"pct":50}}"#;
    let summary = format!("{{\"total\": {part}\n,\"/app/a.js\": {part}\n}}");
    counts("coverage-summary.json", &summary, ["1/3", "1/2", "1/2", "1/1"]);
    let other = summary.replacen(
        "\"covered\":1,\"skipped\":0,\"pct\":33.33",
        "\"covered\":3,\"skipped\":0,\"pct\":100",
        1,
    );
    Bench::new().with("s.json", other).run(&["s.json"]).is_trouble(&[
        "contradicts itself",
        "3 of 3",
        "1 of 3",
    ]);
    let empty = r#"{"total": {"lines":{"total":0,"covered":0,"skipped":0,"pct":"Unknown"},"statements":{"total":0,"covered":0,"skipped":0,"pct":"Unknown"}}}"#;
    Bench::new().with("s.json", empty).run(&["s.json"]).is_trouble(&["no statements to cover"]);
}

#[test]
fn simplecov_three_files() {
    let resultset = r#"{"RSpec": {"coverage": {"/app/a.rb": {"lines": [1, null, 0, 3], "branches": {"[:if, 0, 3, 4, 8, 7]": {"[:then, 1, 4, 6, 4, 12]": 2, "[:else, 2, 6, 6, 6, 12]": 0}}}}, "timestamp": 1},
        "Cucumber": {"coverage": {"/app/a.rb": {"lines": [0, null, 1, 0]}, "/app/b.rb": {"lines": [0]}}, "timestamp": 2}}"#;
    counts(".resultset.json", resultset, ["3/4", "3/4", "1/2", "-"]);
    let old = r#"{"RSpec": {"coverage": {"/app/a.rb": [1, null, 0]}, "timestamp": 1}}"#;
    counts(".resultset.json", old, ["1/2", "1/2", "-", "-"]);
    let formatted = r#"{"meta": {"simplecov_version": "0.22.0"}, "coverage": {"/app/a.rb": {"lines": [null, 1, "ignored", 0], "branches": [{"type": "then", "start_line": 4, "end_line": 4, "coverage": 0, "inline": false}]}}, "groups": {}}"#;
    counts("coverage.json", formatted, ["1/2", "1/2", "0/1", "-"]);
    let bench = Bench::new().with("last.json", r#"{"result": {"line": 79.99}}"#);
    let answer = bench.run(&["last.json"]);
    assert_eq!((answer.status(), answer.stdout().as_str()), (1, "TOTAL 79.99%\n"), "{}", answer.stderr());
    assert!(answer.stderr().contains("only a rounded figure"), "{}", answer.stderr());
}

#[test]
fn json_that_is_not_whole() {
    for report in [COVERAGE_JSON, LLVM_COV, ISTANBUL_FINAL] {
        for cut in [report.len() - 1, report.len() / 2] {
            Bench::new().with("r.json", &report[..cut]).run(&["r.json"]).is_trouble(&["ends too early"]);
        }
    }
    let long = COVERAGE_JSON.replace("app/m.py", &"x".repeat(17_000_000));
    Bench::new()
        .with("r.json", long)
        .run(&["--format", "coverage-json", "r.json"])
        .is_trouble(&["a string is longer"]);
}
