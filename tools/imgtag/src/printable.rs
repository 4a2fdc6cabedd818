//! Text of others, as people may see it: the subjects of commits can hold anything, and a terminal obeys
//! some of it.

use std::borrow::Cow;
use std::fmt::Write as _;

use step::Failure;

/// The text with its control characters escaped, line breaks too: `\x1b`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        let _ = match u32::from(character) {
            code @ ..0x100 if is_control(character) => write!(shown, "\\x{code:02x}"),
            code if is_control(character) => write!(shown, "\\u{{{code:x}}}"),
            _ => write!(shown, "{character}"),
        };
    }
    Cow::Owned(shown)
}

/// The same of a failure's words.
pub fn failure(failure: Failure) -> Failure {
    let message = failure.to_string();
    let hint = failure.hint_text().unwrap_or_default();
    if !message.contains(is_control) && !hint.contains(is_control) {
        return failure;
    }
    let shown = Failure::message(failure.kind(), printable(&message));
    if hint.is_empty() { shown } else { shown.hint(printable(hint)) }
}

/// Control characters, and those by which Unicode breaks lines and turns text round.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("src/naïve file.py"), "src/naïve file.py");
        assert_eq!(printable("a\x1b[2Kb\nc\u{9b}\u{7f}"), r"a\x1b[2Kb\x0ac\x9b\x7f");
        assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
    }
}
