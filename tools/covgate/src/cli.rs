//! The command line of covgate, and the only place that reads the environment.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use step::{Console, ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk, environment};

use crate::audit::Belief;
use crate::diff::Changes;
use crate::format::Format;
use crate::gate::{self, Answer, Question};
use crate::output::{self, Output};
use crate::per_file::FileThresholds;
use crate::report::Metric;
use crate::rule::Rule;
use crate::verdict::Percent;

const EXAMPLES: &str = "\
Examples:
  covgate htmlcov                                 the report in a folder, against 80 %
  covgate --fail-under 92.5 coverage.xml          decimals are compared exactly
  covgate --metric branch -o json target/site/jacoco
  covgate --per-file 60 --per-file '**/billing/**=95' lcov.info
  covgate unit.info integration.xml               one union of files and lines
  git diff main... | covgate --diff - --fail-under-diff 90 coverage.json
  covgate --diff-base origin/main --cobertura marks.xml coverage.json
  covgate --baseline main.json --max-drop 0.5 coverage.json

A folder stands for the report in it. GitLab reads the printed line with
  coverage: '/^TOTAL (\\d+\\.\\d+)%/'

Reports name files as their tools saw them: below a source folder, in a container, on another runner.
Which files of the work tree they mean is told by the files that are there, and by `CI_PROJECT_PATH`.

Exit status: 0 every threshold is reached, 1 one is not, 2 there is no verdict (a report is missing,
broken, empty, or contradicts itself).";

/// The command line.
#[derive(Debug)]
pub struct Cli(Options);

impl clap::Parser for Cli {}

impl CommandFactory for Cli {
    fn command() -> clap::Command {
        Options::command()
    }

    fn command_for_update() -> clap::Command {
        Options::command_for_update()
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let given = Given::of(matches);
        let mut options = Options::from_arg_matches_mut(matches)?;
        options.settle(given)?;
        Ok(Self(options))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Which of the options that do not go with any variable were given as such.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is given or not")]
struct Given {
    strict: bool,
    trust_header: bool,
    diff: bool,
    diff_base: bool,
    max_drop: bool,
}

impl Given {
    fn of(matches: &ArgMatches) -> Self {
        let given = |option| matches.value_source(option) == Some(ValueSource::CommandLine);
        Self {
            strict: given("strict"),
            trust_header: given("trust_header"),
            diff: given("diff"),
            diff_base: given("diff_base"),
            max_drop: given("max_drop"),
        }
    }
}

/// Coverage report to verdict: any format, exact, in one pass
#[derive(Debug, clap::Parser)]
#[command(name = "covgate", version, after_long_help = EXAMPLES)]
struct Options {
    /// Reports, or folders that hold one; - is stdin. Several are merged by file and line
    #[arg(value_name = "REPORT", default_value = "-")]
    reports: Vec<PathBuf>,

    /// The least percentage that passes; decimals are allowed
    #[arg(short, long, value_name = "PCT", default_value = "80", env = "COVGATE_FAIL_UNDER")]
    fail_under: Percent,

    /// What has to reach the percentage
    #[arg(long, value_enum, default_value_t, env = "COVGATE_METRIC")]
    metric: Metric,

    /// The reports' format, where their content does not tell it
    #[arg(long, value_enum, env = "COVGATE_FORMAT")]
    format: Option<Format>,

    /// Give the verdict that another tool would give; where it differs from the exact one, say so
    #[arg(long, value_enum, default_value_t, env = "COVGATE_RULE")]
    rule: Rule,

    /// Accept no report whose header contradicts its body, even where the verdict is the same
    #[arg(long, env = "COVGATE_STRICT", value_parser = clap::builder::BoolishValueParser::new())]
    strict: bool,

    /// Believe the report's header, and read no further than that where it comes first
    #[arg(long, env = "COVGATE_TRUST_HEADER", value_parser = clap::builder::BoolishValueParser::new())]
    trust_header: bool,

    /// What each file has to reach, or each that a glob matches; the last that applies counts
    #[arg(long, value_name = "[GLOB=]PCT", env = "COVGATE_PER_FILE")]
    per_file: Vec<FileThresholds>,

    /// Look at the lines that a unified diff adds; - is stdin
    #[arg(long, value_name = "FILE", env = "COVGATE_DIFF")]
    diff: Option<PathBuf>,

    /// Look at the lines that changed since the work tree left this revision
    #[arg(long, value_name = "REV", env = "COVGATE_DIFF_BASE")]
    diff_base: Option<String>,

    /// The least percentage of changed lines that passes [default: that of --fail-under]. Without --diff and
    /// --diff-base these are the merge request's (since `CI_MERGE_REQUEST_DIFF_BASE_SHA`)
    #[arg(long, value_name = "PCT", env = "COVGATE_FAIL_UNDER_DIFF")]
    fail_under_diff: Option<Percent>,

    /// Compare with another report, such as the target branch's
    #[arg(long, value_name = "REPORT", env = "COVGATE_BASELINE")]
    baseline: Option<PathBuf>,

    /// How many percentage points may be lost against the baseline
    #[arg(long, value_name = "POINTS", default_value = "0", env = "COVGATE_MAX_DROP")]
    max_drop: Percent,

    /// Write Cobertura XML for GitLab here: the changed files' where a diff is given, below 10 MiB
    #[arg(long, value_name = "FILE", env = "COVGATE_COBERTURA")]
    cobertura: Option<PathBuf>,

    /// Write no file
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// What to print
    #[arg(short, long, value_enum, default_value_t, env = "COVGATE_OUTPUT")]
    output: Output,

    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "covgate";
    const IS_BRIEF: bool = true;

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.0.talk.verbosity(), json: self.0.output == Output::Json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        self.0.run(io).map_err(Failure::printable)
    }
}

impl Options {
    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        let (output, cobertura, dry_run) = (self.output, self.cobertura.clone(), self.dry_run);
        let answer = gate::decide(self.question()?, &io.console)?;
        for warning in &answer.warnings {
            io.console.warn(step::printable(warning));
        }
        tell(&answer, &io.console);
        if let Some(path) = cobertura {
            output::cobertura::write(&answer, &path, dry_run, &io.console)?;
        }
        output::print(&answer, output, &mut io.out)?;
        Ok(answer.status())
    }

    /// Of two that exclude each other, one that was given goes before the other's variable: clap refuses these as well. A
    /// variable for all jobs may say how much a baseline may lose where a job has none.
    fn settle(&mut self, given: Given) -> Result<(), clap::Error> {
        let refused = |option: &str, other: &str| {
            let message = format!("the argument '{option}' cannot be used with '{other}'");
            Err(clap::Error::raw(ErrorKind::ArgumentConflict, message))
        };
        if self.strict && self.trust_header {
            match (given.strict, given.trust_header) {
                (true, false) => self.trust_header = false,
                (false, true) => self.strict = false,
                _ => return refused("--trust-header", "--strict"),
            }
        }
        if self.diff.is_some() && self.diff_base.is_some() {
            match (given.diff, given.diff_base) {
                (true, false) => self.diff_base = None,
                (false, true) => self.diff = None,
                _ => return refused("--diff <FILE>", "--diff-base <REV>"),
            }
        }
        if given.max_drop && self.baseline.is_none() {
            let message = "the following required arguments were not provided: --baseline <REPORT>";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(())
    }

    fn question(self) -> Result<Question, Failure> {
        let belief = match (self.strict, self.trust_header) {
            (true, _) => Belief::Strict,
            (false, true) => Belief::Header,
            (false, false) => Belief::SameVerdict,
        };
        let asks_for_changes = self.fail_under_diff.is_some();
        let of_merge_request =
            || asks_for_changes.then(|| environment::var("CI_MERGE_REQUEST_DIFF_BASE_SHA")).flatten();
        let changes = match (self.diff, self.diff_base.or_else(of_merge_request)) {
            (Some(patch), _) => Some(Changes::Patch(patch)),
            (None, Some(revision)) => Some(Changes::Since { revision, directory: PathBuf::from(".") }),
            (None, None) if asks_for_changes => {
                let message = "--fail-under-diff needs the changed lines";
                return Err(Failure::message(FailureKind::Usage, message)
                    .hint("give them with --diff or --diff-base; in GitLab a merge request's pipeline knows its base"));
            }
            (None, None) => None,
        };
        let fail_under_diff = self.fail_under_diff.unwrap_or_else(|| self.fail_under.clone());
        Ok(Question {
            reports: self.reports,
            format: self.format,
            metric: self.metric,
            fail_under: self.fail_under,
            rule: self.rule,
            belief,
            per_file: self.per_file.into_iter().flat_map(|FileThresholds(thresholds)| thresholds).collect(),
            needs_files: self.cobertura.is_some(),
            changes: changes.map(|changes| (changes, fail_under_diff)),
            baseline: self.baseline.map(|report| (report, self.max_drop)),
            folder: PathBuf::from("."),
            project: environment::var("CI_PROJECT_PATH"),
        })
    }
}

/// The verdict in words.
fn tell(answer: &Answer, console: &Console) {
    let note = |words: String| console.note(step::printable(&words));
    let word = |pass: bool| if pass { "reaches" } else { "is below" };
    let Answer { unit, fail_under, reached, .. } = answer;
    note(format!("{}% ({}) {} {fail_under}%", answer.percent(), answer.figure.of(unit), word(*reached)));
    for file in answer.files.iter().flatten().filter(|file| !file.pass) {
        note(format!(
            "{}: {}% ({}) is below {}%",
            file.path,
            file.count.percent(),
            file.count,
            file.threshold
        ));
    }
    if let Some(diff) = &answer.diff {
        if diff.count.total == 0 {
            note("changed lines: none of them can be covered".to_owned());
        } else {
            let (count, threshold) = (diff.count, &diff.threshold);
            note(format!("changed lines: {}% ({count}) {} {threshold}%", count.percent(), word(diff.pass)));
        }
        for file in diff.files.iter().filter(|file| !file.missed.is_empty()) {
            note(format!("{}: missed changed lines {}", file.path, output::ranges::of(&file.missed)));
        }
    }
    if let Some(base) = &answer.baseline {
        let word = if base.held { "is within" } else { "lost more than" };
        note(format!(
            "{}% {word} {} points of the {}%{} of {}",
            answer.percent(),
            base.max_drop,
            base.figure.count().percent(),
            base.figure.exact().map(|count| format!(" ({count})")).unwrap_or_default(),
            base.report
        ));
    }
}
