//! A document as its readers see it: in the place of each alias stands a copy of what its anchor holds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::document::Node;
use super::{Content, Document, NodeId};

/// A few lines of aliases of aliases can stand for more nodes than fit into memory. So many may come of any document, and
/// of a large one a few times its own.
const MOST_NODES: usize = 200_000;
const MOST_TIMES: usize = 4;

/// Where a node of the expanded document is written.
#[derive(Debug, Clone, Copy)]
struct Origin {
    node: NodeId,
    /// The alias that the node stands for, if it is not merely inside of what one stands for.
    alias: Option<NodeId>,
}

/// A document without aliases, and where each of its nodes is written.
#[derive(Debug)]
pub struct Expanded<'d, 'a> {
    document: Cow<'d, Document<'a>>,
    /// `None` where there were no aliases: each node is its own origin.
    copies: Option<Copies>,
}

#[derive(Debug)]
struct Copies {
    origins: Vec<Origin>,
    /// The nodes that a node of the written document became.
    of: HashMap<NodeId, Vec<NodeId>>,
}

impl Copies {
    fn new(origins: Vec<Origin>) -> Self {
        let mut of: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for (id, origin) in origins.iter().enumerate() {
            for written in [Some(origin.node), origin.alias].into_iter().flatten() {
                of.entry(written).or_default().push(id);
            }
        }
        Self { origins, of }
    }
}

enum Step {
    Open { from: NodeId, parent: Option<NodeId>, position: usize, alias: Option<NodeId> },
    Close(NodeId),
}

impl<'d, 'a> Expanded<'d, 'a> {
    /// Expands a document; nothing where that makes too much of it.
    pub fn of(document: &'d Document<'a>) -> Option<Self> {
        if document.aliases().is_empty() {
            return Some(Self::unchanged(document));
        }
        let most = MOST_NODES.max(document.nodes().len().saturating_mul(MOST_TIMES));
        let nodes = document.nodes().iter().enumerate();
        let anchors: BTreeMap<usize, NodeId> =
            nodes.filter_map(|(id, node)| Some((node.properties.anchor?, id))).collect();
        let (mut nodes, mut origins, mut aliases) = (Vec::<Node<'a>>::new(), Vec::new(), Vec::new());
        let mut steps = vec![Step::Open { from: Document::ROOT, parent: None, position: 0, alias: None }];
        while let Some(step) = steps.pop() {
            let (from, parent, position, alias) = match step {
                Step::Open { from, parent, position, alias } => (from, parent, position, alias),
                Step::Close(id) => {
                    nodes[id].end = nodes.len();
                    continue;
                }
            };
            let id = nodes.len();
            if id >= most {
                return None;
            }
            if let Content::Alias(anchor) = document.node(from).content {
                // An alias inside of its own anchor has no end.
                match anchors.get(&anchor).filter(|&&anchored| document.node(anchored).end <= from) {
                    Some(&anchored) => {
                        steps.push(Step::Open { from: anchored, parent, position, alias: Some(from) });
                        continue;
                    }
                    None => aliases.push(id),
                }
            }
            let mut node = document.node(from).placed(parent, position);
            if let Some(alias) = alias {
                node.bytes = document.node(alias).bytes.clone();
            }
            nodes.push(node);
            origins.push(Origin { node: from, alias });
            steps.push(Step::Close(id));
            let inside = steps.len();
            let children = document.children(from).enumerate();
            steps.extend(children.map(|(position, child)| Step::Open {
                from: child,
                parent: Some(id),
                position,
                alias: None,
            }));
            steps[inside..].reverse();
        }
        let document = Cow::Owned(Document::of_nodes(document.text, nodes, aliases));
        Some(Self { document, copies: Some(Copies::new(origins)) })
    }

    /// The document as it is written.
    pub const fn unchanged(document: &'d Document<'a>) -> Self {
        Self { document: Cow::Borrowed(document), copies: None }
    }

    /// The document without aliases. The bytes of what an alias stands for are those of the alias.
    pub fn document(&self) -> &Document<'a> {
        &self.document
    }

    /// The node of the written document that a node is a copy of.
    pub fn written(&self, id: NodeId) -> NodeId {
        self.copies.as_ref().map_or(id, |copies| copies.origins[id].node)
    }

    /// The alias that a node stands for.
    pub fn alias(&self, id: NodeId) -> Option<NodeId> {
        self.copies.as_ref().and_then(|copies| copies.origins[id].alias)
    }

    /// All nodes that change where a node of the written document does: its copies, or what an alias stands for.
    pub fn places_of(&self, written: NodeId) -> Vec<NodeId> {
        match &self.copies {
            Some(copies) => copies.of.get(&written).cloned().unwrap_or_default(),
            None => vec![written],
        }
    }

    /// Whether nothing reads a node: another value stands where a merge key would bring it in, or it is kept under a
    /// key of the document that begins with `x-` or a dot, which is where values are put for aliases.
    pub fn is_unread(&self, id: NodeId) -> bool {
        let document = self.document();
        let aside = || {
            let top = document.ancestry(id).find(|&node| document.parent(node) == Some(Document::ROOT));
            top.and_then(|top| document.key_of(top))
                .is_some_and(|key| key.starts_with("x-") || key.starts_with('.'))
        };
        let overridden = || {
            let key = document.key_of(id)?;
            document.get(self.merging(id)?, key)
        };
        overridden().is_some() || aside()
    }

    /// The mapping that a node is brought into by a merge key.
    pub fn merging(&self, id: NodeId) -> Option<NodeId> {
        let document = self.document();
        let merged = document.parent(id)?;
        let outer = document.parent(merged)?;
        let value = if matches!(document.node(outer).content, Content::Sequence) { outer } else { merged };
        document.key_of(value).filter(|key| *key == "<<").and_then(|_| document.parent(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Granit;

    fn expanded(text: &str, check: impl FnOnce(&Expanded<'_, '_>)) {
        let documents = Document::read_all::<Granit<'_>>(text).unwrap();
        check(&Expanded::of(&documents[0]).unwrap());
    }

    #[test]
    fn aliases_become_what_they_stand_for() {
        expanded("a: &a {b: &b 1, c: *b}\nd: [*a, *b]\n", |expanded| {
            let document = expanded.document();
            let scalars = (0..document.nodes().len()).filter(|&id| document.text_of(id) == Some("1"));
            let paths: Vec<String> = scalars.clone().map(|id| document.path(id)).collect();
            assert_eq!(paths, [".a.b", ".a.c", ".d[0].b", ".d[0].c", ".d[1]"]);
            let first = expanded.written(scalars.clone().next().unwrap());
            assert_eq!(expanded.places_of(first), scalars.collect::<Vec<_>>());
        });
    }

    #[test]
    fn what_has_no_end_stays() {
        expanded("a: &a [*a]\n", |expanded| assert_eq!(expanded.document().aliases().len(), 1));
        let level = |level: usize| format!("a{level}: &a{level} [*a{below}, *a{below}]\n", below = level - 1);
        let text = format!("a0: &a0 [x, x]\n{}", (1..40).map(level).collect::<String>());
        let documents = Document::read_all::<Granit<'_>>(&text).unwrap();
        assert!(Expanded::of(&documents[0]).is_none());
    }
}
