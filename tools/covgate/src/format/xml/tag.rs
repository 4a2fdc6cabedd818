//! A tag with its attributes, and what their values say.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::ReportError;

/// The most attributes of a tag.
pub(in crate::format) const MAX_ATTRIBUTES: usize = 64;

/// A tag: kind, name and attributes.
#[derive(Default)]
pub(in crate::format) struct Tag {
    /// What it does.
    pub(in crate::format) kind: Kind,
    /// Where its name and its attributes are cut from.
    pub(super) text: String,
    pub(super) name: Range<usize>,
    pub(super) attributes: Vec<(Range<usize>, Range<usize>)>,
}

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::format) enum Kind {
    /// It opens an element.
    #[default]
    Start,
    /// It opens and closes one.
    Empty,
    /// It closes one.
    End,
}

impl Tag {
    /// The element's name, without its namespace prefix.
    pub(in crate::format) fn name(&self) -> &str {
        let name = self.full_name();
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// The element's name as it is written.
    pub(super) fn full_name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// Whether it closes an element of this name.
    pub(in crate::format) fn is_end_of(&self, name: &str) -> bool {
        self.kind == Kind::End && self.name() == name
    }

    /// The raw value of an attribute.
    pub(in crate::format) fn raw(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| &self.text[key.clone()] == name)?;
        Some(&self.text[found.1.clone()])
    }

    /// The value of an attribute, with its entities resolved.
    pub(in crate::format) fn value(&self, name: &str) -> Result<Option<Cow<'_, str>>, ReportError> {
        let value = self.raw(name).map(quick_xml::escape::unescape).transpose();
        value.map_err(|error| {
            ReportError::malformed(format!("attribute {name} of <{}>: {error}", self.name()))
        })
    }

    /// The value of an attribute that has to be there.
    pub(in crate::format) fn required(&self, name: &str) -> Result<Cow<'_, str>, ReportError> {
        self.value(name)?.ok_or_else(|| self.lacks(name))
    }

    /// The number in an attribute, where it is there.
    pub(in crate::format) fn number(&self, name: &str) -> Result<Option<u64>, ReportError> {
        self.raw(name).map(|text| number(text).ok_or_else(|| self.wrong(name, text))).transpose()
    }

    /// The number in an attribute that has to be there.
    pub(in crate::format) fn count(&self, name: &str) -> Result<u64, ReportError> {
        self.number(name)?.ok_or_else(|| self.lacks(name))
    }

    /// A line number in an attribute that has to be there.
    pub(in crate::format) fn line(&self, name: &str) -> Result<u32, ReportError> {
        let text = self.raw(name).ok_or_else(|| self.lacks(name))?;
        number(text).and_then(|line| u32::try_from(line).ok()).ok_or_else(|| self.wrong(name, text))
    }

    /// Whether the number in an attribute is above zero; hit counts may be larger than any integer of ours.
    pub(in crate::format) fn is_hit(&self, name: &str) -> Result<bool, ReportError> {
        let text = self.raw(name).ok_or_else(|| self.lacks(name))?;
        hit(text.as_bytes()).ok_or_else(|| self.wrong(name, text))
    }

    /// The error for an attribute that is missing.
    fn lacks(&self, attribute: &str) -> ReportError {
        ReportError::malformed(format!("<{}> has no attribute `{attribute}`", self.name()))
    }

    fn wrong(&self, attribute: &str, text: &str) -> ReportError {
        let text: String = text.chars().take(40).collect();
        ReportError::malformed(format!(
            "attribute {attribute}=\"{text}\" of <{}> is not a number",
            self.name()
        ))
    }

    /// Becomes the tag of these parts, which quick-xml has found.
    pub(super) fn fill(&mut self, kind: Kind, name: &str, attributes: &str) -> Result<bool, ReportError> {
        self.clear();
        self.kind = kind;
        self.text.push_str(name);
        self.name = 0..name.len();
        let mut parts = quick_xml::events::attributes::Attributes::new(attributes, 0);
        // Looking for the same name twice takes quadratic time; of two, the first counts here.
        parts.with_checks(false);
        for part in parts {
            let part = part.map_err(|error| ReportError::malformed(format!("<{name}>: {error}")))?;
            let key = append(&mut self.text, part.key.into_inner());
            let value = append(&mut self.text, &part.value);
            self.attributes.push((key, value));
            if self.attributes.len() > MAX_ATTRIBUTES {
                return Err(ReportError::Limit(format!(
                    "<{name}> has more than {MAX_ATTRIBUTES} attributes"
                )));
            }
        }
        Ok(true)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.attributes.clear();
    }
}

fn append(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    // Xcode's converters write counts as `12.0`.
    let text = text.strip_suffix(".0").unwrap_or(text);
    // u64's own parser takes a plus sign.
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Whether a hit count is above zero. Negative counts come of overflows in the tools' counters, and
/// some tools write floats (`1.0`, `1e+06`); both count by their value.
pub(in crate::format) fn hit(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"0" => Some(false),
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Some(digits.iter().any(|c| *c != b'0'))
        }
        other => {
            let value: f64 = std::str::from_utf8(other).ok()?.parse().ok()?;
            value.is_finite().then_some(value > 0.0)
        }
    }
}
