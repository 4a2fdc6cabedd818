//! YAML as Kubernetes' own tools read it: go-yaml's version 2 (`resolve.go`, `decode.go`), with YAML 1.1's booleans and
//! octal numbers, merge keys, and JSON's kinds of values as the result.
//!
//! Stricter in one point: a key that is there twice is refused, where kubectl takes the last one without a word.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};

/// The most nodes that a document may have with all its aliases written out.
const MOST_NODES: usize = 2_000_000;
/// How deep a document may be nested.
const DEEPEST: usize = 100;

/// Why a text is no YAML that Kubernetes would read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// A document and the line that it begins at.
pub type Document = (usize, Value);

/// Reads all documents of a text that have any content.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    Documents::of(text).collect()
}

/// The documents of a text that have any content, one by one: as trees, many take several times the memory of their text.
///
/// kubectl looks at the first character too: JSON has escapes that YAML has not. What is no JSON, or has a key twice, is
/// YAML from there on; that reader says where.
pub struct Documents<'a> {
    /// What is not read yet, and the line that it begins on.
    rest: &'a str,
    line: usize,
    yaml: Option<Box<Reader<'a>>>,
}

impl<'a> Documents<'a> {
    /// Begins to read a text.
    pub fn of(text: &'a str) -> Self {
        let is_json = text.trim_start().starts_with('{');
        Self { rest: text, line: 1, yaml: (!is_json).then(|| Reader::of(text)) }
    }

    fn go_on(&mut self, rest: &'a str) {
        self.line += self.rest[..self.rest.len() - rest.len()].matches('\n').count();
        self.rest = rest;
    }

    /// The next JSON text, with or without markers before it; none at the end, or where YAML begins.
    fn json(&mut self) -> Option<Document> {
        self.go_on(behind_markers(self.rest));
        if self.rest.is_empty() {
            return None;
        }
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<serde_yaml::Value>();
        let document = stream.next().and_then(Result::ok).and_then(|value| serde_json::to_value(value).ok());
        let Some(document) = document else {
            self.yaml = Some(Reader::of(self.rest));
            return None;
        };
        let line = self.line;
        self.go_on(&self.rest[stream.byte_offset()..]);
        Some((line, document))
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, YamlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.yaml.is_none()
            && let Some(document) = self.json()
        {
            return Some(Ok(document));
        }
        let above = self.line - 1;
        match self.yaml.as_mut()?.document() {
            Ok(document) => document.map(|(line, value)| Ok((line + above, value))),
            Err(error) => Some(Err(YamlError { line: error.line + above, ..error })),
        }
    }
}

/// The text without blanks and markers between documents (`---`) in front.
fn behind_markers(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        match text.strip_prefix("---") {
            Some(behind) if behind.is_empty() || behind.starts_with(char::is_whitespace) => text = behind,
            _ => return text,
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    depth: usize,
}

/// A value, and whether it is a plain `<<`.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
    merges: bool,
}

impl<'a> Reader<'a> {
    fn of(text: &'a str) -> Box<Self> {
        Box::new(Self { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, depth: 0 })
    }

    /// The next document that has any content.
    fn document(&mut self) -> Result<Option<Document>, YamlError> {
        loop {
            match self.next()?.0 {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.nodes = 0;
                    let (event, span) = self.next()?;
                    if !matches!(event, Event::DocumentEnd) {
                        return Ok(Some((span.start.line(), self.node(event, span)?.value)));
                    }
                }
                _ => {}
            }
        }
    }

    /// The next event that says something of the content.
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        loop {
            return match self.parser.next_event() {
                Some(Ok((
                    event @ (Event::StreamEnd
                    | Event::DocumentStart(..)
                    | Event::DocumentEnd
                    | Event::Alias(_)
                    | Event::Scalar(..)
                    | Event::SequenceStart(..)
                    | Event::SequenceEnd
                    | Event::MappingStart(..)
                    | Event::MappingEnd),
                    span,
                ))) => Ok((event, span)),
                // A comment, for one.
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(YamlError { line: error.marker().line(), problem: error.info() }),
                None => Err(YamlError { line: 0, problem: "the text ends in the middle".to_owned() }),
            };
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, YamlError> {
        let line = span.start.line();
        let wrong = |problem: &str| YamlError { line, problem: problem.to_owned() };
        let before = self.nodes;
        self.nodes += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(wrong("nested too deep"));
        }
        let (value, anchor, merges) = match event {
            Event::Alias(anchor) => {
                self.depth -= 1;
                let node = self.anchors.get(&anchor).ok_or_else(|| wrong("an alias that contains itself"))?;
                self.nodes += node.size;
                if self.nodes > MOST_NODES {
                    return Err(wrong("too large with its aliases written out"));
                }
                return Ok(node.clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                // An absent node is told as `~`.
                let absent = plain && span.byte_range().is_some_and(|bytes| bytes.is_empty());
                let text = if absent { "" } else { &*text };
                let merges = plain && tag.is_none() && text == "<<";
                (scalar(text, plain, tag.as_deref()).map_err(|problem| wrong(&problem))?, anchor, merges)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence()?, anchor, false),
            Event::MappingStart(_, anchor, _) => (self.mapping()?, anchor, false),
            _ => return Err(wrong("a value was expected here")),
        };
        self.depth -= 1;
        let node = Node { value, size: self.nodes - before, merges };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.node(event, span)?.value),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, YamlError> {
        let mut fields = Map::new();
        let mut written = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Object(fields));
            }
            let line = span.start.line();
            let wrong = |problem: String| YamlError { line, problem };
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?.value;
            if key.merges {
                // In the order of the text, as go-yaml does it: what is written after the merge wins over it.
                fields.extend(merged(value).map_err(|problem| wrong(problem.to_owned()))?);
                continue;
            }
            let key = match key.value {
                Value::String(key) => key,
                key @ (Value::Bool(_) | Value::Number(_)) => key.to_string(),
                _ => return Err(wrong("a key must be a text, a number or a truth value".to_owned())),
            };
            if !written.insert(key.clone()) {
                return Err(wrong(format!("duplicate key `{key}`")));
            }
            fields.insert(key, value);
        }
    }
}

/// The fields that `<<` brings; of several mappings the earlier ones win.
fn merged(value: Value) -> Result<Map<String, Value>, &'static str> {
    const WRONG: &str = "`<<` merges a mapping, or a sequence of mappings";
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Array(items) => {
            let mut fields = Map::new();
            for item in items.into_iter().rev() {
                let Value::Object(item) = item else { return Err(WRONG) };
                fields.extend(item);
            }
            Ok(fields)
        }
        _ => Err(WRONG),
    }
}

/// What a scalar stands for.
fn scalar(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
    let found = resolve(text);
    let fits = match tag.as_deref().and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:")) {
        None if tag.is_some() || !plain => return Ok(Value::from(text)),
        None => true,
        Some("binary") => {
            use base64::Engine as _;
            let packed: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            return text.map(Value::from).ok_or_else(|| "!!binary that is not base64 of a text".to_owned());
        }
        Some("bool") => matches!(found, Some(Value::Bool(_))),
        Some("null") => matches!(found, Some(Value::Null)),
        Some("int") => matches!(&found, Some(Value::Number(number)) if !number.is_f64()),
        Some("float") => matches!(found, Some(Value::Number(_))),
        // `!!str` among them.
        Some(_) => return Ok(Value::from(text)),
    };
    if !fits {
        // It may be a secret.
        return Err("a value is not what its tag says".to_owned());
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is no number that JSON has"));
    }
    Ok(found.unwrap_or_else(|| Value::from(text)))
}

/// A plain scalar that is more than a text.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        _ => {}
    }
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(if first == b'.' { text } else { &digits })).map(Value::Number)
}

/// Go's `strconv.ParseInt(text, 0, 64)`: a leading 0 is octal, 0x, 0o and 0b as usual.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust takes a second sign; Go does not.
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    if negative {
        i64::from_str_radix(&format!("-{digits}"), radix).ok().map(Number::from)
    } else {
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    }
}

/// Digits with a point or an exponent; a whole number is written without them, as Go writes JSON.
pub(crate) fn float(text: &str) -> Option<Number> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let looks_so = unsigned.bytes().all(|c| c.is_ascii_digit() || b".eE+-".contains(&c))
        && unsigned.bytes().any(|c| c.is_ascii_digit())
        && text.len() - unsigned.len() < 2;
    let number: f64 = looks_so.then(|| text.parse().ok())??;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
    if number.fract() == 0.0 && number.abs() < 1e18 {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        documents(text).unwrap().remove(0).1
    }

    #[test]
    fn plain_scalars_are_those_of_yaml_1_1() {
        let text = "a: [yes, Off, y, 'yes', 0400, 0o400, 0x1F, 0b11, 1_000, 08, 1.0, 1e3, .5, 12e03, ~, -010, 1.2.3, +1, 2001-01-01, =]";
        let wanted = json!([
            true,
            false,
            true,
            "yes",
            256,
            256,
            31,
            3,
            1000,
            8,
            1,
            1000,
            0.5,
            12000,
            null,
            -8,
            "1.2.3",
            1,
            "2001-01-01",
            "="
        ]);
        assert_eq!(one(text)["a"], wanted);
    }

    #[test]
    fn tags_and_quotes_decide() {
        assert_eq!(
            one("[!!str 12, !!float 1, \"12\", !custom 12, !!binary aGFs\n]"),
            json!(["12", 1, "12", "12", "hal"])
        );
        assert!(documents("!!int abc").is_err() && documents("a: .inf").is_err());
    }

    #[test]
    fn anchors_and_merges() {
        let text = "base: &b {a: 1, b: 2}\nother: &o {b: 3, c: 4}\none: {<<: *b, b: 9}\ntwo: {<<: [*o, *b]}\nthree: {b: 9, <<: *b}";
        let value = one(text);
        assert_eq!(value["one"], json!({"a": 1, "b": 9}));
        assert_eq!(value["two"], json!({"a": 1, "b": 3, "c": 4}));
        // go-yaml goes by the order of the text.
        assert_eq!(value["three"], json!({"a": 1, "b": 2}));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            ("a: 1\nb: 2\na: 3\n", 3, "duplicate key `a`"),
            ("a: {b: 1, b: 2}", 1, "duplicate key `b`"),
            ("{\"a\": 1,\n \"a\": 2}", 2, "duplicate key `a`"),
            ("a: 1\n<<: 3\n", 2, "`<<` merges"),
            ("a: 1\n? [x]\n: 2\n", 2, "a key must be"),
        ] {
            let error = documents(text).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{error}");
        }
    }

    #[test]
    fn json_is_read_as_json() {
        let text = "{\"a\": \"\\ud83d\\ude00\\/\"}\n{\"a\": 2}";
        assert_eq!(documents(text).unwrap(), [(1, json!({"a": "😀/"})), (2, json!({"a": 2}))]);
        let text = "{\"a\": \"\\ud83d\\ude00\\/\"}\n---\n---\n\n{\"a\":\n2}\n--- {\"a\": 3}\n---\n";
        let read = [(1, json!({"a": "😀/"})), (5, json!({"a": 2})), (7, json!({"a": 3}))];
        assert_eq!(documents(text).unwrap(), read);
        // What begins as JSON and goes on as YAML is YAML, as is what JSON's reader does not take.
        assert_eq!(
            documents("{\"a\": 1}\n---\nb: 2\n").unwrap(),
            [(1, json!({"a": 1})), (3, json!({"b": 2}))]
        );
        assert_eq!(documents("{\"a\": 1}\n---\n\n{\"b\": 2,\n\"b\": 3}").unwrap_err().line, 5);
        assert_eq!(documents("{a: 1}\n---\n{\"a\": 2}\n").unwrap().len(), 2);
    }

    #[test]
    fn a_bomb_of_aliases_goes_off_nowhere() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(9);
            text.extend([format!("a{level}: &a{level} [{before}]\n")]);
        }
        assert!(documents(&text).unwrap_err().problem.contains("too large"));
        let deep = "[".repeat(100_000);
        assert!(documents(&deep).is_err());
    }
}
