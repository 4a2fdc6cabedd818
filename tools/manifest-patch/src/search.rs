//! Bytes and words found in a text.
//!
//! `memchr` begins with asking the processor what it can do. A virtual machine takes longer to answer than a small text
//! takes to be searched without.

use memchr::arch::all::rabinkarp;
use memchr::{memchr_iter, memmem};

/// Up to so many bytes are searched byte by byte.
const SMALL: usize = 16 * 1024;

/// How texts are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Byte by byte.
    Plain,
    /// With the processor's vector instructions.
    Quick,
}

impl Search {
    /// The way that is faster for so many bytes.
    pub const fn of(bytes: usize) -> Self {
        if bytes <= SMALL { Self::Plain } else { Self::Quick }
    }

    /// Where a byte stands.
    pub fn places(self, byte: u8, text: &[u8]) -> impl Iterator<Item = usize> {
        let plain = (self == Self::Plain).then(|| {
            let all = text.iter().enumerate();
            all.filter(move |(_, c)| **c == byte).map(|(at, _)| at)
        });
        let quick = (self == Self::Quick).then(|| memchr_iter(byte, text));
        plain.into_iter().flatten().chain(quick.into_iter().flatten())
    }

    /// Looks for a word.
    pub fn word(self, word: &[u8]) -> Word<'_> {
        match self {
            Self::Plain => Word::Plain(word, rabinkarp::Finder::new(word)),
            Self::Quick => Word::Quick(Box::new(memmem::Finder::new(word))),
        }
    }
}

/// A word to be found in several texts.
#[derive(Debug)]
pub enum Word<'w> {
    /// Byte by byte.
    Plain(&'w [u8], rabinkarp::Finder),
    /// With the processor's vector instructions.
    Quick(Box<memmem::Finder<'w>>),
}

impl Word<'_> {
    /// Where it first stands.
    pub fn first(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Plain(word, finder) => finder.find(text, word),
            Self::Quick(finder) => finder.find(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same() {
        let text = b"- a: b\n- aa: b\n---\nb";
        for word in [
            "a",
            "aa: ",
            "---",
            "\nb",
            "c",
            "- a: b\n- aa: b\n---\nb",
            "longer than the text that is searched",
        ] {
            let found = [Search::Plain, Search::Quick].map(|search| search.word(word.as_bytes()).first(text));
            assert_eq!(found[0], found[1], "{word}");
        }
        for byte in *b"ab\n:x" {
            let [plain, quick] = [Search::Plain, Search::Quick]
                .map(|search| search.places(byte, text).collect::<Vec<usize>>());
            assert_eq!(plain, quick, "{byte}");
        }
    }
}
