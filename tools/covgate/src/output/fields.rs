//! The fields of `--output json`.

use serde_json::{Map, Value, json};

use crate::gate::Answer;
use crate::verdict::Count;

/// The fields of the answer, as the schema names them.
pub(super) fn of(answer: &Answer) -> Map<String, Value> {
    let part = |count: Option<Count>| {
        count.map(|Count { covered, total }| json!({ "covered": covered, "total": total }))
    };
    let exact = answer.figure.exact();
    let fields = json!({
        "pass": answer.pass(),
        "reports": answer.reports,
        "format": answer.format.map(crate::format::Format::name),
        "metric": answer.metric.name(),
        "unit": answer.unit,
        "rule": answer.rule.name(),
        "covered": exact.map(|count| count.covered),
        "total": exact.map(|count| count.total),
        "percent": answer.percent(),
        "failUnder": answer.fail_under.to_string(),
        "line": part(answer.totals.line),
        "branch": part(answer.totals.branch),
        "function": part(answer.totals.function),
        "warnings": answer.warnings,
    });
    let Value::Object(mut fields) = fields else { return Map::new() };
    if let Some(files) = &answer.files {
        let files = files.iter().map(|file| {
            json!({
                "path": file.path,
                "covered": file.count.covered,
                "total": file.count.total,
                "percent": file.count.percent(),
                "failUnder": file.threshold.to_string(),
                "pass": file.pass,
            })
        });
        fields.insert("files".to_owned(), files.collect());
    }
    if let Some(diff) = &answer.diff {
        let files = diff.files.iter().map(|file| {
            json!({
                "path": file.path,
                "reportedAs": file.reported_as,
                "covered": file.count.covered,
                "total": file.count.total,
                "missedLines": file.missed,
            })
        });
        let diff = json!({
            "pass": diff.pass,
            "covered": diff.count.covered,
            "total": diff.count.total,
            "percent": (diff.count.total > 0).then(|| diff.count.percent()),
            "failUnder": diff.threshold.to_string(),
            "files": files.collect::<Vec<_>>(),
            "notInReport": diff.unknown,
        });
        fields.insert("diff".to_owned(), diff);
    }
    if let Some(baseline) = &answer.baseline {
        let baseline = json!({
            "pass": baseline.held,
            "report": baseline.report,
            "covered": baseline.figure.exact().map(|count| count.covered),
            "total": baseline.figure.exact().map(|count| count.total),
            "percent": baseline.figure.count().percent(),
            "maxDrop": baseline.max_drop.to_string(),
        });
        fields.insert("baseline".to_owned(), baseline);
    }
    fields
}
