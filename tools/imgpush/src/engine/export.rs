//! The engine's export, for a reader on a thread of its own.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::error::PushError;
use crate::progress::Progress;

/// An image as `docker save` writes it, in pieces.
///
/// The reader's thread drives the connection itself: engines send pieces of 32 kB, and to hand each to another thread costs
/// more than to read it.
pub struct Export {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, PushError>> + Send>>,
    progress: Progress,
    driver: Option<Runtime>,
}

impl Export {
    pub(super) fn new(
        pieces: impl Stream<Item = Result<Bytes, PushError>> + Send + 'static,
        progress: Progress,
    ) -> Self {
        Self { pieces: Box::pin(pieces), progress, driver: None }
    }

    fn piece(&mut self) -> io::Result<Option<Result<Bytes, PushError>>> {
        let next = self.pieces.next();
        if let Some(driver) = &self.driver {
            return Ok(driver.block_on(next));
        }
        let driver = self.driver.insert(Builder::new_current_thread().enable_all().build()?);
        // The engine writes all of it to its disk before the first byte.
        Ok(driver.block_on(self.progress.while_waiting("the engine prepares its export", next)))
    }
}

impl Iterator for Export {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose().map(|piece| piece?.map_err(io::Error::other))
    }
}
