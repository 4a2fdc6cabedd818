//! Reports as the tools write them, and covgate run on them.

use std::path::PathBuf;
use std::process::Output;

use hermetic::Home;
use serde_json::Value;

/// A folder with reports, and covgate in it.
pub(crate) struct Bench {
    home: Home,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { home: Home::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Another program, in the folder.
    pub(crate) fn program(&self, name: &str) -> std::process::Command {
        let mut program = self.home.program(name);
        program.current_dir(self.home.path());
        program
    }

    /// Lays a file down.
    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// covgate's answer to these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(arguments, &[], "")
    }

    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        stdin: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut tool = self.home.tool("covgate");
        tool.current_dir(self.home.path()).args(arguments).envs(variables.iter().copied()).write_stdin(stdin);
        Answer(tool.output().unwrap())
    }

    /// The same in a folder below.
    pub(crate) fn run_in(&self, folder: &str, arguments: &[&str]) -> Answer {
        let mut tool = self.home.tool("covgate");
        Answer(tool.current_dir(self.path(folder)).args(arguments).output().unwrap())
    }

    /// The fields of `--output json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.run(&arguments).stdout()).unwrap()
    }

    /// `covered/total` of total, line, branch and function.
    pub(crate) fn counts(&self, report: &str) -> [String; 4] {
        self.counts_of_all(&[report])
    }

    /// The same of the union of reports.
    pub(crate) fn counts_of_all(&self, reports: &[&str]) -> [String; 4] {
        let fields = self.json(&[&["--fail-under", "0"], reports].concat());
        assert!(fields.get("error").is_none(), "{fields}");
        let count = |part: &Value| {
            if part["total"].is_null() {
                "-".to_owned()
            } else {
                format!("{}/{}", part["covered"], part["total"])
            }
        };
        [count(&fields), count(&fields["line"]), count(&fields["branch"]), count(&fields["function"])]
    }
}

pub(crate) struct Answer(Output);

impl Answer {
    pub(crate) fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Status 2, nothing on stdout, and an error with these words and a hint.
    #[track_caller]
    pub(crate) fn is_trouble(&self, words: &[&str]) {
        let stderr = self.stderr();
        assert_eq!((self.status(), self.stdout().as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains("covgate: error: ") && stderr.contains("hint: "), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no `{word}` in {stderr}");
        }
    }
}

/// coverage.py's index.html with one total row.
pub(crate) fn coverage_html(total_row: &str, file_rows: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Coverage report</title>\n\
         <script src=\"coverage_html_cb_188fc9a4.js\" defer></script></head>\n<body class=\"indexfile\">\n\
         <header><h1>Coverage report:\n<span class=\"pc_cov\">80%</span></h1></header>\n\
         <main id=\"index\"><table class=\"index\"><tbody>\n{file_rows}</tbody>\n\
         <tfoot>\n<tr class=\"total\">\n<td class=\"name left\">Total</td>\n{total_row}</tr>\n</tfoot></table></main>\n\
         <footer><p><a class=\"nav\" href=\"https://coverage.readthedocs.io/\">coverage.py v7.5.4</a></p></footer>\n\
         </body>\n</html>\n"
    )
}

/// coverage.py's row of a file or of the total, without branches.
pub(crate) fn html_cells(covered: u64, total: u64) -> String {
    let missing = total - covered;
    format!(
        "<td>{total}</td>\n<td>{missing}</td>\n<td>0</td>\n<td class=\"right\" data-ratio=\"{covered} {total}\">80%</td>\n"
    )
}
