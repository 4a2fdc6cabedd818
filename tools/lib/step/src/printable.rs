//! Text of others, as people may see it: names in files, subjects of commits and servers' messages can hold anything, and a
//! terminal obeys some of it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with its control characters escaped, line breaks too: `\x1b`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// The same for words that may have several lines of their own.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_control(character) && !matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        let _ = match u32::from(character) {
            0x09 | 0x0a | 0x0d if is_escaped(character) => write!(shown, "{}", character.escape_default()),
            code @ ..0x100 if is_escaped(character) => write!(shown, "\\x{code:02x}"),
            code if is_escaped(character) => write!(shown, "\\u{{{code:x}}}"),
            _ => write!(shown, "{character}"),
        };
    }
    Cow::Owned(shown)
}

/// Control characters, and those by which Unicode breaks lines and turns text round.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("src/naïve file.py"), "src/naïve file.py");
        assert_eq!(printable("a\x1b[2Kb\nc\u{9b}\u{7f}"), r"a\x1b[2Kb\nc\x9b\x7f");
        assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(printable_lines("a\n\tb\r"), "a\n\tb\\r");
    }
}
