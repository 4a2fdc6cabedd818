//! granit-parser as an event source.

use std::borrow::Cow;

use granit_parser::{Parser, ScalarStyle, StrInput, Tag};

use super::events::{Event, EventSource, Located, Properties, Style, SyntaxError};

/// The parser whose positions decide what is edited.
pub struct Granit<'a>(Parser<'a, StrInput<'a>>);

impl<'a> EventSource<'a> for Granit<'a> {
    fn open(text: &'a str) -> Self {
        Self(Parser::new_from_str(text))
    }
}

impl<'a> Iterator for Granit<'a> {
    type Item = Result<Located<'a>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (event, span) = match self.0.next_event()? {
                Ok(next) => next,
                Err(error) => {
                    let offset = error.marker().byte_offset().unwrap_or_default();
                    return Some(Err(SyntaxError { message: error.info(), offset }));
                }
            };
            let bytes = span.byte_range().unwrap_or_default();
            let event = match event {
                granit_parser::Event::DocumentStart(..) => Event::DocumentStart,
                granit_parser::Event::DocumentEnd => Event::DocumentEnd,
                granit_parser::Event::Alias(anchor) => Event::Alias(anchor),
                granit_parser::Event::Scalar(value, style, anchor, tag) => {
                    // An absent node is told as the null it means.
                    let absent = bytes.is_empty() && style == ScalarStyle::Plain;
                    let value = if absent { Cow::Borrowed("") } else { value };
                    Event::Scalar {
                        value,
                        style: style_of(style),
                        properties: properties(anchor, tag.as_deref()),
                    }
                }
                granit_parser::Event::SequenceStart(_, anchor, tag) => {
                    Event::SequenceStart(properties(anchor, tag.as_deref()))
                }
                granit_parser::Event::SequenceEnd => Event::SequenceEnd,
                granit_parser::Event::MappingStart(_, anchor, tag) => {
                    Event::MappingStart(properties(anchor, tag.as_deref()))
                }
                granit_parser::Event::MappingEnd => Event::MappingEnd,
                _ => continue,
            };
            return Some(Ok((event, bytes)));
        }
    }
}

const fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
        ScalarStyle::Plain => Style::Plain,
    }
}

fn properties(anchor: usize, tag: Option<&Tag>) -> Properties {
    Properties {
        anchor: (anchor != 0).then_some(anchor),
        tag: tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()).into()),
    }
}
