//! Templates that are not YAML: image lines found by their look.
//!
//! Where `{{ }}` stands on lines of its own or inside a value, no parser can say what the document
//! means. Lines that say `image: …` are edited all the same, and nothing but the bytes and the look of
//! the lines can be checked: every such change says so.

use std::ops::Range;

use image_reference::ImageReference;

use crate::actions::lines;
use crate::images::{Owner, repository_of};
use crate::refusal::Refusal;
use crate::select::{Target, Value, Where};
use crate::verify;
use crate::yaml::plain::stays_a_string;
use crate::yaml::scalar::Splice;
use crate::yaml::{Document, Granit, NodeId};

/// The checks that an edit of a template passes.
pub const CHECKS: [&str; 1] = ["bytes"];

/// A line of the form `image: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLine<'a> {
    /// The value's bytes, quotes included.
    pub bytes: Range<usize>,
    /// The value without its quotes.
    pub value: &'a str,
    /// The value of the `name` beside it.
    pub name: Option<&'a str>,
    quote: Option<char>,
}

/// Checks edits of image lines, each given with the line's number among them and its new value: the
/// other bytes stay, and the same lines are found again, with the new values.
pub fn verify(before: &str, edits: &[(usize, String, Splice)]) -> Result<(), Refusal> {
    let splices = || edits.iter().map(|(_, _, splice)| splice);
    let after = verify::spliced(before, splices());
    verify::bytes(before, &after, splices()).map_err(Refusal::Verification)?;
    let mut meant = image_lines(before);
    for (line, value, _) in edits {
        meant[*line].value = value;
    }
    let same = |(meant, read): (&ImageLine<'_>, &ImageLine<'_>)| {
        (meant.value, meant.name, meant.quote) == (read.value, read.name, read.quote)
    };
    let read = image_lines(&after);
    if meant.len() == read.len() && meant.iter().zip(&read).all(same) {
        Ok(())
    } else {
        Err(Refusal::Verification("the lines say something else than the new values".to_owned()))
    }
}

impl ImageLine<'_> {
    /// The repository of a literal value.
    pub fn repository(&self) -> Option<ImageReference> {
        if self.value.contains("{{") { None } else { repository_of(self.value) }
    }

    /// Whether a target means this line. Paths and policies can't be found in a template.
    pub fn is_meant_by(&self, target: &Target) -> bool {
        match (&target.place, &target.value) {
            (Where::Container(name), _) => self.name == Some(name),
            (Where::Repository, Value::Image(image)) => {
                self.repository().is_some_and(|own| own.same_repository(image))
            }
            _ => false,
        }
    }

    /// The text that makes the line say something else.
    pub fn written(&self, value: &str) -> String {
        match self.quote {
            Some(quote) => format!("{quote}{value}{quote}"),
            None if stays_a_string(value) => value.to_owned(),
            None => format!("\"{value}\""),
        }
    }
}

/// A `key: value` of a line.
struct Entry<'a> {
    /// The column of the key.
    column: usize,
    /// Whether the line begins an item of a sequence.
    item: bool,
    key: &'a str,
    /// The bytes of what is behind the colon.
    value: Range<usize>,
}

/// All image lines of a template, in their order.
pub fn image_lines(text: &str) -> Vec<ImageLine<'_>> {
    let flows = flows(text);
    let entries = entries(text);
    let in_flow = |at: usize| flows.iter().any(|flow| flow.contains(&at));
    let images =
        entries.iter().enumerate().filter(|(_, entry)| entry.key == "image" && !in_flow(entry.value.start));
    let mut lines: Vec<ImageLine<'_>> = images
        .filter_map(|(position, entry)| {
            let (bytes, value, quote) = scalar(text, &entry.value)?;
            let name = neighbour(&entries, position, "name").and_then(|name| scalar(text, &name.value));
            Some(ImageLine { bytes, value, name: name.map(|(_, name, _)| name), quote })
        })
        .collect();
    lines.extend(flows.iter().filter_map(|flow| images_in_flow(text, flow)).flatten());
    lines.sort_by_key(|line| line.bytes.start);
    lines
}

/// Where collections in brackets begin that have an `image` and can't be read.
pub fn unread(text: &str) -> Vec<usize> {
    let unread =
        |flow: &Range<usize>| text[flow.clone()].contains("image") && images_in_flow(text, flow).is_none();
    flows(text).into_iter().filter(unread).map(|flow| flow.start).collect()
}

/// The collections in brackets: each from its first bracket to the end of the line that it ends on.
fn flows(text: &str) -> Vec<Range<usize>> {
    let mut flows = Vec::new();
    let (mut depth, mut indentation) = (0_usize, 0);
    for (start, line) in lines(text) {
        let content = line.trim_start_matches(' ');
        // A bracket in a text may have no other one.
        if line.len() - content.len() <= indentation && !content.starts_with([']', '}']) {
            depth = 0;
        }
        let mut column = if depth > 0 { 0 } else { line.len() - line.trim_start_matches([' ', '-']).len() };
        if depth == 0 {
            if let Some(entry) = entry(line, start) {
                let value = &text[entry.value.clone()];
                column = entry.value.end - value.trim_start().len() - start;
            }
            let content = &line[column..];
            if !content.starts_with(['{', '[']) || content.starts_with("{{") {
                continue;
            }
            flows.push(start + column..start + line.len());
            indentation = line.len() - line.trim_start_matches(' ').len();
        }
        for c in line[column..].chars() {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if let Some(flow) = flows.last_mut() {
            flow.end = start + line.len();
        }
    }
    flows
}

/// The images of a collection in brackets, which is YAML by itself.
fn images_in_flow<'t>(text: &'t str, flow: &Range<usize>) -> Option<Vec<ImageLine<'t>>> {
    let documents = Document::read_all::<Granit<'_>>(&text[flow.clone()]).ok()?;
    let mut images = Vec::new();
    for document in &documents {
        let written = |node: NodeId| {
            let bytes = &document.node(node).bytes;
            let (bytes, value, quote) = scalar(text, &(flow.start + bytes.start..flow.start + bytes.end))?;
            (document.text_of(node) == Some(value)).then_some((bytes, value, quote))
        };
        for mapping in 0..document.nodes().len() {
            let Some(image) = document.get(mapping, "image") else { continue };
            if document.text_of(image).is_none() {
                continue;
            }
            let (bytes, value, quote) = written(image)?;
            let name = document.get(mapping, "name").and_then(written).map(|(_, name, _)| name);
            images.push(ImageLine { bytes, value, name, quote });
        }
    }
    Some(images)
}

/// The object that a template makes, as far as its lines say.
pub fn owner(text: &str) -> Owner<'_> {
    let entries = entries(text);
    let value = |entry: &Entry<'_>| scalar(text, &entry.value).map(|(_, value, _)| value);
    let top = |key: &str| entries.iter().position(|entry| entry.column == 0 && entry.key == key);
    let kind = top("kind").and_then(|position| value(&entries[position]));
    let name = top("metadata").and_then(|position| {
        let inside = entries[position + 1..].iter().take_while(|entry| entry.column > 0);
        inside.into_iter().find(|entry| entry.key == "name").and_then(value)
    });
    Owner { kind: kind.unwrap_or_default(), name: name.unwrap_or_default() }
}

/// The entry of a key in the same mapping, by the columns.
fn neighbour<'e, 'a>(entries: &'e [Entry<'a>], position: usize, key: &str) -> Option<&'e Entry<'a>> {
    let own = &entries[position];
    let mut mapping = Vec::new();
    if !own.item {
        for entry in entries[..position].iter().rev().take_while(|entry| entry.column >= own.column) {
            if entry.column == own.column {
                mapping.push(entry);
                if entry.item {
                    break;
                }
            }
        }
    }
    let behind = entries[position + 1..].iter();
    let behind =
        behind.take_while(|entry| entry.column > own.column || (entry.column == own.column && !entry.item));
    mapping.extend(behind.filter(|entry| entry.column == own.column));
    mapping.into_iter().find(|entry| entry.key == key)
}

/// All lines of the form `key: value`, but those of block scalars.
fn entries(text: &str) -> Vec<Entry<'_>> {
    lines(text).filter_map(|(start, line)| entry(line, start)).collect()
}

fn entry(line: &str, start: usize) -> Option<Entry<'_>> {
    let content = line.trim_end();
    let mut column = content.len() - content.trim_start_matches(' ').len();
    let mut item = false;
    while let Some(rest) = content[column..].strip_prefix("- ") {
        item = true;
        column = content.len() - rest.trim_start_matches(' ').len();
    }
    let (key, _) = content[column..].split_once(':')?;
    let value = column + key.len() + 1;
    let key = key.trim_end().trim_matches(['"', '\'']);
    let is_key = !key.is_empty() && !key.contains(['{', '}', '#', ' ']);
    let apart = content[value..].is_empty() || content[value..].starts_with([' ', '\t']);
    (is_key && apart).then_some(Entry { column, item, key, value: start + value..start + content.len() })
}

/// The scalar on the rest of a line: its bytes, its text and its quote.
fn scalar<'a>(text: &'a str, bytes: &Range<usize>) -> Option<(Range<usize>, &'a str, Option<char>)> {
    let rest = &text[bytes.clone()];
    let value = rest.trim_start();
    let start = bytes.start + rest.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inside = value[1..].split(quote).next()?;
        let end = start + inside.len() + 2;
        return (end <= bytes.end && !inside.contains('\\')).then_some((start..end, inside, Some(quote)));
    }
    let value = value.split(" #").next()?.trim_end();
    (!value.is_empty() && !value.starts_with(['#', '|', '>', '&', '*', '!'])).then_some((
        start..start + value.len(),
        value,
        None,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include \"x.name\" . }}
spec:
  containers:
    {{- if .Values.proxy }}
    - name: proxy
      image: \"r.test/proxy:1\"   # literal
    {{- end }}
    - image: {{ .Values.image }}:{{ .Values.tag }}
      name: app
      args:
        - name: other
      env: |
        image: not/this:1
    - image: r.test/app:1
";

    #[test]
    fn images_in_brackets() {
        let text = "{{ if x }}\na:\n- {name: a, image: app:1} # c\n- { image: 'app:2',\n    name: b }\nc: [{image: app:3}]\n\
            - {name: d, image: {{ x }}:1}\nargs: [\"[\"]\nimage: app:4\n";
        let lines = image_lines(text);
        let seen: Vec<_> = lines.iter().map(|line| (line.name, line.value)).collect();
        assert_eq!(seen, [(Some("a"), "app:1"), (Some("b"), "app:2"), (None, "app:3"), (None, "app:4")]);
        assert_eq!(&text[lines[1].bytes.clone()], "'app:2'");
        assert_eq!(unread(text), [text.find("{name: d").unwrap()]);
    }

    #[test]
    fn image_lines_know_their_names() {
        let lines = image_lines(CHART);
        let seen: Vec<_> = lines.iter().map(|line| (line.name, line.value)).collect();
        let value = "{{ .Values.image }}:{{ .Values.tag }}";
        assert_eq!(seen, [(Some("proxy"), "r.test/proxy:1"), (Some("app"), value), (None, "r.test/app:1")]);
        assert_eq!(&CHART[lines[0].bytes.clone()], "\"r.test/proxy:1\"");
        assert_eq!(lines[0].written("a:2"), "\"a:2\"");
        assert_eq!(owner(CHART).kind, "Deployment");
    }
}
