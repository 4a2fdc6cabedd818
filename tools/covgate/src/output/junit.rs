//! One test case a comparison, for GitLab's test widget.

use std::fmt::Write as _;

use super::ranges;
use super::xml::text;
use crate::gate::Answer;

/// The most files whose missed lines are listed.
const MOST_FILES: usize = 50;

/// A comparison: its name, and why it fails.
struct Case {
    name: String,
    failure: Option<String>,
}

pub(super) fn report(answer: &Answer) -> String {
    let cases = cases(answer);
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let mut report = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ =
        writeln!(report, "<testsuites name=\"coverage\" tests=\"{}\" failures=\"{failures}\">", cases.len());
    let _ =
        writeln!(report, "  <testsuite name=\"covgate\" tests=\"{}\" failures=\"{failures}\">", cases.len());
    for Case { name, failure } in &cases {
        let _ = write!(report, "    <testcase classname=\"covgate\" name=\"{}\" time=\"0\"", text(name));
        let _ = match failure {
            None => writeln!(report, "/>"),
            Some(message) => {
                writeln!(report, "><failure message=\"{0}\">{0}</failure></testcase>", text(message))
            }
        };
    }
    report += "  </testsuite>\n</testsuites>\n";
    report
}

fn cases(answer: &Answer) -> Vec<Case> {
    let failure = |pass: bool, message: String| (!pass).then_some(message);
    let mut cases = vec![Case {
        name: format!("{} coverage is at least {}%", answer.metric.name(), answer.fail_under),
        failure: failure(
            answer.reached,
            format!("{} are covered: {}%", answer.figure.of(answer.unit), answer.percent()),
        ),
    }];
    if let Some(diff) = &answer.diff {
        let missed = diff.files.iter().filter(|file| !file.missed.is_empty());
        let count = missed.clone().count();
        let mut missed: Vec<String> = missed
            .take(MOST_FILES)
            .map(|file| format!("{}: {}", file.path, ranges::of(&file.missed)))
            .collect();
        if count > MOST_FILES {
            missed.push(format!("and in {} more files", count - MOST_FILES));
        }
        cases.push(Case {
            name: format!("coverage of changed lines is at least {}%", diff.threshold),
            failure: failure(diff.pass, format!("{} are covered; missed: {}", diff.count, missed.join("; "))),
        });
    }
    if let Some(base) = &answer.baseline {
        cases.push(Case {
            name: format!("coverage is at most {} points below {}", base.max_drop, base.report),
            failure: failure(
                base.held,
                format!("it was {}% and is {}%", base.figure.count().percent(), answer.percent()),
            ),
        });
    }
    cases.extend(answer.files.iter().flatten().map(|file| Case {
        name: format!("{} is covered by at least {}%", file.path, file.threshold),
        failure: failure(file.pass, format!("{} are covered: {}%", file.count, file.count.percent())),
    }));
    cases
}
