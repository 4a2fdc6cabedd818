//! Texts that can't hold what is meant, told without parsing them.

use crate::search::{Search, Word};
use crate::select::Target;

/// Texts of which one must stand in what is meant. `None` where that can't be said.
pub struct Needles<'r> {
    search: Search,
    words: Option<Vec<Word<'r>>>,
}

impl<'r> Needles<'r> {
    /// Those of the targets.
    pub fn of(targets: &'r [Target], search: Search) -> Self {
        let word = |target: &'r Target| target.needle().map(|needle| search.word(needle.as_bytes()));
        Self { search, words: targets.iter().map(word).collect() }
    }

    /// Whether one of the texts is there, or may be hidden by an escape in double quotes.
    pub fn may_be_in(&self, text: &[u8]) -> bool {
        let Some(words) = &self.words else { return true };
        words.iter().any(|word| word.first(text).is_some())
            || self
                .search
                .places(b'\\', text)
                .any(|at| matches!(text.get(at + 1), Some(b'x' | b'u' | b'U' | b'\r' | b'\n')))
    }
}
