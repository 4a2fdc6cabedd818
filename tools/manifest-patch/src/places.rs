//! Which bytes to write so that the values that are meant change, and no others.
//!
//! An anchored value stands in all the places where aliases and merge keys repeat it. It is written where it stands
//! if all of these places are meant.

use std::collections::BTreeMap;

use crate::patch::Request;
use crate::refusal::Refusal;
use crate::yaml::scalar::Unwritable;
use crate::yaml::{Content, Document, Expanded, NodeId};

/// More places than this are not listed.
const MOST_LISTED: usize = 64;

/// A node of the written document, and what it becomes.
#[derive(Debug)]
pub struct Writing {
    /// The node: a scalar, or an alias that the value takes the place of.
    pub node: NodeId,
    /// The value.
    pub value: String,
    /// The ordinals of all places where the value stands then.
    pub places: Vec<Vec<usize>>,
}

/// What to write for the values that nodes of the expanded document shall have. A refusal comes with the expanded node
/// that it is about.
pub fn writings(
    document: &Document<'_>,
    expanded: &Expanded<'_, '_>,
    wanted: BTreeMap<NodeId, String>,
    request: &Request,
) -> Result<Vec<Writing>, (NodeId, Refusal)> {
    let mut written: BTreeMap<NodeId, Vec<(NodeId, String)>> = BTreeMap::new();
    for (node, value) in wanted {
        written.entry(expanded.written(node)).or_default().push((node, value));
    }
    let mut writings = Vec::new();
    for (node, meant) in written {
        let value = Shared { document, expanded, node, meant };
        value.write(request, &mut writings)?;
    }
    Ok(writings)
}

/// A value, and what is meant of the places where it stands.
struct Shared<'s, 'd, 'a, 'w> {
    document: &'s Document<'w>,
    expanded: &'s Expanded<'d, 'a>,
    node: NodeId,
    /// By the places' numbers.
    meant: Vec<(NodeId, String)>,
}

impl Shared<'_, '_, '_, '_> {
    fn write(&self, request: &Request, writings: &mut Vec<Writing>) -> Result<(), (NodeId, Refusal)> {
        let differing: Vec<&(NodeId, String)> =
            self.meant.iter().filter(|(_, value)| self.differs(value)).collect();
        let Some((first, value)) = differing.first() else { return Ok(()) };
        if matches!(self.document.node(self.node).content, Content::Alias(_)) {
            // It stands for what it is itself inside of.
            let alias = self.document.source(self.node).to_owned();
            return Err((*first, Unwritable::Alias(alias).into()));
        }
        let places = self.expanded.places_of(self.node);
        let is_meant = |place: &NodeId| self.meant.binary_search_by_key(place, |(node, _)| *node).is_ok();
        let others: Vec<NodeId> = places.iter().copied().filter(|place| !is_meant(place)).collect();
        let conflict = self.meant.iter().find(|(_, other)| other != value);
        let may_break = || differing.iter().all(|(place, _)| self.expanded.alias(*place).is_some());
        let read =
            || others.iter().copied().filter(|place| !self.expanded.is_unread(*place)).collect::<Vec<_>>();
        let fits_all = conflict.is_none() && (others.is_empty() || request.allow_shared);
        if !fits_all && request.break_alias && may_break() {
            return self.break_aliases(&differing, writings);
        }
        if let Some((_, other)) = conflict {
            return Err((*first, Refusal::Conflict(value.clone(), other.clone())));
        }
        let read = if fits_all { Vec::new() } else { read() };
        if !read.is_empty() {
            return Err(self.refusal(*first, &read));
        }
        writings.push(Writing { node: self.node, value: value.clone(), places: self.ordinals(&places) });
        Ok(())
    }

    fn differs(&self, value: &str) -> bool {
        self.document.text_of(self.node) != Some(value)
    }

    /// Writes each value in the place of its alias, if nothing else repeats that alias.
    fn break_aliases(
        &self,
        differing: &[&(NodeId, String)],
        writings: &mut Vec<Writing>,
    ) -> Result<(), (NodeId, Refusal)> {
        let mut broken: BTreeMap<NodeId, &str> = BTreeMap::new();
        for (place, value) in differing {
            let Some(alias) = self.expanded.alias(*place) else { continue };
            if broken.insert(alias, value).is_some() {
                continue;
            }
            let places = self.expanded.places_of(alias);
            let is_same =
                |place: &NodeId| differing.iter().any(|(node, other)| node == place && other == value);
            let others: Vec<NodeId> = places.iter().copied().filter(|place| !is_same(place)).collect();
            if !others.is_empty() {
                return Err((*place, Refusal::Shared(self.paths(&others))));
            }
            writings.push(Writing { node: alias, value: value.clone(), places: self.ordinals(&places) });
        }
        Ok(())
    }

    /// Why the value is not changed, as it looks from one of the places that are meant.
    fn refusal(&self, place: NodeId, others: &[NodeId]) -> (NodeId, Refusal) {
        let document = self.expanded.document();
        let others = self.paths(others);
        if let Some(alias) = self.expanded.alias(place) {
            return (place, Refusal::Aliased(self.document.source(alias).to_owned(), others));
        }
        let own = document.ordinals(place) == self.document.ordinals(self.node);
        match self.expanded.merging(place).filter(|_| !own) {
            Some(container) => {
                let name = document.get_merged(container, "name").and_then(|name| document.text_of(name));
                (container, Refusal::Merged(name.unwrap_or_default().to_owned(), others))
            }
            None => (place, Refusal::Shared(others)),
        }
    }

    fn paths(&self, places: &[NodeId]) -> Vec<String> {
        places.iter().take(MOST_LISTED).map(|&place| self.expanded.document().path(place)).collect()
    }

    fn ordinals(&self, places: &[NodeId]) -> Vec<Vec<usize>> {
        places.iter().map(|&place| self.expanded.document().ordinals(place)).collect()
    }
}
