//! A document as its nodes in the order they are written, each with its bytes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::events::{Event, EventSource, Properties, Style, SyntaxError};

/// A node's place in its document's list of nodes.
pub type NodeId = usize;

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// A scalar.
    Scalar {
        /// The text after unquoting, unescaping and folding.
        value: Cow<'a, str>,
        /// How it is written.
        style: Style,
    },
    /// A sequence; its items follow.
    Sequence,
    /// A mapping; its keys and values follow in turns.
    Mapping,
    /// An alias of the anchor of this number.
    Alias(usize),
}

/// A node, its bytes, and its place among the others.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// What it holds.
    pub content: Content<'a>,
    /// Its anchor and tag.
    pub properties: Properties,
    /// Its bytes in the text; of a block collection, where it begins.
    pub bytes: Range<usize>,
    /// The node after its last descendant.
    pub end: NodeId,
    parent: Option<NodeId>,
    /// Its place among what its parent holds directly; keys and values of a mapping count in turns.
    position: usize,
}

/// A document: its nodes in the order they are written, the root first.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// The text that the nodes' bytes count in; it may hold other documents too.
    pub text: &'a str,
    nodes: Vec<Node<'a>>,
    aliases: Vec<NodeId>,
}

impl Node<'_> {
    /// A copy of the node alone, for another place.
    pub(super) fn placed(&self, parent: Option<NodeId>, position: usize) -> Self {
        Self { parent, position, ..self.clone() }
    }
}

impl<'a> Document<'a> {
    /// A document of nodes that are in the right order.
    pub(super) const fn of_nodes(text: &'a str, nodes: Vec<Node<'a>>, aliases: Vec<NodeId>) -> Self {
        Self { text, nodes, aliases }
    }

    /// All documents of a text.
    pub fn read_all<S: EventSource<'a>>(text: &'a str) -> Result<Vec<Self>, SyntaxError> {
        let mut documents = Vec::new();
        let mut builder = Builder::default();
        for next in S::open(text) {
            let (event, bytes) = next?;
            match event {
                Event::DocumentStart => builder = Builder::with_room(text),
                Event::DocumentEnd => {
                    let Builder { nodes, aliases, .. } = std::mem::take(&mut builder);
                    if !nodes.is_empty() {
                        documents.push(Self { text, nodes, aliases });
                    }
                }
                event => builder.take(event, bytes),
            }
        }
        Ok(documents)
    }

    /// The document's root.
    pub const ROOT: NodeId = 0;

    /// All nodes, in the order they are written.
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// The aliases, in the order they are written.
    pub fn aliases(&self) -> &[NodeId] {
        &self.aliases
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id]
    }

    /// The node that holds this one.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.nodes[id].parent
    }

    /// The node and all that hold it, from the inside out.
    pub fn ancestry(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(Some(id), |&id| self.parent(id))
    }

    /// What a sequence or mapping holds directly; keys and values of a mapping in turns.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.nodes[id].end;
        let first = Some(id + 1).filter(|&first| first < end);
        std::iter::successors(first, move |&child| Some(self.nodes[child].end).filter(|&next| next < end))
    }

    /// The items of a sequence; none of anything else.
    pub fn items(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let sequence = matches!(self.nodes[id].content, Content::Sequence);
        self.children(id).filter(move |_| sequence)
    }

    /// The keys and values of a mapping; none of anything else.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        let mapping = matches!(self.nodes[id].content, Content::Mapping);
        let mut children = self.children(id);
        std::iter::from_fn(move || Some((children.next()?, children.next()?))).filter(move |_| mapping)
    }

    /// The value under a key of a mapping.
    pub fn get(&self, mapping: NodeId, key: &str) -> Option<NodeId> {
        self.entries(mapping).find(|&(name, _)| self.text_of(name) == Some(key)).map(|(_, value)| value)
    }

    /// The value under a key of a mapping or, where that has none, of what its merge key brings in.
    pub fn get_merged(&self, mapping: NodeId, key: &str) -> Option<NodeId> {
        self.get(mapping, key).or_else(|| {
            let merged = self.get(mapping, "<<")?;
            match self.nodes[merged].content {
                Content::Sequence => self.items(merged).find_map(|each| self.get_merged(each, key)),
                _ => self.get_merged(merged, key),
            }
        })
    }

    /// The value at the end of a chain of keys.
    pub fn get_in(&self, mapping: NodeId, keys: &[&str]) -> Option<NodeId> {
        keys.iter().try_fold(mapping, |node, key| self.get(node, key))
    }

    /// The key that a value of a mapping stands under.
    pub fn key_of(&self, value: NodeId) -> Option<&str> {
        let parent = self.parent(value)?;
        let is_value =
            matches!(self.nodes[parent].content, Content::Mapping) && self.nodes[value].position % 2 == 1;
        // A key that is no scalar has nodes inside.
        let key = self.ancestry(value - 1).find(|&node| self.parent(node) == Some(parent))?;
        self.text_of(key).filter(|_| is_value)
    }

    /// The text of a scalar.
    pub fn text_of(&self, id: NodeId) -> Option<&str> {
        match &self.nodes[id].content {
            Content::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The text of a scalar; an empty one of what is null, written or not, or no scalar.
    pub fn text_or_empty(&self, id: NodeId) -> &str {
        let node = &self.nodes[id];
        match &node.content {
            Content::Scalar { value, style: Style::Plain }
                if node.properties.tag.is_none()
                    && matches!(value.as_ref(), "~" | "null" | "Null" | "NULL") =>
            {
                ""
            }
            Content::Scalar { value, .. } => value,
            _ => "",
        }
    }

    /// The text of the scalar under a key of a mapping.
    pub fn text_at(&self, mapping: NodeId, key: &str) -> Option<&str> {
        self.text_of(self.get(mapping, key)?)
    }

    /// What the node's bytes say.
    pub fn source(&self, id: NodeId) -> &'a str {
        self.text.get(self.nodes[id].bytes.clone()).unwrap_or_default()
    }

    /// The comment on the line that the node ends on.
    pub fn comment_behind(&self, id: NodeId) -> Option<&'a str> {
        let rest = self.text[self.nodes[id].bytes.end..].lines().next()?;
        rest.trim_start().strip_prefix('#')
    }

    /// The document's text, to the end of the line that its last node ends on.
    pub fn source_and_comment(&self) -> &'a str {
        let Range { start, end } = self.nodes[Self::ROOT].bytes;
        let behind = self.text[end..].find('\n').map_or(self.text.len(), |line| end + line);
        &self.text[start..behind]
    }

    /// Where the node stands in what holds it, counted in items or entries, from the root inwards.
    pub fn ordinals(&self, id: NodeId) -> Vec<usize> {
        let mut ordinals: Vec<usize> = self
            .ancestry(id)
            .filter_map(|node| {
                let mapping = matches!(self.nodes[self.parent(node)?].content, Content::Mapping);
                let position = self.nodes[node].position;
                Some(if mapping { position / 2 } else { position })
            })
            .collect();
        ordinals.reverse();
        ordinals
    }

    /// The path to a node as yq and jq write it: `.spec.containers[0]["a b"]`.
    pub fn path(&self, id: NodeId) -> String {
        let mut path = String::new();
        let mut steps: Vec<NodeId> = self.ancestry(id).collect();
        steps.reverse();
        for (position, pair) in steps.windows(2).enumerate() {
            let &[parent, child] = pair else { continue };
            if matches!(self.nodes[parent].content, Content::Mapping) {
                write_key(&mut path, self.key_of(child).unwrap_or("?"));
            } else {
                let index = self.nodes[child].position;
                let dot = if position == 0 { "." } else { "" };
                // Writing to a string can't fail.
                let _ = write!(path, "{dot}[{index}]");
            }
        }
        if path.is_empty() { ".".to_owned() } else { path }
    }
}

fn write_key(path: &mut String, key: &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let bare = key.chars().all(word) && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    // Writing to a string can't fail.
    let _ = if bare {
        write!(path, ".{key}")
    } else {
        let dot = if path.is_empty() { "." } else { "" };
        write!(path, "{dot}[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\""))
    };
}

/// Few manifests have more nodes.
const USUAL: usize = 256;

#[derive(Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    aliases: Vec<NodeId>,
    /// The collections that the next node is inside of, and how many nodes each holds directly so far.
    open: Vec<(NodeId, usize)>,
}

impl<'a> Builder<'a> {
    /// With room for the nodes of a usual manifest: a list that grows takes, in a step of a millisecond, fresh memory of
    /// one size after the other.
    fn with_room(text: &str) -> Self {
        Self {
            nodes: Vec::with_capacity(USUAL.min(text.len() / 8)),
            open: Vec::with_capacity(16),
            aliases: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'a>, bytes: Range<usize>) {
        match event {
            Event::Scalar { value, style, properties } => {
                self.push(Content::Scalar { value, style }, properties, bytes);
            }
            Event::Alias(anchor) => {
                let id = self.push(Content::Alias(anchor), Properties::default(), bytes);
                self.aliases.push(id);
            }
            Event::SequenceStart(properties) => {
                let id = self.push(Content::Sequence, properties, bytes);
                self.open.push((id, 0));
            }
            Event::MappingStart(properties) => {
                let id = self.push(Content::Mapping, properties, bytes);
                self.open.push((id, 0));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((id, _)) = self.open.pop() {
                    let end = self.nodes.len();
                    self.nodes[id].end = end;
                    self.nodes[id].bytes.end = bytes.end;
                }
            }
            Event::DocumentStart | Event::DocumentEnd => {}
        }
    }

    fn push(&mut self, content: Content<'a>, properties: Properties, bytes: Range<usize>) -> NodeId {
        let id = self.nodes.len();
        let (parent, position) = match self.open.last_mut() {
            Some((parent, count)) => {
                *count += 1;
                (Some(*parent), *count - 1)
            }
            None => (None, 0),
        };
        self.nodes.push(Node { content, properties, bytes, end: id + 1, parent, position });
        id
    }
}
