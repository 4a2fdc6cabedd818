//! The tags of an XML report, in order, in bounded memory.
//!
//! Coverage reports keep everything in tags and attributes, save Cobertura's source folders; other text is skipped. A tag that lies
//! whole and plain in the block in hand is read where it lies; everything else (comments, CDATA,
//! processing instructions, DOCTYPE, entities in values, names beyond ASCII, a tag across two
//! blocks) goes through quick-xml. A DOCTYPE is accepted, since JaCoCo, Cobertura and istanbul
//! always write one, and nothing that it names is ever fetched.

use std::borrow::Cow;
use std::io::BufRead as _;
use std::ops::Range;

use quick_xml::events::Event;
use quick_xml::{Reader, errors::IllFormedError};

use crate::error::ReportError;
use crate::input::Input;

/// The deepest nesting; real reports stay below 20.
const MAX_DEPTH: usize = 256;
/// The longest single tag, comment or text.
const MAX_EVENT: u64 = 4 * 1024 * 1024;
/// How much of the comments, and of the text of one element, is kept.
const MAX_COMMENTS: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
/// The most attributes of a tag.
pub(super) const MAX_ATTRIBUTES: usize = 64;

/// A stream of tags.
pub(super) struct Tags {
    reader: Reader<Input>,
    buffer: Vec<u8>,
    /// Names of the open elements, one after another, and where each begins.
    open: String,
    starts: Vec<usize>,
    /// Whether the next byte is outside any tag that quick-xml has begun.
    between: bool,
    seen_root: bool,
    comments: String,
    /// The element whose text is kept, and its text so far, with its entities as they were written.
    text_of: &'static str,
    text: String,
    plain: bool,
    tag: Tag,
}

/// A tag: kind, name and attributes.
#[derive(Default)]
pub(super) struct Tag {
    /// What it does.
    pub(super) kind: Kind,
    text: String,
    name: Range<usize>,
    attributes: Vec<(Range<usize>, Range<usize>)>,
}

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
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
    pub(super) fn name(&self) -> &str {
        let name = &self.text[self.name.clone()];
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// Whether it closes an element of this name.
    pub(super) fn is_end_of(&self, name: &str) -> bool {
        self.kind == Kind::End && self.name() == name
    }

    /// The raw value of an attribute.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| &self.text[key.clone()] == name)?;
        Some(&self.text[found.1.clone()])
    }

    /// The value of an attribute, with its entities resolved.
    pub(super) fn value(&self, name: &str) -> Result<Option<Cow<'_, str>>, ReportError> {
        let value = self.raw(name).map(quick_xml::escape::unescape).transpose();
        value.map_err(|error| {
            ReportError::malformed(format!("attribute {name} of <{}>: {error}", self.name()))
        })
    }

    /// The value of an attribute that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<Cow<'_, str>, ReportError> {
        self.value(name)?.ok_or_else(|| self.lacks(name))
    }

    /// The number in an attribute, where it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ReportError> {
        self.raw(name).map(|text| number(text).ok_or_else(|| self.wrong(name, text))).transpose()
    }

    /// The number in an attribute that has to be there.
    pub(super) fn count(&self, name: &str) -> Result<u64, ReportError> {
        self.number(name)?.ok_or_else(|| self.lacks(name))
    }

    /// A line number in an attribute that has to be there.
    pub(super) fn line(&self, name: &str) -> Result<u32, ReportError> {
        let text = self.raw(name).ok_or_else(|| self.lacks(name))?;
        number(text).and_then(|line| u32::try_from(line).ok()).ok_or_else(|| self.wrong(name, text))
    }

    /// Whether the number in an attribute is above zero; hit counts may be larger than any integer of ours.
    pub(super) fn is_hit(&self, name: &str) -> Result<bool, ReportError> {
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

    fn clear(&mut self) {
        self.text.clear();
        self.attributes.clear();
    }
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
pub(super) fn hit(text: &[u8]) -> Option<bool> {
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

impl Tags {
    /// The tags of a report.
    pub(super) fn new(input: Input) -> Self {
        Self::with_text_of("", input)
    }

    /// The tags of a report, and the text of the elements of one name.
    pub(super) fn with_text_of(element: &'static str, input: Input) -> Self {
        let mut reader = Reader::from_reader(input);
        // Names of closing tags are checked here, since quick-xml does not see every tag.
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        Self {
            reader,
            buffer: Vec::new(),
            open: String::new(),
            starts: Vec::new(),
            between: false,
            seen_root: false,
            comments: String::new(),
            text_of: element,
            text: String::new(),
            plain: true,
            tag: Tag::default(),
        }
    }

    /// How many elements are open, the one that the last tag opened included.
    pub(super) fn depth(&self) -> usize {
        self.starts.len()
    }

    /// Whether the innermost open elements have these names, outermost of them first. A tag that
    /// opens an element counts as open, one that closes it no longer does.
    pub(super) fn is_within(&self, names: &[&str]) -> bool {
        let Some(first) = self.starts.len().checked_sub(names.len()) else { return false };
        (first..).zip(names).all(|(at, name)| self.open_name(at) == *name)
    }

    fn open_name(&self, at: usize) -> &str {
        let end = self.starts.get(at + 1).copied().unwrap_or(self.open.len());
        let name = &self.open[self.starts[at]..end];
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// Goes to the next tag; false after the root element was closed and the report ended.
    pub(super) fn advance(&mut self) -> Result<bool, ReportError> {
        let plain = self.plain && self.between && self.next_plain();
        if plain || self.next_unusual()? {
            self.keep_book().map(|()| true)
        } else {
            self.end().map(|()| false)
        }
    }

    /// What is left of the block in hand, where the next tag may be plain and an element is open.
    pub(super) fn plain_block(&self) -> &[u8] {
        let is_plain = self.plain && self.between && !self.starts.is_empty();
        if is_plain { self.reader.get_ref().in_hand() } else { &[] }
    }

    /// Passes over whole elements that were read from [`Self::plain_block`].
    pub(super) fn pass_over(&mut self, bytes: usize) {
        self.reader.get_mut().consume(bytes);
    }

    /// The tag in hand.
    pub(super) fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The beginning of what the report's comments say.
    pub(super) fn comments(&self) -> &str {
        &self.comments
    }

    /// The text of the element that was just closed, where it is one whose text is kept.
    pub(super) fn take_text(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        quick_xml::escape::unescape(text.trim()).map_or_else(|_| text.clone(), Cow::into_owned)
    }

    /// Where the reader is, for messages.
    pub(super) fn position(&self) -> String {
        format!("at byte {}", self.reader.get_ref().offset())
    }

    fn end(&self) -> Result<(), ReportError> {
        match self.starts.last() {
            Some(start) => Err(ReportError::Truncated(format!("<{}> is not closed", &self.open[*start..]))),
            None if !self.seen_root => Err(ReportError::Truncated("it has no element".to_owned())),
            None => Ok(()),
        }
    }

    /// Notes what the tag in hand opens or closes.
    fn keep_book(&mut self) -> Result<(), ReportError> {
        let name = &self.tag.text[self.tag.name.clone()];
        match self.tag.kind {
            Kind::Start | Kind::Empty if self.starts.is_empty() && self.seen_root => {
                return Err(ReportError::malformed(format!(
                    "a second root element <{name}> {}",
                    self.position()
                )));
            }
            Kind::Start if self.starts.len() == MAX_DEPTH => {
                return Err(ReportError::Limit(format!(
                    "elements nest deeper than {MAX_DEPTH} {}",
                    self.position()
                )));
            }
            Kind::Start => {
                self.starts.push(self.open.len());
                self.open.push_str(name);
            }
            Kind::Empty => {}
            Kind::End => match self.starts.pop() {
                Some(start) if &self.open[start..] == name => self.open.truncate(start),
                Some(start) => {
                    return Err(ReportError::malformed(format!(
                        "</{name}> closes <{}> {}",
                        &self.open[start..],
                        self.position()
                    )));
                }
                None => {
                    return Err(ReportError::malformed(format!(
                        "</{name}> was not open {}",
                        self.position()
                    )));
                }
            },
        }
        self.seen_root = true;
        Ok(())
    }

    /// Takes the next tag from the block in hand if it lies there whole and plain.
    fn next_plain(&mut self) -> bool {
        let input = self.reader.get_mut();
        let block = input.in_hand();
        self.tag.clear();
        let Some(taken) = plain_tag(block, &mut self.tag) else { return false };
        input.consume(taken);
        true
    }

    /// Takes the next tag through quick-xml; false at the end of the report.
    fn next_unusual(&mut self) -> Result<bool, ReportError> {
        let keeps_text = self.starts.last().is_some_and(|start| &self.open[*start..] == self.text_of);
        loop {
            self.buffer.clear();
            self.reader.get_mut().allow(MAX_EVENT);
            let event = self.reader.read_event_into(&mut self.buffer);
            self.reader.get_mut().allow(u64::MAX);
            let event = match event {
                Ok(event) => event,
                Err(error) => return Err(failure(error, self.reader.get_ref().offset())),
            };
            self.between = !matches!(event, Event::Text(_) | Event::GeneralRef(_));
            match event {
                Event::Start(start) => {
                    return fill(
                        &mut self.tag,
                        Kind::Start,
                        start.name().into_inner(),
                        start.attributes_raw(),
                    );
                }
                Event::Empty(start) => {
                    return fill(
                        &mut self.tag,
                        Kind::Empty,
                        start.name().into_inner(),
                        start.attributes_raw(),
                    );
                }
                Event::End(end) => return fill(&mut self.tag, Kind::End, end.name().into_inner(), ""),
                Event::DocType(text) if declares_entities(&text.borrow().into_inner()) => {
                    return Err(ReportError::Entities);
                }
                Event::Text(text)
                    if self.starts.is_empty() && !text.borrow().into_inner().trim().is_empty() =>
                {
                    let where_ = if self.seen_root { "after" } else { "before" };
                    return Err(ReportError::malformed(format!("text {where_} the root element")));
                }
                Event::Text(text) if keeps_text && self.text.len() < MAX_TEXT => {
                    self.text += &text.into_inner();
                }
                Event::GeneralRef(name) if keeps_text && self.text.len() < MAX_TEXT => {
                    self.text.extend(["&", &name.into_inner(), ";"]);
                }
                Event::CData(text) if keeps_text && self.text.len() < MAX_TEXT => {
                    self.text += &quick_xml::escape::escape(text.into_inner());
                }
                Event::Comment(text) => {
                    if self.comments.len() < MAX_COMMENTS {
                        self.comments.extend(text.into_inner().chars().take(MAX_COMMENTS));
                    }
                }
                Event::Eof => return Ok(false),
                Event::Text(_)
                | Event::CData(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
    }
}

fn declares_entities(doctype: &str) -> bool {
    doctype.as_bytes().windows(8).any(|part| part.eq_ignore_ascii_case(b"<!ENTITY"))
}

fn failure(error: quick_xml::Error, offset: u64) -> ReportError {
    match error {
        quick_xml::Error::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            ReportError::Limit(format!(
                "a tag, comment or text is longer than {MAX_EVENT} bytes before byte {offset}"
            ))
        }
        quick_xml::Error::Io(error) => ReportError::Io(std::io::Error::new(error.kind(), error.to_string())),
        quick_xml::Error::Syntax(error) => ReportError::Truncated(format!("{error} at byte {offset}")),
        quick_xml::Error::IllFormed(IllFormedError::UnclosedReference) => {
            ReportError::malformed(format!("a bare & at byte {offset}"))
        }
        error => ReportError::malformed(format!("{error} at byte {offset}")),
    }
}

/// A tag from the parts that quick-xml found.
fn fill(tag: &mut Tag, kind: Kind, name: &str, attributes: &str) -> Result<bool, ReportError> {
    tag.clear();
    tag.kind = kind;
    tag.text.push_str(name);
    tag.name = 0..name.len();
    let mut parts = quick_xml::events::attributes::Attributes::new(attributes, 0);
    // Looking for the same name twice takes quadratic time; of two, the first counts here.
    parts.with_checks(false);
    for part in parts {
        let part = part.map_err(|error| ReportError::malformed(format!("<{name}>: {error}")))?;
        let key = append(&mut tag.text, part.key.into_inner());
        let value = append(&mut tag.text, &part.value);
        tag.attributes.push((key, value));
        if tag.attributes.len() > MAX_ATTRIBUTES {
            return Err(ReportError::Limit(format!("<{name}> has more than {MAX_ATTRIBUTES} attributes")));
        }
    }
    Ok(true)
}

fn append(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

/// Reads a tag at the start of the block, after white space. It has to be whole, its names ASCII,
/// its values quoted and without `<`; the answer is how many bytes it took, white space included.
fn plain_tag(block: &[u8], tag: &mut Tag) -> Option<usize> {
    let start = block.iter().position(|c| !is_space(*c))?;
    let mut at = start + 1;
    if *block.get(start)? != b'<' {
        return None;
    }
    let closing = *block.get(at)? == b'/';
    at += usize::from(closing);
    let name = at;
    at = end_of_name(block, at)?;
    if at == name {
        return None;
    }
    tag.name = name - start..at - start;
    tag.kind = if closing { Kind::End } else { Kind::Start };
    loop {
        let spaces = at;
        while is_space(*block.get(at)?) {
            at += 1;
        }
        match block[at] {
            b'>' => break,
            b'/' if !closing && *block.get(at + 1)? == b'>' => {
                tag.kind = Kind::Empty;
                at += 1;
                break;
            }
            _ if closing || spaces == at || tag.attributes.len() == MAX_ATTRIBUTES => return None,
            _ => {}
        }
        let (key, value, end) = plain_attribute(block, at)?;
        let value_at = end - 1 - value.len() - start;
        tag.attributes.push((at - start..at - start + key.len(), value_at..value_at + value.len()));
        at = end;
    }
    at += 1;
    tag.text.push_str(std::str::from_utf8(&block[start..at]).ok()?);
    Some(at)
}

/// White space as XML has it (XML 1.0, 2.3): a form feed is none.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes that names of elements and attributes are made of.
const OF_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        byte += 1;
    }
    table
};

fn end_of_name(block: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while OF_NAMES[usize::from(*block.get(at)?)] {
        at += 1;
    }
    Some(at)
}

/// Where the quote is that ends a value, if there is no `<` before it. Values are too short for memchr to be worth a call.
fn end_of_value(block: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start;
    loop {
        match *block.get(at)? {
            byte if byte == quote => return Some(at),
            b'<' => return None,
            _ => at += 1,
        }
    }
}

/// Reads the next attribute of a plain tag, after the space before it: name, value, and where it ends.
#[inline]
pub(super) fn plain_attribute(block: &[u8], start: usize) -> Option<(&[u8], &[u8], usize)> {
    let key = end_of_name(block, start)?;
    let quote = *block.get(key + 1)?;
    if key == start || block[key] != b'=' || (quote != b'"' && quote != b'\'') {
        return None;
    }
    let end = end_of_value(block, key + 2, quote)?;
    Some((&block[start..key], &block[key + 2..end], end + 1))
}
