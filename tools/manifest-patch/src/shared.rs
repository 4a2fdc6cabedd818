//! Values that aliases repeat elsewhere.

use crate::yaml::{Content, Document, NodeId};

/// More places than this are not listed; a document with as many is refused anyway.
const MOST_PLACES: usize = 64;

/// All other places where a node's value stands because of aliases, each as its path and its
/// ordinals from the root.
pub fn other_places(document: &Document<'_>, node: NodeId) -> Vec<(String, Vec<usize>)> {
    let mut places = Vec::new();
    if !document.aliases().is_empty() {
        collect(document, node, "", &[], 0, &mut places);
    }
    places
}

/// `behind` is what follows the node on the way to the value.
fn collect(
    document: &Document<'_>,
    node: NodeId,
    behind: &str,
    ordinals_behind: &[usize],
    depth: usize,
    places: &mut Vec<(String, Vec<usize>)>,
) {
    let (path, ordinals) = (document.path(node), document.ordinals(node));
    for outer in document.ancestry(node) {
        let Some(anchor) = document.node(outer).properties.anchor else { continue };
        let inside = path.strip_prefix(document.path(outer).as_str()).unwrap_or(&path);
        let inside_ordinals = &ordinals[document.ordinals(outer).len()..];
        let own = |alias: &NodeId| document.node(*alias).content == Content::Alias(anchor);
        for alias in document.aliases().iter().copied().filter(own) {
            if places.len() >= MOST_PLACES || depth >= MOST_PLACES {
                return;
            }
            let tail = format!("{inside}{behind}");
            let tail_ordinals = [inside_ordinals, ordinals_behind].concat();
            let mut at = document.ordinals(alias);
            at.extend(&tail_ordinals);
            places.push((format!("{}{tail}", document.path(alias)), at));
            collect(document, alias, &tail, &tail_ordinals, depth + 1, places);
        }
    }
}
