//! Three checks of an edit, each of which sees what the others can't.
//!
//! 1. Bytes: what is outside the edited ranges is the same.
//! 2. Events: the parser that located the values reads the same nodes, but for those values.
//! 3. Meaning: another parser loads the same values, but for those that were meant, also where aliases
//!    repeat them.

use crate::meaning::Meaning;
use crate::refusal::Refusal;
use crate::yaml::scalar::Splice;
use crate::yaml::{Content, Document, Granit, NodeId, Style};

/// The checks that an edit has passed, as the proof names them.
pub const ALL: [&str; 3] = ["bytes", "events", "meaning"];

/// One value to be replaced.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Which of the text's documents it is in.
    pub document: usize,
    /// The node.
    pub node: NodeId,
    /// What it shall say.
    pub value: String,
    /// The bytes that make it say so.
    pub splice: Splice,
    /// Ordinals of all places where the value stands.
    pub places: Vec<Vec<usize>>,
}

/// The text with bytes replaced; the splices are in the order of their bytes and don't overlap.
pub fn spliced<'s>(text: &str, splices: impl IntoIterator<Item = &'s Splice>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut at = 0;
    for splice in splices {
        out.push_str(&text[at..splice.bytes.start]);
        out.push_str(&splice.text);
        at = splice.bytes.end;
    }
    out.push_str(&text[at..]);
    out
}

/// Compares the text before and after. `documents` are those of `before`; the edits are in the order
/// of their bytes.
pub fn verify(before: &str, documents: &[Document<'_>], after: &str, edits: &[Edit]) -> Result<(), Refusal> {
    let failed = |what: String| Refusal::Verification(what);
    bytes(before, after, edits.iter().map(|edit| &edit.splice)).map_err(failed)?;
    events(documents, after, edits).map_err(failed)?;
    meaning(before, documents, after, edits)
}

/// Whether the texts are the same but for the splices.
pub fn bytes<'s>(
    before: &str,
    after: &str,
    splices: impl IntoIterator<Item = &'s Splice>,
) -> Result<(), String> {
    let (mut rest_before, mut rest_after, mut at) = (before, after, 0);
    for splice in splices {
        let untouched = splice.bytes.start.checked_sub(at).ok_or("edits overlap")?;
        let (same, tail) = rest_before.split_at_checked(untouched).ok_or("an edit is outside the text")?;
        rest_after = rest_after.strip_prefix(same).ok_or("bytes in front of an edit differ")?;
        rest_after = rest_after.strip_prefix(splice.text.as_str()).ok_or("an edit was not made")?;
        rest_before = tail.get(splice.bytes.len()..).ok_or("an edit is outside the text")?;
        at = splice.bytes.end;
    }
    if rest_before == rest_after { Ok(()) } else { Err("bytes behind the last edit differ".to_owned()) }
}

fn events(documents: &[Document<'_>], after: &str, edits: &[Edit]) -> Result<(), String> {
    let edited = Document::read_all::<Granit<'_>>(after)
        .map_err(|error| format!("the text is no longer YAML: {}", error.message))?;
    if edited.len() != documents.len() {
        return Err("the number of documents changed".to_owned());
    }
    let mut rest = edits;
    for (number, (before, after)) in documents.iter().zip(&edited).enumerate() {
        let own = rest.partition_point(|edit| edit.document == number);
        let (own, others) = rest.split_at(own);
        rest = others;
        same_nodes(before, after, own)
            .ok_or_else(|| "the parser reads something else than the new values".to_owned())?;
    }
    Ok(())
}

/// Whether the nodes are the same but for the edited ones; an edited node is a scalar afterwards.
fn same_nodes(before: &Document<'_>, after: &Document<'_>, edits: &[Edit]) -> Option<()> {
    // Where each node went, to compare what holds it.
    let mut moved = vec![usize::MAX; before.nodes().len()];
    let (mut old, mut new, mut next_edit) = (0, 0, 0);
    while let Some(node) = before.nodes().get(old) {
        let now = after.nodes().get(new)?;
        moved[old] = new;
        let edit = edits.get(next_edit).filter(|edit| edit.node == old);
        let same_content = if let Some(edit) = edit {
            next_edit += 1;
            matches!(&now.content, Content::Scalar { value, style } if is_meant(value, *style, edit))
        } else {
            now.content == node.content
        };
        let same_parent = before.parent(old).map(|parent| moved[parent]) == after.parent(new);
        if !same_content || !same_parent || now.properties != node.properties {
            return None;
        }
        old = if edit.is_some() { node.end } else { old + 1 };
        new += 1;
    }
    (new == after.nodes().len() && next_edit == edits.len()).then_some(())
}

/// A block scalar may end in the line breaks that it ended in before.
fn is_meant(value: &str, style: Style, edit: &Edit) -> bool {
    match style {
        Style::Literal | Style::Folded => value.trim_matches('\n') == edit.value,
        Style::Plain | Style::SingleQuoted | Style::DoubleQuoted => value == edit.value,
    }
}

fn meaning(before: &str, documents: &[Document<'_>], after: &str, edits: &[Edit]) -> Result<(), Refusal> {
    let mut meant = Meaning::read_all(before).map_err(Refusal::SecondReader)?;
    let read = Meaning::read_all(after)
        .map_err(|error| Refusal::Verification(format!("the second YAML reader can't read it: {error}")))?;
    if meant.len() != documents.len() {
        return Err(Refusal::SecondReader("it counts another number of documents".to_owned()));
    }
    for edit in edits {
        for place in &edit.places {
            let value = meant.get_mut(edit.document).and_then(|root| root.descend(place));
            let value =
                value.ok_or_else(|| Refusal::SecondReader("it finds no value in that place".to_owned()))?;
            let read_first =
                documents[edit.document].text_of(edit.node).map(|text| text.trim_end_matches('\n'));
            if value.as_text().zip(read_first).is_some_and(|(old, first)| old.trim_end_matches('\n') != first)
            {
                return Err(Refusal::SecondReader("it reads another value in that place".to_owned()));
            }
            let block = matches!(
                documents[edit.document].node(edit.node).content,
                Content::Scalar { style: Style::Literal | Style::Folded, .. }
            );
            let old = value.as_text().filter(|_| block).unwrap_or_default();
            let breaks = |text: &str| text.chars().take_while(|&c| c == '\n').count();
            let front = "\n".repeat(breaks(old));
            let back = if old.trim_matches('\n').is_empty() {
                String::new()
            } else {
                "\n".repeat(old.chars().rev().take_while(|&c| c == '\n').count())
            };
            *value = Meaning::Text(format!("{front}{}{back}", edit.value));
        }
    }
    if meant == read {
        Ok(())
    } else {
        Err(Refusal::Verification("the second YAML reader sees other changes too".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the edit of the value of `image` to `value`, written as `text`, of which `after` is said to come.
    fn checked(before: &str, value: &str, text: &str, after: Option<&str>) -> Result<(), String> {
        let documents = Document::read_all::<Granit<'_>>(before).unwrap();
        let node = documents[0].get(Document::ROOT, "image").unwrap();
        let splice = Splice { bytes: documents[0].node(node).bytes.clone(), text: text.to_owned() };
        let places = vec![documents[0].ordinals(node)];
        let edits = [Edit { document: 0, node, value: value.to_owned(), splice, places }];
        let made = spliced(before, edits.iter().map(|edit| &edit.splice));
        verify(before, &documents, after.unwrap_or(&made), &edits).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_right_edit_passes() {
        for text in ["app:2", "'app:2'", "\"app:2\""] {
            assert_eq!(checked("x: 1\nimage: app:1 # c\n", "app:2", text, None), Ok(()));
        }
    }

    #[test]
    fn other_bytes_are_seen() {
        let before = "x: 1\nimage: app:1 # c\n";
        for (after, seen) in [
            ("x:  1\nimage: app:2 # c\n", "bytes in front of an edit differ"),
            ("x: 1\nimage: app:3 # c\n", "an edit was not made"),
            ("x: 1\nimage: app:2 # d\n", "bytes behind the last edit differ"),
            ("x: 1\nimage: app:2 # c", "bytes behind the last edit differ"),
        ] {
            let error = checked(before, "app:2", "app:2", Some(after)).unwrap_err();
            assert!(error.contains(seen), "{error}");
        }
    }

    #[test]
    fn other_nodes_are_seen() {
        for (text, seen) in [
            ("app:2\nx: 2", "reads something else"),
            ("app: 2", "no longer YAML"),
            ("[app:2]", "reads something else"),
            ("&a app:2", "reads something else"),
            ("!t app:2", "reads something else"),
            ("app:2\n---\nx: 1", "number of documents"),
            ("app:3", "reads something else"),
        ] {
            let result = checked("image: app:1\n", "app:2", text, None);
            assert!(result.as_ref().is_err_and(|error| error.contains(seen)), "{text}: {result:?}");
        }
    }

    #[test]
    fn other_meanings_are_seen() {
        for plain in ["1.10", "true", "~", "0x1F"] {
            let error = checked("image: app:1\n", plain, plain, None).unwrap_err();
            assert!(error.contains("the second YAML reader sees other changes too"), "{error}");
            assert_eq!(checked("image: app:1\n", plain, &format!("'{plain}'"), None), Ok(()));
        }
        // The places do not tell of the alias.
        let error = checked("image: &i app:1\ncopy: *i\n", "app:2", "app:2", None).unwrap_err();
        assert!(error.contains("the second YAML reader sees other changes too"), "{error}");
    }
}
