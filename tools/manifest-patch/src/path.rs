//! Paths as yq and jq write them: `.spec.containers[0].image`, `["k"]`, `[]`, `select(.name == "x")`.

use std::fmt;

use crate::yaml::{Content, Document, NodeId};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.key`, `["key"]`
    Key(String),
    /// `[0]`, `[-1]`
    Index(i64),
    /// `[]`
    Each,
    /// `select(PATH == "text")`, or `!=` where the flag is false.
    Select(Path, String, bool),
}

/// Steps from a document's root to the nodes that are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {problem} at character {position}")]
pub struct PathError {
    /// The whole text.
    pub text: String,
    /// What is wrong.
    pub problem: String,
    /// Where, from 1.
    pub position: usize,
}

impl Path {
    /// The nodes that the path leads to; none where it doesn't exist.
    pub fn find(&self, document: &Document<'_>) -> Vec<NodeId> {
        self.find_from(document, Document::ROOT)
    }

    fn find_from(&self, document: &Document<'_>, start: NodeId) -> Vec<NodeId> {
        self.0.iter().fold(vec![start], |nodes, step| {
            nodes.into_iter().flat_map(|node| step.from(document, node)).collect()
        })
    }

    /// Whether it may lead to several nodes of a document.
    pub fn is_plural(&self) -> bool {
        self.0.contains(&Step::Each)
    }

    /// The last key.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            _ => None,
        })
    }
}

impl Step {
    fn from(&self, document: &Document<'_>, node: NodeId) -> Vec<NodeId> {
        match self {
            Self::Key(key) => document.get(node, key).into_iter().collect(),
            Self::Index(index) => {
                let items: Vec<NodeId> = document.items(node).collect();
                let place = if *index < 0 { index + i64::try_from(items.len()).unwrap_or(0) } else { *index };
                usize::try_from(place).ok().and_then(|place| items.get(place).copied()).into_iter().collect()
            }
            Self::Each => match document.node(node).content {
                Content::Mapping => document.entries(node).map(|(_, value)| value).collect(),
                _ => document.items(node).collect(),
            },
            Self::Select(path, text, equal) => {
                let values = path.find_from(document, node);
                let is = values.iter().any(|&value| document.text_of(value) == Some(text));
                if is == *equal { vec![node] } else { Vec::new() }
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut after_select = false;
        for (position, step) in self.0.iter().enumerate() {
            let select = matches!(step, Step::Select(..));
            if position > 0 && (select || after_select) {
                f.write_str(" | ")?;
            }
            let dot = if position == 0 || after_select { "." } else { "" };
            match step {
                Step::Key(key) if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') => {
                    write!(f, ".{key}")?;
                }
                Step::Key(key) => write!(f, "{dot}[{key:?}]")?,
                Step::Index(index) => write!(f, "{dot}[{index}]")?,
                Step::Each => write!(f, "{dot}[]")?,
                Step::Select(path, text, equal) => {
                    let sign = if *equal { "==" } else { "!=" };
                    write!(f, "select({path} {sign} {text:?})")?;
                }
            }
            after_select = select;
        }
        if self.0.is_empty() { f.write_str(".") } else { Ok(()) }
    }
}
