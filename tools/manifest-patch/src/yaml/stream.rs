//! A text cut into pieces that can be read on their own.
//!
//! A line that begins with `---` always ends a document (YAML 1.2.2, 9.1.2), whatever surrounds it,
//! so a stream of many documents is cut there. Where the number of documents in a piece could not
//! be told without parsing (`...`, directives, carriage returns as line breaks), nothing is cut.

use crate::search::Search;

/// A part of a text that holds whole documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The part.
    pub bytes: &'a [u8],
    /// Where it begins in the text.
    pub offset: usize,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The number of documents before it.
    pub document: usize,
}

impl<'a> Piece<'a> {
    /// A text in one piece.
    pub const fn whole(text: &'a [u8]) -> Self {
        Self { bytes: text, offset: 0, line: 1, document: 0 }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts a text at its document markers.
pub fn pieces(text: &[u8], search: Search) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut piece = Piece::whole(text);
    if holds_more_than_markers(text, search) {
        return vec![piece];
    }
    for (line, newline) in (2..).zip(search.places(b'\n', text)) {
        let next = newline + 1;
        if is_marker(&text[next..]) {
            piece.bytes = &text[piece.offset..next];
            pieces.push(piece);
            let documents = usize::from(piece.offset > 0 || holds_a_document(piece.bytes));
            piece = Piece { bytes: &text[next..], offset: next, line, document: piece.document + documents };
        }
    }
    pieces.push(piece);
    pieces
}

/// Whether the line is `---`, alone or followed by a blank.
fn is_marker(line: &[u8]) -> bool {
    line.starts_with(b"---") && line.get(3).is_none_or(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n'))
}

fn holds_more_than_markers(text: &[u8], search: Search) -> bool {
    let lone_return =
        || search.places(b'\r', text).any(|at| text.get(at + 1).is_some_and(|&next| next != b'\n'));
    let has = |what: &[u8]| search.word(what).first(text).is_some();
    text.starts_with(b"%")
        || text.starts_with(b"\xef\xbb\xbf%")
        || has(b"\n%")
        || has(b"\n...")
        || text.get(1..).is_some_and(|rest| search.word(BYTE_ORDER_MARK).first(rest).is_some())
        || lone_return()
}

/// Whether the first piece of a stream has anything but comments.
fn holds_a_document(piece: &[u8]) -> bool {
    let piece = piece.strip_prefix(BYTE_ORDER_MARK).unwrap_or(piece);
    piece.split(|&c| c == b'\n').any(|line| !matches!(line.trim_ascii_start().first(), None | Some(b'#')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Document, Granit};

    fn cut(text: &str) -> Vec<(usize, usize, &str)> {
        let text_of = |piece: Piece<'_>| {
            std::str::from_utf8(&text.as_bytes()[piece.offset..][..piece.bytes.len()]).map(str::len)
        };
        pieces(text.as_bytes(), Search::Plain)
            .into_iter()
            .map(|piece| (piece.document, piece.line, &text[piece.offset..][..text_of(piece).unwrap()]))
            .collect()
    }

    #[test]
    fn markers_cut_and_number_documents() {
        assert_eq!(cut("a: 1\n---\nb: 2\n"), [(0, 1, "a: 1\n"), (1, 2, "---\nb: 2\n")]);
        assert_eq!(cut("# c\n---\na: 1\n---\n"), [(0, 1, "# c\n"), (0, 2, "---\na: 1\n"), (1, 4, "---\n")]);
        assert_eq!(cut("\u{feff}---\na: 1\n--- b\n").len(), 2);
        assert_eq!(cut("a: |\n  ---\n ---\n----\n").len(), 1);
        assert_eq!(cut("").len(), 1);
    }

    #[test]
    fn what_can_not_be_counted_is_not_cut() {
        for whole in ["%YAML 1.2\n---\na\n---\nb\n", "a\n...\nb\n---\nc\n", "a: 1\rb: 2\n---\nc\n"] {
            assert_eq!(cut(whole).len(), 1, "{whole:?}");
        }
    }

    #[test]
    fn pieces_hold_as_many_documents_as_they_are_counted() {
        for text in
            ["a\n---\nb\n", "# c\n\n---\n# d\n---\nb\n---\n", "---\n---\n---\n", "--- a\n--- |\n x\n---\n"]
        {
            let pieces = pieces(text.as_bytes(), Search::Plain);
            let mut documents = 0;
            for piece in &pieces {
                assert_eq!(piece.document, documents, "{text:?}");
                let piece = std::str::from_utf8(piece.bytes).unwrap();
                documents += Document::read_all::<Granit<'_>>(piece).unwrap().len();
            }
            assert_eq!(documents, Document::read_all::<Granit<'_>>(text).unwrap().len());
        }
    }
}
