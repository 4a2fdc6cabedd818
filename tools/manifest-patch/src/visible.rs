//! Texts of manifests, as lines for people may show them.

use std::borrow::Cow;

/// The text with control characters, and what turns the direction of writing, as escapes: a terminal obeys them, and a
/// line break makes two records of one.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_unseen(c) => out.push(c),
            c if u32::from(c) < 0x100 => out.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_seen_is_escaped() {
        assert_eq!(visible("é 漢字: \u{1b}[2J\n\u{85}\u{202e}\t"), "é 漢字: \\x1b[2J\\n\\x85\\u{202e}\\t");
        assert!(matches!(visible("app:1"), Cow::Borrowed("app:1")));
    }
}
