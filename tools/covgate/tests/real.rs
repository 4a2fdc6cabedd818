//! covgate on reports that the real coverage tools write in the test, and its verdicts beside theirs. The tools
//! come through their package managers (pip, npm, cargo, Maven) and stay in the project's cache; `go`, `gcc`, `node`,
//! `mvn` and `python3` have to be there.
#![allow(clippy::unwrap_used, reason = "a test that has no tool can't go on")]

#[path = "covgate/reports.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod reports;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reports::Bench;
use step::environment;

/// Where tools stay from one run to the next.
fn cache() -> PathBuf {
    let named = environment::var_os("GITOPS_CACHE").map(PathBuf::from);
    let base = || environment::var_os("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("gitops-steps"));
    let home = || Path::new(&environment::var_os("HOME").unwrap()).join(".cache/gitops-steps");
    named.or_else(base).unwrap_or_else(home).join("coverage-tools")
}

/// A program with its arguments, which stand apart by spaces.
fn command(program: impl AsRef<Path>, arguments: &str) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments.split_whitespace());
    command
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{stderr}", String::from_utf8_lossy(&output.stdout));
    output
}

/// A folder of the cache, filled once.
fn installed(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let folder = cache().join(name);
    if !folder.join("complete").exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        fill(&folder);
        std::fs::write(folder.join("complete"), "").unwrap();
    }
    folder
}

/// A module of these Python packages, ready to run.
fn python(packages: &str, module: &'static str) -> impl Fn(&Bench, &str) -> Output + use<> {
    let folder = installed(&packages.replace(' ', "+"), |folder| {
        let pip = "-m pip install -q --disable-pip-version-check --no-warn-script-location";
        run(command("python3", pip).args(packages.split(' ')).arg("--target").arg(folder));
    });
    move |bench, arguments| {
        let mut python = command("python3", &format!("-m {module} {arguments}"));
        python.current_dir(bench.path("")).env("PYTHONPATH", &folder).output().unwrap()
    }
}

/// Programs out of an npm package.
fn node(package: &str) -> PathBuf {
    let folder = installed(package, |folder| {
        run(command("npm", "install --silent --no-audit --no-fund --prefix").arg(folder).arg(package));
    });
    folder.join("node_modules/.bin")
}

/// The source package of a Python project, unpacked.
fn source_of(project: &str, version: &str) -> PathBuf {
    installed(&format!("source-{project}-{version}"), |folder| {
        let download =
            format!("-m pip download -q --disable-pip-version-check --no-deps --no-binary {project}");
        run(command("python3", &download).arg(format!("{project}=={version}")).arg("-d").arg(folder));
        let archive =
            files_below(folder).into_iter().find(|path| path.extension().is_some_and(|kind| kind == "gz"));
        run(command("tar", "-xzf").arg(archive.unwrap()).arg("-C").arg(folder));
    })
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// Runs covgate with thresholds around the true percentage and wants the tool's own verdicts.
#[track_caller]
fn agrees(bench: &Bench, rule: &str, report: &str, thresholds: &[&str], theirs: impl Fn(&str) -> bool) {
    for threshold in thresholds {
        let ours = bench.run(&["--rule", rule, "--fail-under", threshold, report]);
        assert!(ours.status() < 2, "{}", ours.stderr());
        assert_eq!(ours.status() == 0, theirs(threshold), "{threshold}: {}", ours.stderr());
    }
}

/// No header contradicts its body.
#[track_caller]
fn is_consistent(bench: &Bench, report: &str) {
    for metric in ["total", "line", "branch", "function"] {
        let answer = bench.run(&["--strict", "--fail-under", "0", "--metric", metric, report]);
        let counted = answer.status() == 0 || answer.stderr().contains("does not count");
        assert!(counted, "{report}, {metric}: {}", answer.stderr());
    }
}

const PYTHON: &str = "def f(x):\n    if x > 1:\n        y = 1\n    else:\n        y = 2\n    for i in range(3):\n        if i == x:\n            break\n    return y\n\n\nclass A:\n    def g(self):\n        return 1\n\n    def h(self):\n        return 2\n\n    def i(self):  # pragma: no cover\n        return 3\n";

/// 13 of 15 statements, 4 of 6 branches.
fn python_project() -> Bench {
    Bench::new()
        .with("app/__init__.py", "")
        .with("app/m.py", PYTHON)
        .with("app/full.py", "def u():\n    return 1\n")
        .with("test_m.py", "from app import full, m\n\n\ndef test_it():\n    full.u()\n    assert m.f(2) == 1\n    m.A().g()\n    m.A().i()\n")
        .with("run.py", "import test_m\ntest_m.test_it()\n")
}

/// Every version writes the same counts in all its formats, with and without branches.
#[test]
fn coverage_py_of_many_versions() {
    for version in ["4.5.4", "5.5", "6.5.0", "7.0.0", "7.5.4", "7.12.0", "7.17.3"] {
        let coverage = python(&format!("coverage=={version}"), "coverage");
        for branch in ["", "--branch"] {
            let bench = python_project();
            let call = |arguments: &str| {
                let output = coverage(&bench, arguments);
                assert!(output.status.success(), "{version}: {output:?}");
            };
            call(&format!("run {branch} --source app run.py"));
            call("html -d htmlcov");
            call("xml -o coverage.xml");
            let expected = bench.counts("htmlcov");
            assert_eq!(expected[2] != "-", !branch.is_empty(), "{version}");
            let mut reports = vec!["coverage.xml"];
            // JSON came with 5.0. LCOV, whose total is in lines, counts excluded lines in older
            // versions.
            if version != "4.5.4" {
                call("json -o coverage.json");
                reports.push("coverage.json");
            }
            for report in &reports {
                assert_eq!(bench.counts(report)[..3], expected[..3], "{version}: {report}");
                is_consistent(&bench, report);
            }
            assert_eq!(bench.counts_of_all(&reports)[..3], expected[..3], "{version}: {reports:?}");
            if ["7.12.0", "7.17.3"].contains(&version) {
                assert_eq!(expected[1], "13/15", "{version}");
                call("lcov -o coverage.lcov");
                assert_eq!(bench.counts("coverage.lcov")[1..3], expected[1..3], "{version}: lcov");
                let all = ["coverage.xml", "coverage.lcov", "coverage.json"];
                assert_eq!(bench.counts_of_all(&all)[1..3], expected[1..3], "{version}: {all:?}");
                is_consistent(&bench, "coverage.lcov");
            }
            is_consistent(&bench, "htmlcov");
        }
    }
}

#[test]
fn the_pages_of_coverage_py() {
    let coverage = python("coverage==7.17.3", "coverage");
    let bench = python_project();
    coverage(&bench, "run --branch --source app run.py");
    coverage(&bench, "html -d all");
    coverage(&bench, "html -d some --skip-covered --skip-empty");
    let expected = ["17/21", "13/15", "4/6", "-"];
    for page in ["all", "some", "all/function_index.html", "all/class_index.html"] {
        assert_eq!(bench.counts(page), expected, "{page}");
        is_consistent(&bench, page);
    }
    let page = files_below(&bench.path("all"))
        .into_iter()
        .find(|path| path.ends_with("m_py.html") || path.to_string_lossy().ends_with("_m_py.html"));
    bench.run(&[page.unwrap().to_str().unwrap()]).is_trouble(&["the page of one source file"]);
}

/// The verdicts of coverage.py's newest rule.
#[test]
fn coverage_py_agrees_with_the_rule_named_for_it() {
    let coverage = python("coverage==7.17.3", "coverage");
    let bench = python_project();
    coverage(&bench, "run --branch --source app run.py");
    coverage(&bench, "json -o coverage.json");
    // 17 of 21 is 80.952…
    let thresholds = ["80", "80.9", "80.95", "80.96", "80.952", "80.953", "81", "81.1", "82", "99.9", "100"];
    agrees(&bench, "coverage.py", "coverage.json", &thresholds, |threshold| {
        coverage(&bench, &format!("report --fail-under {threshold}")).status.success()
    });
}

#[test]
fn pytest_cov() {
    let pytest = python("pytest pytest-cov", "pytest");
    let bench = python_project();
    let output =
        pytest(&bench, "-q --cov=app --cov-branch --cov-report=html --cov-report=xml --cov-report=json");
    assert!(output.status.success(), "{output:?}");
    for report in ["htmlcov", "coverage.xml", "coverage.json"] {
        assert_eq!(bench.counts(report)[..3], ["17/21", "13/15", "4/6"], "{report}");
    }
}

const SCRIPT: &str = "function f(x) {\n  if (x) { return 1; }\n  return x === 0 ? 2 : 3;\n}\nfunction g() {\n  const a = 1; return a;\n}\nf(1);\n";

/// nyc counts by its own instrumentation, c8 by V8's.
#[test]
fn istanbul_in_all_its_formats() {
    let formats = "-r json -r json-summary -r lcovonly -r cobertura -r clover";
    for (package, program) in [("nyc@17", "nyc"), ("c8@10", "c8")] {
        let program = node(package).join(program);
        let bench = Bench::new().with("a.js", SCRIPT).with("package.json", "{}");
        run(command(&program, &format!("{formats} node a.js")).current_dir(bench.path("")));
        let expected = bench.counts("coverage/coverage-summary.json");
        assert_eq!(bench.counts("coverage/coverage-final.json"), expected, "{package}");
        for report in ["coverage/lcov.info", "coverage/clover.xml"] {
            assert_eq!(bench.counts(report)[1..], expected[1..], "{package}: {report}");
        }
        assert_eq!(bench.counts("coverage/cobertura-coverage.xml")[1..3], expected[1..3], "{package}");
        let all = ["coverage-final.json", "lcov.info", "clover.xml", "cobertura-coverage.xml"];
        let all = all.map(|report| format!("coverage/{report}"));
        assert_eq!(
            bench.counts_of_all(&all.each_ref().map(String::as_str))[1],
            expected[1],
            "{package}: {all:?}"
        );
        for report in [
            "coverage-summary.json",
            "coverage-final.json",
            "lcov.info",
            "clover.xml",
            "cobertura-coverage.xml",
        ] {
            is_consistent(&bench, &format!("coverage/{report}"));
        }
        // nyc's 4 of 9 statements are 44.44…, c8's 7 of 8 lines 87.5.
        let thresholds = ["44", "44.44", "44.45", "87.5", "87.51", "100"];
        agrees(&bench, "istanbul", "coverage/coverage-summary.json", &thresholds, |threshold| {
            let check =
                format!("check-coverage --lines 0 --functions 0 --branches 0 --statements {threshold}");
            command(&program, &check).current_dir(bench.path("")).output().unwrap().status.success()
        });
    }
}

#[test]
fn go_test() {
    let bench = Bench::new()
        .with("go.mod", "module acme.test/m\n\ngo 1.20\n")
        .with("a.go", "package m\n\nfunc F(x int) int {\n\tif x > 1 {\n\t\treturn 1\n\t}\n\treturn 2\n}\n\nfunc G() int { return 3 }\n")
        .with("b/b.go", "package b\n\nimport \"acme.test/m\"\n\nfunc H() int { return m.G() }\n")
        .with("a_test.go", "package m\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) {\n\tF(2)\n}\n")
        .with("b/b_test.go", "package b\n\nimport \"testing\"\n\nfunc TestH(t *testing.T) {\n\tH()\n}\n");
    let go = |arguments: &str| {
        let output = run(command("go", arguments).current_dir(bench.path("")).env("GOFLAGS", "-mod=mod"));
        String::from_utf8(output.stdout).unwrap()
    };
    for mode in ["set", "count", "atomic"] {
        go(&format!("test -covermode {mode} -coverprofile=cover.out ."));
        assert_eq!(bench.counts("cover.out")[0], "2/4");
        assert!(go("tool cover -func=cover.out").contains("50.0%"));
    }
    // Each package's tests count every package, so blocks repeat.
    go("test -coverpkg=./... -coverprofile=cover.out ./...");
    assert_eq!(bench.counts("cover.out")[0], "4/5");
    assert!(go("tool cover -func=cover.out").contains("80.0%"));
}

#[test]
fn gcovr_in_all_its_formats() {
    for version in ["5.2", "8.3", "8.8"] {
        let gcovr = python(&format!("gcovr=={version}"), "gcovr");
        let bench = Bench::new().with("a.c", "int f(int x) {\n  if (x > 1)\n    return 1;\n  return 2;\n}\nint g(void) {\n  return 3;\n}\nint main(void) {\n  return f(2) - 1;\n}\n");
        run(command("gcc", "--coverage -O0 -o a a.c").current_dir(bench.path("")));
        run(Command::new(bench.path("a")).current_dir(bench.path("")));
        let output = gcovr(&bench, "-r . --cobertura cobertura.xml");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(bench.counts("cobertura.xml")[..3], ["5/8", "5/8", "1/2"], "{version}");
        is_consistent(&bench, "cobertura.xml");
        if version != "5.2" {
            let output = gcovr(&bench, "-r . --lcov lcov.info --jacoco jacoco.xml --clover clover.xml");
            assert!(output.status.success(), "{output:?}");
            for report in ["lcov.info", "jacoco.xml"] {
                assert_eq!(bench.counts(report)[..3], ["5/8", "5/8", "1/2"], "{report}");
            }
            assert_eq!(bench.counts("clover.xml")[..2], ["5/8", "5/8"]);
            let all = ["cobertura.xml", "lcov.info", "clover.xml"];
            assert_eq!(bench.counts_of_all(&all)[..2], ["5/8", "5/8"], "{all:?}");
            for report in ["lcov.info", "jacoco.xml", "clover.xml"] {
                is_consistent(&bench, report);
            }
        }
        agrees(
            &bench,
            "gcovr",
            "cobertura.xml",
            &["62", "62.5", "62.51", "62.6", "99.9", "100"],
            |threshold| gcovr(&bench, &format!("-r . --fail-under-line {threshold}")).status.success(),
        );
    }
}

const POM: &str = "<project><modelVersion>4.0.0</modelVersion><groupId>acme</groupId><artifactId>a</artifactId><version>1</version>\
    <properties><maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target>\
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>\
    <dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version><scope>test</scope></dependency></dependencies>\
    <build><plugins><plugin><groupId>org.jacoco</groupId><artifactId>jacoco-maven-plugin</artifactId><version>0.8.12</version><executions>\
    <execution><goals><goal>prepare-agent</goal></goals></execution>\
    <execution><id>report</id><phase>test</phase><goals><goal>report</goal></goals></execution></executions></plugin></plugins></build></project>";
const JAVA: &str = "package p;\npublic class A {\n    public static int f(int x) {\n        if (x > 1) {\n            return 1;\n        }\n        return 2;\n    }\n    public static int g() {\n        return 3;\n    }\n    static class Inner {\n        int h() { return 4; }\n    }\n}\n";
const JAVA_TEST: &str = "package p;\npublic class ATest {\n    @org.junit.Test public void f() { org.junit.Assert.assertEquals(1, A.f(2)); }\n}\n";

#[test]
fn jacoco_through_maven() {
    let bench = Bench::new()
        .with("pom.xml", POM)
        .with("src/main/java/p/A.java", JAVA)
        .with("src/test/java/p/ATest.java", JAVA_TEST);
    let mut maven = command("mvn", "-q -B test");
    run(maven
        .arg(format!("-Dmaven.repo.local={}", cache().join("maven").display()))
        .current_dir(bench.path("")));
    assert_eq!(bench.counts("target/site/jacoco"), ["5/17", "2/7", "1/2", "1/5"]);
    is_consistent(&bench, "target/site/jacoco/jacoco.xml");
}

#[test]
fn cargo_llvm_cov() {
    run(&mut command("rustup", "component add llvm-tools"));
    let folder = installed("cargo-llvm-cov-0.9.1", |folder| {
        let mut install = command("cargo", "install -q --locked --version 0.9.1 cargo-llvm-cov --root");
        run(install.arg(folder).arg("--target-dir").arg(folder.join("build")));
        std::fs::remove_dir_all(folder.join("build")).unwrap();
    });
    let bench = Bench::new()
        .with("Cargo.toml", "[package]\nname = \"acme\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n")
        .with("src/lib.rs", "pub mod part;\n\npub fn f(x: u32) -> u32 {\n    if x > 1 {\n        return 1;\n    }\n    2\n}\n\n#[test]\nfn t() {\n    assert_eq!(f(2), 1);\n}\n")
        .with("src/part.rs", "pub fn g() -> u32 {\n    3\n}\n");
    let call = |arguments: &str| {
        let mut program = command(folder.join("bin/cargo-llvm-cov"), &format!("llvm-cov {arguments}"));
        run(program.current_dir(bench.path("")).env_remove("CARGO_TARGET_DIR"));
    };
    call("--no-report");
    call("report --json --output-path cov.json");
    call("report --lcov --output-path lcov.info");
    call("report --cobertura --output-path cobertura.xml");
    let expected = bench.counts("cov.json");
    assert_eq!(expected[1], "7/12");
    for report in ["lcov.info", "cobertura.xml"] {
        assert_eq!(bench.counts(report)[1], expected[1], "{report}");
    }
    for report in ["cov.json", "lcov.info", "cobertura.xml"] {
        is_consistent(&bench, report);
    }
    assert_eq!(bench.counts_of_all(&["cov.json", "lcov.info", "cobertura.xml"])[1], expected[1]);
}

/// What `cargo llvm-cov` runs, without cargo: the compiler's instrumentation and `llvm-cov export`.
#[test]
fn llvm_cov_in_both_its_formats() {
    run(&mut command("rustup", "component add llvm-tools"));
    let root = String::from_utf8(run(&mut command("rustc", "--print target-libdir")).stdout).unwrap();
    let llvm = Path::new(root.trim()).with_file_name("bin");
    let bench = Bench::new().with("a.rs", "fn f(x: u32) -> u32 {\n    if x > 1 {\n        return 1;\n    }\n    2\n}\nfn g() -> u32 {\n    3\n}\nfn main() {\n    assert_eq!(f(2), 1);\n    if std::env::args().count() > 5 {\n        g();\n    }\n}\n");
    let call = |program: PathBuf, arguments: &str| {
        let mut command = command(program, arguments);
        run(command.current_dir(bench.path("")).env("LLVM_PROFILE_FILE", "a.profraw")).stdout
    };
    call("rustc".into(), "-C instrument-coverage a.rs");
    call(bench.path("a"), "");
    call(llvm.join("llvm-profdata"), "merge a.profraw -o a.profdata");
    let export =
        |format: &str| call(llvm.join("llvm-cov"), &format!("export {format} -instr-profile=a.profdata a"));
    std::fs::write(bench.path("cov.json"), export("")).unwrap();
    std::fs::write(bench.path("summary.json"), export("-summary-only")).unwrap();
    std::fs::write(bench.path("lcov.info"), export("-format=lcov")).unwrap();
    let expected = bench.counts("cov.json");
    assert_eq!(expected, ["9/15", "9/15", "-", "2/3"]);
    assert_eq!(bench.counts("summary.json"), expected);
    assert_eq!(bench.counts("lcov.info")[1..], expected[1..]);
    for report in ["cov.json", "summary.json", "lcov.info"] {
        is_consistent(&bench, report);
    }
}

/// The reports in other tools' own source packages: each is read, or refused for a reason that a person can see in it.
#[test]
fn the_fixtures_of_other_tools() {
    for (project, version, least) in
        [("coverage", "7.11.0", 15), ("diff_cover", "11.0.1", 5), ("pycobertura", "4.1.0", 15)]
    {
        let mut read = 0;
        for path in files_below(&source_of(project, version)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let in_tests = path.components().any(|part| part.as_os_str() == "tests");
            let is_report = name == "index.html"
                || name.contains("cov")
                || name.contains("bertura")
                || name.contains("clover");
            let kind = path
                .extension()
                .is_some_and(|kind| ["xml", "html", "json", "info", "lcov"].iter().any(|one| kind == *one));
            if !in_tests || !is_report || !kind {
                continue;
            }
            let answer = Bench::new().run(&["--fail-under", "0", path.to_str().unwrap()]);
            let stderr = answer.stderr();
            let reasons = [
                "to cover",
                "not a coverage report",
                "is empty",
                "contradicts itself",
                "the page of one source file",
                "no total row",
            ];
            assert!(
                answer.status() == 0 || reasons.iter().any(|reason| stderr.contains(reason)),
                "{}: {stderr}",
                path.display()
            );
            read += usize::from(answer.status() == 0);
        }
        assert!(read >= least, "{project}: {read}");
    }
}
