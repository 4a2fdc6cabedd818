//! What format a report has, from its beginning.

use memchr::memmem;

use super::{Format, coverage_html};

/// The format of a report that begins like this.
pub(super) fn format(head: &[u8]) -> Option<Format> {
    let text = head.trim_ascii_start();
    match text.first()? {
        b'<' => markup(text),
        b'{' => json(text),
        _ => lines(text),
    }
}

fn has(text: &[u8], needle: &str) -> bool {
    memmem::find(text, needle.as_bytes()).is_some()
}

fn markup(text: &[u8]) -> Option<Format> {
    let start = &text[..text.len().min(1024)].to_ascii_lowercase();
    if has(start, "<!doctype html") || has(start, "<html") {
        return coverage_html::fits(text).then_some(Format::CoverageHtml);
    }
    let (name, attributes) = root(text)?;
    match name {
        b"report" => Some(Format::Jacoco),
        b"coverage" if ["line-rate", "lines-valid", "branch-rate"].iter().any(|key| has(attributes, key)) => {
            Some(Format::Cobertura)
        }
        b"coverage" if has(attributes, "generated") || has(attributes, "clover") || has(text, "<project") => {
            Some(Format::Clover)
        }
        b"coverage" if has(text, "<packages") => Some(Format::Cobertura),
        _ => None,
    }
}

/// The root element's name and the rest of its tag, past declarations and comments.
fn root(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = text;
    loop {
        rest = &rest[memchr::memchr(b'<', rest)?..];
        if rest.starts_with(b"<!--") {
            rest = &rest[memmem::find(rest, b"-->")? + 3..];
        } else if rest.starts_with(b"<!") || rest.starts_with(b"<?") {
            rest = &rest[1..];
        } else {
            let tag = &rest[1..memchr::memchr(b'>', rest).unwrap_or(rest.len())];
            let end = tag.iter().position(|c| c.is_ascii_whitespace() || *c == b'/').unwrap_or(tag.len());
            return Some(tag.split_at(end));
        }
    }
}

fn json(text: &[u8]) -> Option<Format> {
    let first_key = text[1..].trim_ascii_start().strip_prefix(b"\"")?;
    let first_key = &first_key[..memchr::memchr(b'"', first_key)?];
    let any = |keys: &[&str]| keys.iter().any(|key| has(text, key));
    if any(&["\"simplecov_version\""]) {
        Some(Format::SimpleCov)
    } else if any(&["\"statementMap\""]) {
        Some(Format::Istanbul)
    } else if any(&["\"executed_lines\"", "\"covered_lines\"", "\"branch_coverage\"", "\"show_contexts\""]) {
        Some(Format::CoverageJson)
    } else if any(&["\"llvm.coverage.json.export\""])
        || first_key == b"data" && any(&["\"files\"", "\"totals\""])
    {
        Some(Format::LlvmCov)
    } else if any(&["\"pct\""]) && any(&["\"skipped\"", "\"statements\""]) {
        Some(Format::Istanbul)
    } else if is_of_simplecov(text, first_key) {
        Some(Format::SimpleCov)
    } else {
        None
    }
}

/// `.last_run.json` has a result, `.resultset.json` coverage as the first of each suite, and the older JSON formatter a
/// list of files with theirs.
fn is_of_simplecov(text: &[u8], first_key: &[u8]) -> bool {
    let tokens = |text: &[u8]| {
        text.iter().copied().filter(|c| !c.is_ascii_whitespace()).take(200).collect::<Vec<u8>>()
    };
    let after_key = &text[memmem::find(text, first_key).unwrap_or(0) + first_key.len()..];
    let nested = tokens(after_key);
    match first_key {
        b"result" => has(&nested, "\"line\"") || has(&nested, "\"covered_percent\""),
        _ if nested.starts_with(b"\":{\"coverage\":{") => true,
        _ => has(text, "\"command_name\"") && has(text, "\"filename\"") && has(text, "\"coverage\""),
    }
}

fn lines(text: &[u8]) -> Option<Format> {
    if text.starts_with(b"mode:") {
        return Some(Format::Go);
    }
    let begins = |line: &[u8]| [&b"TN:"[..], b"SF:", b"VER:"].iter().any(|tag| line.starts_with(tag));
    text.split(|c| *c == b'\n').take(100).any(begins).then_some(Format::Lcov)
}
