//! covgate on reports that the real coverage tools write, installed by their package managers.
#![allow(clippy::unwrap_used, reason = "a test that has no tool can't go on")]

#[path = "covgate/reports.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod reports;

use std::path::{Path, PathBuf};
use std::process::Command;

use reports::Bench;
use step::environment;

/// Where tools stay from one run to the next.
fn cache() -> PathBuf {
    let named = environment::var_os("GITOPS_CACHE").map(PathBuf::from);
    let base = || environment::var_os("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("gitops-steps"));
    let home = || Path::new(&environment::var_os("HOME").unwrap()).join(".cache/gitops-steps");
    named.or_else(base).unwrap_or_else(home).join("coverage-tools")
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{stderr}", String::from_utf8_lossy(&output.stdout));
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

/// A virtual environment with these packages; its folder of programs.
fn python(name: &str, packages: &[&str]) -> PathBuf {
    installed(name, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip"))
            .args(["-q", "install", "--disable-pip-version-check"])
            .args(packages));
    })
    .join("bin")
}

/// Programs out of npm packages.
fn node(name: &str, packages: &[&str]) -> PathBuf {
    installed(name, |folder| {
        run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .args(packages));
    })
    .join("node_modules/.bin")
}

/// The source package of a Python project, unpacked.
fn source_of(package: &str) -> PathBuf {
    installed(&format!("source-{package}"), |folder| {
        run(Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "-q",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-build-isolation",
            ])
            .args(["--no-binary", ":all:", package, "-d"])
            .arg(folder));
        let archive = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let archive = archive.filter(|path| path.to_string_lossy().ends_with(".tar.gz")).last().unwrap();
        run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder));
    })
}

const PYTHON: &str = "def f(x):\n    if x > 1:\n        y = 1\n    else:\n        y = 2\n    for i in range(3):\n        if i == x:\n            break\n    return y\n\n\nclass A:\n    def g(self):\n        return 1\n\n    def h(self):\n        return 2\n";

fn python_project() -> Bench {
    Bench::new()
        .with("app/__init__.py", "")
        .with("app/m.py", PYTHON)
        .with("app/full.py", "def u():\n    return 1\n")
        .with("test_m.py", "from app import full, m\n\n\ndef test_it():\n    full.u()\n    assert m.f(2) == 1\n    m.A().g()\n")
        .with("run.py", "import test_m\ntest_m.test_it()\n")
}

/// Every version writes the same counts in all its formats, with and without branches.
#[test]
fn coverage_py_of_many_versions() {
    for version in ["5.5", "6.5.0", "7.0.0", "7.5.4", "7.11.0", "7.12.0", "7.17.3"] {
        let coverage =
            python(&format!("coverage-{version}"), &[&format!("coverage=={version}")]).join("coverage");
        for branch in [false, true] {
            let bench = python_project();
            let call =
                |arguments: &[&str]| run(Command::new(&coverage).args(arguments).current_dir(bench.path("")));
            let options: &[&str] = if branch { &["--branch"] } else { &[] };
            call(&[&["run"], options, &["--source", "app", "run.py"]].concat());
            call(&["html", "-d", "htmlcov"]);
            call(&["json", "-o", "coverage.json"]);
            call(&["xml", "-o", "coverage.xml"]);
            let expected = bench.counts("htmlcov");
            assert_eq!(expected[2] != "-", branch, "{version}");
            for report in ["coverage.json", "coverage.xml"] {
                assert_eq!(bench.counts(report)[..3], expected[..3], "{version}: {report}");
            }
            // 6.3 was the first with LCOV, whose total is in lines.
            if version != "5.5" {
                call(&["lcov", "-o", "coverage.lcov"]);
                assert_eq!(bench.counts("coverage.lcov")[1..3], expected[1..3], "{version}: lcov");
            }
            assert_eq!(bench.run(&["--strict", "--fail-under", "60", "htmlcov"]).status(), 0, "{version}");
        }
    }
}

#[test]
fn the_pages_that_skip_covered_files() {
    let coverage = python("coverage-7.17.3", &["coverage==7.17.3"]).join("coverage");
    let bench = python_project();
    let call = |arguments: &[&str]| run(Command::new(&coverage).args(arguments).current_dir(bench.path("")));
    call(&["run", "--branch", "--source", "app", "run.py"]);
    call(&["html", "-d", "all"]);
    call(&["html", "-d", "some", "--skip-covered", "--skip-empty"]);
    assert_eq!(bench.counts("all"), bench.counts("some"));
    assert_eq!(bench.run(&["--strict", "--fail-under", "60", "some"]).status(), 0);
    let page = std::fs::read_dir(bench.path("all")).unwrap().map(|entry| entry.unwrap().path());
    let page = page.filter(|path| path.to_string_lossy().ends_with("m_py.html")).last().unwrap();
    bench.run(&[page.to_str().unwrap()]).is_trouble(&["the page of one source file"]);
}

/// The verdicts of coverage.py's newest rule.
#[test]
fn coverage_py_agrees_with_the_rule_named_for_it() {
    let coverage = python("coverage-7.17.3", &["coverage==7.17.3"]).join("coverage");
    let bench = python_project();
    let call = |arguments: &[&str]| {
        Command::new(&coverage).args(arguments).current_dir(bench.path("")).output().unwrap()
    };
    call(&["run", "--branch", "--source", "app", "run.py"]);
    call(&["json", "-o", "coverage.json"]);
    // 17 of 21 is 80.952…
    for threshold in ["80", "80.9", "80.95", "80.96", "81", "81.1", "82", "100"] {
        let theirs = call(&["report", "--fail-under", threshold]).status.success();
        let ours =
            bench.run(&["--rule", "coverage.py", "--fail-under", threshold, "coverage.json"]).status() == 0;
        assert_eq!(ours, theirs, "{threshold}");
    }
}

#[test]
fn pytest_cov() {
    let pytest = python("pytest-cov", &["pytest", "pytest-cov"]).join("pytest");
    let bench = python_project();
    run(Command::new(pytest)
        .args([
            "-q",
            "--cov=app",
            "--cov-branch",
            "--cov-report=html",
            "--cov-report=xml",
            "--cov-report=json",
        ])
        .current_dir(bench.path("")));
    assert_eq!(bench.counts("htmlcov"), ["17/21", "13/15", "4/6", "-"]);
    assert_eq!(bench.counts("coverage.xml")[..3], bench.counts("htmlcov")[..3]);
}

#[test]
fn c8_in_all_its_formats() {
    let c8 = node("c8", &["c8@10"]).join("c8");
    let bench = Bench::new()
        .with("a.js", "function f(x) {\n  if (x) {\n    return 1;\n  }\n  return 2;\n}\nfunction g() {\n  return 3;\n}\nf(1);\n")
        .with("package.json", "{}");
    run(Command::new(c8)
        .args([
            "-r",
            "json",
            "-r",
            "json-summary",
            "-r",
            "lcovonly",
            "-r",
            "cobertura",
            "-r",
            "clover",
            "node",
            "a.js",
        ])
        .current_dir(bench.path("")));
    let expected = bench.counts("coverage/coverage-summary.json");
    let fields = |counts: [String; 4]| counts[1..].to_vec();
    for report in ["coverage/coverage-final.json", "coverage/lcov.info", "coverage/cobertura-coverage.xml"] {
        let counts = bench.counts(report);
        assert_eq!(counts[1], expected[1], "{report}");
        if !report.ends_with("xml") {
            assert_eq!(fields(counts)[..2], fields(expected.clone())[..2], "{report}");
        }
    }
    assert_eq!(bench.counts("coverage/clover.xml")[1], expected[1]);
}

#[test]
fn go_test() {
    let bench = Bench::new()
        .with("go.mod", "module acme.test/m\n\ngo 1.20\n")
        .with("a.go", "package m\n\nfunc F(x int) int {\n\tif x > 1 {\n\t\treturn 1\n\t}\n\treturn 2\n}\n\nfunc G() int { return 3 }\n")
        .with("a_test.go", "package m\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) {\n\tF(2)\n}\n");
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(bench.path("")).env("GOFLAGS", "-mod=mod");
        let output = go.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for mode in ["set", "count", "atomic"] {
        go(&["test", "-covermode", mode, "-coverprofile=cover.out", "."]);
        assert_eq!(bench.counts("cover.out")[0], "2/4");
        assert!(go(&["tool", "cover", "-func=cover.out"]).contains("50.0%"));
    }
}

#[test]
fn gcovr_in_all_its_formats() {
    let gcovr = python("gcovr", &["gcovr==8.3"]).join("gcovr");
    let bench = Bench::new().with("a.c", "int f(int x) {\n  if (x > 1)\n    return 1;\n  return 2;\n}\nint g(void) {\n  return 3;\n}\nint main(void) {\n  return f(2) - 1;\n}\n");
    run(Command::new("gcc").args(["--coverage", "-O0", "-o", "a", "a.c"]).current_dir(bench.path("")));
    run(Command::new(bench.path("a")).current_dir(bench.path("")));
    run(Command::new(gcovr)
        .args([
            "-r",
            ".",
            "--cobertura",
            "cobertura.xml",
            "--lcov",
            "lcov.info",
            "--jacoco",
            "jacoco.xml",
            "--clover",
            "clover.xml",
        ])
        .current_dir(bench.path("")));
    let expected = bench.counts("cobertura.xml");
    assert_eq!(expected[1], "5/8");
    for report in ["lcov.info", "jacoco.xml", "clover.xml"] {
        assert_eq!(bench.counts(report)[1], expected[1], "{report}");
    }
    assert_eq!(bench.counts("lcov.info")[2], expected[2]);
}

/// The reference reports in gcovr's and coverage.py's own source packages: each is read, or refused for
/// having nothing to cover, and none contradicts itself.
#[test]
fn the_peers_own_fixtures() {
    let mut read = 0;
    for (package, least) in [("gcovr==8.3", 100), ("coverage==7.11.0", 3)] {
        let before = read;
        for path in files_below(&source_of(package)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_report = ["cobertura", "lcov", "jacoco", "clover", "coverage.xml", "index.html"]
                .iter()
                .any(|part| name.contains(part));
            let kind = path
                .extension()
                .is_some_and(|kind| kind == "xml" || kind == "info" || kind == "lcov" || kind == "html");
            if !is_report || !kind || !path.to_string_lossy().contains("tests") || name.contains("sonarqube")
            {
                continue;
            }
            let answer = Bench::new().run(&["--fail-under", "0", path.to_str().unwrap()]);
            let stderr = answer.stderr();
            let refused = ["to cover", "not a coverage report", "is empty", "names no"]
                .iter()
                .any(|word| stderr.contains(word));
            assert!(answer.status() == 0 || refused, "{}: {stderr}", path.display());
            read += usize::from(answer.status() == 0);
        }
        assert!(read - before >= least, "{package}: {}", read - before);
    }
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
