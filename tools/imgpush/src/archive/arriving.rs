//! Bytes that arrive in pieces, for a reader on a thread.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};

/// Pieces, read one after the other.
pub struct Arriving<Pieces> {
    pieces: Pieces,
    rest: Bytes,
}

impl<Pieces: Iterator<Item = io::Result<Bytes>>> Arriving<Pieces> {
    /// Reads what comes until there are no more.
    pub const fn new(pieces: Pieces) -> Self {
        Self { pieces, rest: Bytes::new() }
    }
}

impl<Pieces: Iterator<Item = io::Result<Bytes>>> Read for Arriving<Pieces> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.next() {
                None => return Ok(0),
                Some(piece) => self.rest = piece?,
            }
        }
        let size = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}
