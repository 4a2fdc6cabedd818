//! From reports to the answer.

use std::path::PathBuf;

use step::{Console, ExitStatus, Failure, FailureKind, ResultExt};

use crate::audit::{self, AuditError, Belief, Figure};
use crate::checkout::Checkout;
use crate::diff::{self, Changes, DiffVerdict};
use crate::format::{Depth, Format};
use crate::input::Source;
use crate::per_file::{self, FileThreshold, FileVerdict};
use crate::report::{Metric, Report, Totals};
use crate::rule::Rule;
use crate::verdict::{Count, Percent};

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// The reports; several are one.
    pub reports: Vec<PathBuf>,
    /// Their format, where their content does not tell it.
    pub format: Option<Format>,
    /// What has to reach the threshold.
    pub metric: Metric,
    /// The threshold.
    pub fail_under: Percent,
    /// How it is compared.
    pub rule: Rule,
    /// How much contradiction is borne.
    pub belief: Belief,
    /// Thresholds for single files.
    pub per_file: Vec<FileThreshold>,
    /// Where the changed lines come from, and what share of them has to be covered.
    pub changes: Option<(Changes, Percent)>,
    /// Whether the answer's report has to have its files.
    pub needs_files: bool,
    /// The report to compare with, and how many points may be lost.
    pub baseline: Option<(PathBuf, Percent)>,
    /// The folder in which the reports' files are, and what GitLab calls the project.
    pub folder: PathBuf,
    /// `group/project`, as GitLab names it.
    pub project: Option<String>,
}

impl Question {
    fn needs_files(&self) -> bool {
        self.needs_files || !self.per_file.is_empty() || self.changes.is_some() || self.reports.len() > 1
    }

    fn reads_stdin_once(&self) -> Result<(), Failure> {
        let patch = self.changes.iter().filter_map(|(changes, _)| match changes {
            Changes::Patch(path) => Some(path),
            Changes::Since { .. } => None,
        });
        let baseline = self.baseline.iter().map(|(report, _)| report);
        let readers = self.reports.iter().chain(patch).chain(baseline).filter(|path| path.as_os_str() == "-");
        if readers.count() < 2 {
            return Ok(());
        }
        let message = "stdin can be one thing only: a report, the diff or the baseline";
        Err(Failure::message(FailureKind::Usage, message)
            .hint("name the others; without an argument the report is stdin"))
    }
}

/// What was found.
#[derive(Debug)]
pub struct Answer {
    /// The reports' names.
    pub reports: Vec<String>,
    /// The reports' format, if it is one.
    pub format: Option<Format>,
    /// What was asked for.
    pub metric: Metric,
    /// What that counts.
    pub unit: &'static str,
    /// How it was compared.
    pub rule: Rule,
    /// The count of it.
    pub figure: Figure,
    /// What it had to reach.
    pub fail_under: Percent,
    /// Whether it does.
    pub reached: bool,
    /// Counts by metric.
    pub totals: Totals,
    /// The verdict on each file, where asked for.
    pub files: Option<Vec<FileVerdict>>,
    /// The verdict on the changed lines, where asked for.
    pub diff: Option<DiffVerdict>,
    /// The comparison with another report, where asked for.
    pub baseline: Option<Baseline>,
    /// What is worth knowing and no reason to fail.
    pub warnings: Vec<String>,
    /// What was read.
    pub report: Report,
}

/// The comparison with another report.
#[derive(Debug)]
pub struct Baseline {
    /// Its name.
    pub report: String,
    /// Its figure.
    pub figure: Figure,
    /// How many points may be lost.
    pub max_drop: Percent,
    /// Whether no more were lost.
    pub held: bool,
}

impl Answer {
    /// Whether everything that was asked for is reached.
    pub fn pass(&self) -> bool {
        self.reached
            && self.files.iter().flatten().all(|file| file.pass)
            && self.diff.as_ref().is_none_or(|diff| diff.pass)
            && self.baseline.as_ref().is_none_or(|baseline| baseline.held)
    }

    /// The exit status that says it.
    pub fn status(&self) -> ExitStatus {
        if self.pass() { ExitStatus::Done } else { ExitStatus::No }
    }

    /// The percentage with two decimals, cut.
    pub fn percent(&self) -> String {
        self.figure.count().percent()
    }
}

/// Reads what is needed and decides.
pub fn decide(question: Question, console: &Console) -> Result<Answer, Failure> {
    question.reads_stdin_once()?;
    let checkout =
        question.needs_files().then(|| Checkout::around(&question.folder, question.project.as_deref()));
    let Reading { reports, name, format, report } = read_all(&question, checkout.as_ref(), console)?;
    let Question { metric, rule, fail_under, belief, per_file, changes, baseline, .. } = question;
    let finding = audit::audit(&name, &report, metric, &fail_under, rule, belief)?;
    let mut warnings = Vec::from_iter(finding.warning);
    let count = decisive(&report, metric, rule, finding.figure.count());
    let reached = rule.passes(count, &fail_under);
    warnings.extend(other_verdict(&report, rule, &finding.figure, &fail_under, reached));

    let files = judge_files(&name, &report, metric, &per_file, rule)?;
    if files.as_ref().is_some_and(Vec::is_empty) {
        warnings.push("--per-file applies to no file of the report".to_owned());
    }
    let mut diff = None;
    if let Some((changes, threshold)) = changes {
        names_its_lines(&report, &name, "compared with changed lines")?;
        let verdict = diff::judge(&report.coverage, &changes.read()?, checkout.as_ref(), threshold, rule);
        warnings.extend(verdict.warning());
        diff = Some(verdict);
    }
    let mut compared = None;
    if let Some((path, max_drop)) = baseline {
        let source = Source::locate(&path)?;
        let base = read(&source, None, Depth::Counts, console)?;
        // Measured as the report itself is: two scales, such as one's header and the other's body, can't be compared.
        let base_finding = audit::audit(&source.name, &base, metric, &fail_under, rule, belief)?;
        warnings.extend(base_finding.warning.filter(|warning| !warnings.contains(warning)));
        let (here, there) = (audit::unit(&report, metric), audit::unit(&base, metric));
        if here != there {
            warnings.push(format!("{} counts {there}, {name} counts {here}", source.name));
        }
        let figure = base_finding.figure;
        let held = finding.figure.count().holds(figure.count(), &max_drop);
        compared = Some(Baseline { report: source.name, figure, max_drop, held });
    }
    Ok(Answer {
        reports,
        format,
        metric,
        unit: audit::unit(&report, metric),
        rule,
        figure: finding.figure,
        fail_under,
        reached,
        totals: shown_totals(&report, belief),
        files,
        diff,
        baseline: compared,
        warnings,
        report,
    })
}

/// The reports of a question, as one.
struct Reading {
    reports: Vec<String>,
    /// How messages name them all.
    name: String,
    format: Option<Format>,
    report: Report,
}

fn read_all(question: &Question, checkout: Option<&Checkout>, console: &Console) -> Result<Reading, Failure> {
    let Question { metric, rule, fail_under, belief, .. } = question;
    let sources = question.reports.iter().map(|path| Source::locate(path)).collect::<Result<Vec<_>, _>>()?;
    let reports: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let locate = |report: &mut Report, source: &Source| {
        let unclear = checkout.map(|checkout| checkout.locate_files_of(report, source.folder().as_deref()));
        warn_unclear(&unclear.unwrap_or_default(), source, "the work tree", "taken for none", console);
    };
    if let [source] = sources.as_slice() {
        let depth = match belief {
            _ if checkout.is_some() => Depth::Files,
            Belief::Header if *rule != Rule::Codecov => Depth::Header,
            _ => Depth::Counts,
        };
        let mut report = read(source, question.format, depth, console)?;
        locate(&mut report, source);
        return Ok(Reading { name: source.name.clone(), reports, format: Some(report.format), report });
    }
    let mut union: Option<Report> = None;
    let mut formats = Vec::new();
    for source in &sources {
        let mut report = read(source, question.format, Depth::Files, console)?;
        locate(&mut report, source);
        names_its_lines(&report, &source.name, "merged")?;
        // Each is a part of a whole, so only the union has to have something to cover.
        match audit::audit(&source.name, &report, *metric, fail_under, *rule, *belief) {
            Err(contradiction @ AuditError::Contradiction { .. }) => return Err(contradiction.into()),
            Err(other) => console.detail(step::printable(&other.to_string())),
            Ok(finding) => finding.warning.iter().for_each(|warning| console.warn(step::printable(warning))),
        }
        formats.push(report.format);
        match &mut union {
            None => union = Some(report),
            Some(union) => {
                warn_unclear(&union.merge(report), source, "the other reports", "counted apart", console);
            }
        }
    }
    let report = union.ok_or_else(|| Failure::message(FailureKind::Usage, "no report given"))?;
    let format = formats.windows(2).all(|pair| pair[0] == pair[1]).then_some(report.format);
    Ok(Reading { name: format!("the union of {} reports", reports.len()), reports, format, report })
}

fn warn_unclear(files: &[String], source: &Source, others: &str, outcome: &str, console: &Console) {
    let Some((first, more)) = files.split_first() else { return };
    let warning = format!(
        "{first}{} of {} may be any of several files of {others}, and {} {outcome}",
        and_more(more.len()),
        source.name,
        if more.is_empty() { "is" } else { "are" },
    );
    console.warn(step::printable(&warning));
}

/// For the end of a list of which only the first is named.
pub(crate) fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" and {others} more") }
}

fn judge_files(
    name: &str,
    report: &Report,
    metric: Metric,
    thresholds: &[FileThreshold],
    rule: Rule,
) -> Result<Option<Vec<FileVerdict>>, Failure> {
    if thresholds.is_empty() {
        return Ok(None);
    }
    if report.coverage.files().is_empty() {
        let message = format!("{name} says nothing of single files");
        return Err(
            Failure::message(FailureKind::Input, message).hint("--per-file needs a report with files")
        );
    }
    let files = report.coverage.files().iter();
    if files.map(|file| per_file::count(report, file, metric).total).sum::<u64>() == 0 {
        let message = format!("{name} does not count {} file by file", audit::unit(report, metric));
        return Err(Failure::message(FailureKind::Input, message)
            .hint("--per-file needs a report that does, such as coverage.json, lcov.info or Cobertura"));
    }
    Ok(Some(per_file::judge(report, metric, thresholds, rule)))
}

/// Reads a report; a second time where only counts are wanted and it comes back to files that it had left.
fn read(source: &Source, format: Option<Format>, depth: Depth, console: &Console) -> Result<Report, Failure> {
    let report = read_once(source, format, depth, console)?;
    if report.coverage.is_union() { Ok(report) } else { read_once(source, format, Depth::Files, console) }
}

fn read_once(
    source: &Source,
    format: Option<Format>,
    depth: Depth,
    console: &Console,
) -> Result<Report, Failure> {
    let unreadable = || format!("can't read {}", source.name);
    let hint = "did the job that writes the report run, and was its report copied here?";
    let mut input =
        source.open().or_fail_with(FailureKind::Input, unreadable).map_err(|failure| failure.hint(hint))?;
    let head = input.head().or_fail_with(FailureKind::Input, unreadable)?;
    let format = match format.or_else(|| Format::of(head)) {
        Some(format) => format,
        None if head.trim_ascii().is_empty() => {
            let message = format!("{} is empty", source.name);
            return Err(Failure::message(FailureKind::Input, message).hint(hint));
        }
        None => {
            let message = format!("{} is not a coverage report of a format that covgate knows", source.name);
            return Err(Failure::message(FailureKind::Input, message).hint(
                "--format names the format where the content does not tell it; --help lists the formats",
            ));
        }
    };
    console.detail(step::printable(&format!("reading {} as {}", source.name, format.name())));
    let depth = match depth {
        Depth::Header if format.has_totals_first() => Depth::Header,
        Depth::Files => Depth::Files,
        _ if source.can_be_read_again() => Depth::Counts,
        _ => Depth::Files,
    };
    format.read(input, depth).map_err(|error| error.of(&source.name))
}

fn names_its_lines(report: &Report, name: &str, purpose: &str) -> Result<(), Failure> {
    let mut files = report.coverage.files().iter();
    let has_rates_only = report.rates.line.is_some() && !report.body.lines;
    if !has_rates_only && files.all(|file| file.knows_lines() || file.lines().total == 0) {
        return Ok(());
    }
    let message = format!("{name} has counts only and names no lines, so it can't be {purpose}");
    Err(Failure::message(FailureKind::Input, message).hint(
        "take the report that names them: coverage.json or coverage.xml for htmlcov, coverage-final.json for coverage-summary.json, .resultset.json for .last_run.json",
    ))
}

/// The count that a rule compares. Codecov's has its own idea of a covered line.
fn decisive(report: &Report, metric: Metric, rule: Rule, count: Count) -> Count {
    let whole = report.coverage.whole_lines();
    let compares_lines = matches!(metric, Metric::Total | Metric::Line) && report.body.lines;
    if rule == Rule::Codecov && compares_lines && whole.total > 0 { whole } else { count }
}

/// Says so where the exact comparison, or the report's own tool, would have decided otherwise.
fn other_verdict(
    report: &Report,
    rule: Rule,
    figure: &Figure,
    threshold: &Percent,
    pass: bool,
) -> Option<String> {
    let (other, whose) = match (rule, report.by_coverage_py) {
        (Rule::Exact, true) => (Rule::CoveragePy, "coverage.py's own --fail-under"),
        (Rule::Exact, false) => return None,
        (_, _) => (Rule::Exact, "the exact comparison"),
    };
    let count = figure.count();
    (other.passes(count, threshold) != pass).then(|| {
        let verdict = if pass { "fail" } else { "pass" };
        let counts = figure.exact().map(|count| format!("{count} is ")).unwrap_or_default();
        format!("{whose} would {verdict} this: {counts}{}%, cut, against {threshold}%", count.percent())
    })
}

fn shown_totals(report: &Report, belief: Belief) -> Totals {
    let (header, body) = (report.header, report.body_totals());
    let choose = |metric| match belief {
        Belief::Header => header.of(metric).or(body.of(metric)),
        Belief::SameVerdict | Belief::Strict => body.of(metric).or(header.of(metric)),
    };
    Totals {
        total: choose(Metric::Total),
        line: choose(Metric::Line),
        branch: choose(Metric::Branch),
        function: choose(Metric::Function),
    }
}
