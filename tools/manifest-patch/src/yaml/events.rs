//! What a YAML parser says, in order, and where in the text it says it of.

use std::borrow::Cow;
use std::ops::Range;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `value`
    Plain,
    /// `'value'`
    SingleQuoted,
    /// `"value"`
    DoubleQuoted,
    /// `|` and an indented body.
    Literal,
    /// `>` and an indented body.
    Folded,
}

/// What stands in front of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The anchor, numbered in the order of definition.
    pub anchor: Option<usize>,
    /// The tag with its handle resolved, such as `tag:yaml.org,2002:str`.
    pub tag: Option<Box<str>>,
}

/// One step through a stream of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A document begins.
    DocumentStart,
    /// A document ends.
    DocumentEnd,
    /// `*name`, by the number of the anchor it stands for.
    Alias(usize),
    /// A scalar. An absent one is plain and empty.
    Scalar {
        /// The text after unquoting, unescaping and folding.
        value: Cow<'a, str>,
        /// How it is written.
        style: Style,
        /// Its anchor and tag.
        properties: Properties,
    },
    /// A sequence begins.
    SequenceStart(Properties),
    /// A sequence ends.
    SequenceEnd,
    /// A mapping begins.
    MappingStart(Properties),
    /// A mapping ends.
    MappingEnd,
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What the parser found.
    pub message: String,
    /// Where it found it, in bytes.
    pub offset: usize,
}

/// An event and the bytes it was read from. Those of an absent scalar are empty; those of a block
/// scalar begin at its first content byte.
pub type Located<'a> = (Event<'a>, Range<usize>);

/// A parser that gives byte positions.
pub trait EventSource<'a>: Iterator<Item = Result<Located<'a>, SyntaxError>> {
    /// Starts to read the text.
    fn open(text: &'a str) -> Self;
}
