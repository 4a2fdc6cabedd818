//! saphyr-parser as an event source: another implementation to agree with.

use std::borrow::Cow;

use manifest_patch::yaml::events::{Event, Located, Properties};
use manifest_patch::yaml::{EventSource, Style, SyntaxError};
use saphyr_parser::{Parser, ScalarStyle, StrInput, Tag};

pub(crate) struct Saphyr<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Where each character begins: saphyr counts in characters.
    bytes: Vec<usize>,
}

impl<'a> EventSource<'a> for Saphyr<'a> {
    fn open(text: &'a str) -> Self {
        let bytes = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
        Self { parser: Parser::new_from_str(text), bytes }
    }
}

impl<'a> Iterator for Saphyr<'a> {
    type Item = Result<Located<'a>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let byte = |bytes: &[usize], index: usize| bytes[index.min(bytes.len() - 1)];
        loop {
            let (event, span) = match self.parser.next_event()? {
                Ok(next) => next,
                Err(error) => {
                    let offset = byte(&self.bytes, error.marker().index());
                    return Some(Err(SyntaxError { message: error.info().to_owned(), offset }));
                }
            };
            let range = byte(&self.bytes, span.start.index())..byte(&self.bytes, span.end.index());
            let event = match event {
                saphyr_parser::Event::DocumentStart(_) => Event::DocumentStart,
                saphyr_parser::Event::DocumentEnd => Event::DocumentEnd,
                saphyr_parser::Event::Alias(anchor) => Event::Alias(anchor),
                saphyr_parser::Event::Scalar(value, style, anchor, tag) => {
                    let absent = range.is_empty() && style == ScalarStyle::Plain;
                    let value = if absent { Cow::Borrowed("") } else { value };
                    let properties = properties(anchor, tag.as_deref());
                    Event::Scalar { value, style: style_of(style), properties }
                }
                saphyr_parser::Event::SequenceStart(anchor, tag) => {
                    Event::SequenceStart(properties(anchor, tag.as_deref()))
                }
                saphyr_parser::Event::SequenceEnd => Event::SequenceEnd,
                saphyr_parser::Event::MappingStart(anchor, tag) => {
                    Event::MappingStart(properties(anchor, tag.as_deref()))
                }
                saphyr_parser::Event::MappingEnd => Event::MappingEnd,
                _ => continue,
            };
            return Some(Ok((event, range)));
        }
    }
}

const fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

fn properties(anchor: usize, tag: Option<&Tag>) -> Properties {
    Properties {
        anchor: (anchor != 0).then_some(anchor),
        tag: tag.map(|tag| format!("{}{}", tag.handle, tag.suffix).into()),
    }
}
