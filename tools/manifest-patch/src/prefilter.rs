//! Texts that can't hold what is meant, told without parsing them.

use memchr::{memchr_iter, memmem};

use crate::select::Target;

/// Texts of which one must stand in what is meant. `None` where that can't be said.
pub struct Needles<'r>(Option<Vec<memmem::Finder<'r>>>);

impl<'r> Needles<'r> {
    /// Those of the targets.
    pub fn of(targets: &'r [Target]) -> Self {
        Self(targets.iter().map(|target| target.needle().map(memmem::Finder::new)).collect())
    }

    /// Whether one of the texts is there, or may be hidden by an escape in double quotes.
    pub fn may_be_in(&self, text: &[u8]) -> bool {
        let Some(needles) = &self.0 else { return true };
        needles.iter().any(|needle| needle.find(text).is_some())
            || memchr_iter(b'\\', text)
                .any(|at| matches!(text.get(at + 1), Some(b'x' | b'u' | b'U' | b'\r' | b'\n')))
    }
}
