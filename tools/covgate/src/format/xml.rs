//! The tags of an XML report, in order, in bounded memory.
//!
//! Coverage reports keep everything in tags and attributes, save Cobertura's source folders; other text is skipped. A tag that lies
//! whole and plain in the block in hand is read where it lies ([`plain`]); everything else (comments, CDATA,
//! processing instructions, DOCTYPE, entities in values, names beyond ASCII, a tag across two
//! blocks) goes through quick-xml. A DOCTYPE is accepted, since JaCoCo, Cobertura and istanbul
//! always write one, and nothing that it names is ever fetched.

mod plain;
mod tag;

use std::borrow::Cow;
use std::io::BufRead as _;

use quick_xml::events::Event;
use quick_xml::{Reader, errors::IllFormedError};

use crate::error::ReportError;
use crate::input::Input;

pub(super) use plain::{is_space, plain_attribute};
pub(super) use tag::{Kind, MAX_ATTRIBUTES, Tag, hit};

/// The deepest nesting; real reports stay below 20.
const MAX_DEPTH: usize = 256;
/// The longest single tag, comment or text.
const MAX_EVENT: u64 = 4 * 1024 * 1024;
/// How much of the comments, and of the text of one element, is kept.
const MAX_COMMENTS: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
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
        let name = self.tag.full_name();
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
        let Some(taken) = plain::plain_tag(block, &mut self.tag) else { return false };
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
                    return self.tag.fill(Kind::Start, start.name().into_inner(), start.attributes_raw());
                }
                Event::Empty(start) => {
                    return self.tag.fill(Kind::Empty, start.name().into_inner(), start.attributes_raw());
                }
                Event::End(end) => return self.tag.fill(Kind::End, end.name().into_inner(), ""),
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
