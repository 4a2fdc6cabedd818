//! Text as XML and HTML take it.

use quick_xml::escape::escape;

/// Text for an attribute or an element, without the characters that XML has no place for.
pub(super) fn text(text: &str) -> String {
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    escape(text.chars().filter(allowed).collect::<String>()).into_owned()
}
