//! The engine's export, for a reader on a thread of its own.

use std::io::{self, Read};
use std::pin::Pin;

use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::error::PushError;
use crate::progress::Progress;

/// An image as `docker save` writes it.
///
/// The reader's thread drives the connection itself: engines send pieces of 32 kB, and to hand each to another thread costs
/// more than to read it.
pub struct Export {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, PushError>> + Send>>,
    progress: Progress,
    driver: Option<Runtime>,
    rest: Bytes,
}

impl Export {
    pub(super) fn new(
        pieces: impl Stream<Item = Result<Bytes, PushError>> + Send + 'static,
        progress: Progress,
    ) -> Self {
        Self { pieces: Box::pin(pieces), progress, driver: None, rest: Bytes::new() }
    }

    fn next(&mut self) -> io::Result<Option<Result<Bytes, PushError>>> {
        let next = self.pieces.next();
        if let Some(driver) = &self.driver {
            return Ok(driver.block_on(next));
        }
        let driver = self.driver.insert(Builder::new_current_thread().enable_all().build()?);
        // The engine writes all of it to its disk before the first byte.
        Ok(driver.block_on(self.progress.while_waiting("the engine prepares its export", next)))
    }
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.next()? {
                None => return Ok(0),
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let size = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}
