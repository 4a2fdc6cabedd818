//! From bytes to lines and columns.

use std::cell::Cell;
use std::fmt;

/// A place in a file, as editors count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Tells the positions of bytes. Asked in the order of the text, it reads the text once.
#[derive(Debug)]
pub struct Positions<'t> {
    text: &'t str,
    start: Position,
    last: Cell<(usize, Position)>,
}

impl<'t> Positions<'t> {
    /// Those of a text that begins on this line, from 1.
    pub const fn of(text: &'t str, line: usize) -> Self {
        let start = Position { line, column: 1 };
        Self { text, start, last: Cell::new((0, start)) }
    }

    /// The position of a byte.
    pub fn at(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let (from, Position { line, column }) = match self.last.get() {
            last @ (from, _) if from <= offset => last,
            _ => (0, self.start),
        };
        let between = &self.text[from..offset];
        let position = match between.rfind('\n') {
            Some(last) => Position {
                line: line + between.bytes().filter(|&c| c == b'\n').count(),
                column: between[last + 1..].chars().count() + 1,
            },
            None => Position { line, column: column + between.chars().count() },
        };
        self.last.set((offset, position));
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_any_order() {
        let text = "é: 1\n\nab\n";
        let positions = Positions::of(text, 7);
        for (offset, line, column) in
            [(0, 7, 1), (2, 7, 2), (1, 7, 1), (6, 8, 1), (8, 9, 2), (3, 7, 3), (99, 10, 1)]
        {
            assert_eq!(positions.at(offset), Position { line, column }, "{offset}");
        }
    }
}
