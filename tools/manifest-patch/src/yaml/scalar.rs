//! A new value in the place of an old one, in the style that the old one is written in.

use std::ops::Range;

use super::plain::stays_a_string;
use super::{Content, Document, NodeId, Style};

/// Bytes to put in the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// What is replaced.
    pub bytes: Range<usize>,
    /// By what; never more than one line.
    pub text: String,
}

/// Why a value can't be replaced where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A plain scalar over several lines.
    #[error("the value is written over several lines without quotes")]
    SeveralLines,
    /// A block scalar with another number of lines than one.
    #[error("the value is a block scalar of more or less than one line")]
    Block,
    /// A tag that makes something other than a string of it.
    #[error("the value has the tag `{0}`, which makes something other than a string of it")]
    Tag(String),
    /// `*name`.
    #[error("the value is the alias {0} of a value that stands elsewhere")]
    Alias(String),
    /// A mapping or a sequence.
    #[error("a {0} stands where the image should be")]
    Collection(&'static str),
    /// A key without a colon.
    #[error("there is no place for a value: the key has no colon")]
    NoPlace,
}

/// How to replace the node's value by the text, which is a single line.
pub fn replace(document: &Document<'_>, id: NodeId, text: &str) -> Result<Splice, Unwritable> {
    let node = document.node(id);
    let bytes = node.bytes.clone();
    if let Some(tag) = node.properties.tag.as_deref()
        && tag != "tag:yaml.org,2002:str"
    {
        return Err(Unwritable::Tag(tag.to_owned()));
    }
    let several_lines = document.source(id).contains(['\n', '\r']);
    match &node.content {
        Content::Scalar { style: Style::Plain, .. } if bytes.is_empty() => fill(document, id, text),
        Content::Scalar { style: Style::Plain, .. } if several_lines => Err(Unwritable::SeveralLines),
        Content::Scalar { style: Style::Plain, .. } => Ok(Splice { bytes, text: plain_or_quoted(text) }),
        Content::Scalar { style: Style::SingleQuoted, .. } => {
            Ok(Splice { bytes, text: format!("'{}'", text.replace('\'', "''")) })
        }
        Content::Scalar { style: Style::DoubleQuoted, .. } => Ok(Splice { bytes, text: double_quoted(text) }),
        Content::Scalar { value, style: Style::Literal | Style::Folded } => {
            replace_body(document, bytes, value, text)
        }
        Content::Alias(_) => Err(Unwritable::Alias(document.source(id).to_owned())),
        Content::Mapping if is_placeholder(document, id) => Ok(Splice { bytes, text: plain_or_quoted(text) }),
        Content::Mapping => Err(Unwritable::Collection("mapping")),
        Content::Sequence => Err(Unwritable::Collection("sequence")),
    }
}

/// The text in the place of an alias, which cuts the value loose from its anchor.
pub fn replace_alias(document: &Document<'_>, id: NodeId, text: &str) -> Splice {
    Splice { bytes: document.node(id).bytes.clone(), text: plain_or_quoted(text) }
}

/// `{{ .Image }}`: for YAML a mapping in a mapping, for people a place to fill in.
pub fn is_placeholder(document: &Document<'_>, id: NodeId) -> bool {
    let source = document.source(id);
    source.starts_with("{{") && source.ends_with("}}") && !source.contains(['\n', '\r'])
}

fn plain_or_quoted(text: &str) -> String {
    if stays_a_string(text) { text.to_owned() } else { double_quoted(text) }
}

fn double_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Puts a value where there is none: after `key:`, after `- `, after the node's anchor and tag.
fn fill(document: &Document<'_>, id: NodeId, text: &str) -> Result<Splice, Unwritable> {
    let at = document.node(id).bytes.start;
    let source = document.text.as_bytes();
    let properties = &document.node(id).properties;
    let bare = properties.anchor.is_none() && properties.tag.is_none();
    let in_sequence =
        document.parent(id).is_some_and(|parent| matches!(document.node(parent).content, Content::Sequence));
    let blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\r' | b'\n');
    // Nothing that belongs to a value follows.
    let ends = |at: usize| source.get(at).is_none_or(|c| blank(c) || b",]}".contains(c));
    // A colon on a later line may be that of another key.
    let behind_key = || {
        let key = id.checked_sub(1).and_then(|key| document.text.get(document.node(key).bytes.end..at));
        key.is_some_and(|between| !between.contains(['\n', '\r']))
    };
    let place = match source.get(at) {
        Some(b':') if bare && !in_sequence && ends(at + 1) && behind_key() => at + 1,
        _ if !bare || (in_sequence && document.text[..at].trim_end().ends_with('-')) => at,
        _ => return Err(Unwritable::NoPlace),
    };
    let before = if place > 0 && blank(&source[place - 1]) { "" } else { " " };
    let after = if ends(place) { "" } else { " " };
    Ok(Splice { bytes: place..place, text: format!("{before}{}{after}", plain_or_quoted(text)) })
}

/// Replaces the one line of a block scalar's body, and leaves its header and line breaks.
fn replace_body(
    document: &Document<'_>,
    body: Range<usize>,
    value: &str,
    text: &str,
) -> Result<Splice, Unwritable> {
    let source = document.text.get(body.clone()).unwrap_or_default();
    let line = source.split(['\n', '\r']).next().unwrap_or_default();
    // An empty body has no place of its own, and blanks may belong to the value.
    if line.is_empty() || line != value.trim_matches('\n') {
        return Err(Unwritable::Block);
    }
    Ok(Splice { bytes: body.start..body.start + line.len(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Granit;

    /// The text with the value of the first `image` key replaced.
    fn replaced(text: &str, new: &str) -> Result<String, Unwritable> {
        let documents = Document::read_all::<Granit<'_>>(text).unwrap();
        let (document, image) = documents
            .iter()
            .find_map(|document| {
                let mapping = (0..document.nodes().len()).find(|&id| document.get(id, "image").is_some())?;
                Some((document, document.get(mapping, "image")?))
            })
            .unwrap();
        let splice = replace(document, image, new)?;
        Ok([&text[..splice.bytes.start], &splice.text, &text[splice.bytes.end..]].concat())
    }

    #[test]
    fn styles_stay() {
        for (before, after) in [
            ("image: a:1   # note\n", "image: b:22   # note\n"),
            ("image:   'a:1'\r\n", "image:   'b:22'\r\n"),
            ("image: \"a:1\"", "image: \"b:22\""),
            ("image: >-  # note\n   a:1\n\nx: y\n", "image: >-  # note\n   b:22\n\nx: y\n"),
            ("image: |\r\n  a:1\r\nx: y\r\n", "image: |\r\n  b:22\r\nx: y\r\n"),
            ("image: &i !!str a:1\n", "image: &i !!str b:22\n"),
            ("image:\n    a:1\n", "image:\n    b:22\n"),
            ("{\"image\":\"a:1\",\n\t\"x\":1}", "{\"image\":\"b:22\",\n\t\"x\":1}"),
            ("image: \"a:\\\n  1\"\n", "image: \"b:22\"\n"),
            ("? image\n: a:1\n", "? image\n: b:22\n"),
        ] {
            assert_eq!(replaced(before, "b:22").unwrap(), after);
        }
    }

    #[test]
    fn an_absent_value_is_filled_in() {
        for (before, after) in [
            ("image:\n", "image: b\n"),
            ("image:", "image: b"),
            ("image: # note\n", "image: b # note\n"),
            ("image: !!str\n", "image: !!str b\n"),
            ("image: &a  # note\n", "image: &a b  # note\n"),
            ("{image: , x: 1}", "{image: b , x: 1}"),
            ("{image: }", "{image: b }"),
            ("image: {{ .Image }} # note\n", "image: b # note\n"),
        ] {
            assert_eq!(replaced(before, "b").unwrap(), after);
        }
    }

    #[test]
    fn quotes_come_where_yaml_needs_them() {
        assert_eq!(replaced("image: a\n", "1.10").unwrap(), "image: \"1.10\"\n");
        assert_eq!(replaced("image: a\n", "[::1]:5000/app").unwrap(), "image: \"[::1]:5000/app\"\n");
        assert_eq!(replaced("image: 'a'\n", "it's").unwrap(), "image: 'it''s'\n");
    }

    #[test]
    fn what_has_no_single_place_is_refused() {
        assert_eq!(replaced("image: a\n  b\n", "c"), Err(Unwritable::SeveralLines));
        assert_eq!(replaced("image: |\n  a\n  b\n", "c"), Err(Unwritable::Block));
        assert_eq!(replaced("image: |+\n\n", "c"), Err(Unwritable::Block));
        assert_eq!(
            replaced("image: !!int 1\n", "c"),
            Err(Unwritable::Tag("tag:yaml.org,2002:int".to_owned()))
        );
        assert_eq!(replaced("x: &i a\nimage: *i\n", "c"), Err(Unwritable::Alias("*i".to_owned())));
        assert_eq!(replaced("image: [a]\n", "c"), Err(Unwritable::Collection("sequence")));
        assert_eq!(replaced("? image\n", "c"), Err(Unwritable::NoPlace));
        assert_eq!(replaced("x:\n  ? image\n: !!str y\n", "c"), Err(Unwritable::NoPlace));
        assert_eq!(replaced("x:\n  ? image\n  :: 'y'\n", "c"), Err(Unwritable::NoPlace));
    }
}
