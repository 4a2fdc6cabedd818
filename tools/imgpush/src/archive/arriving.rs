//! Bytes that arrive asynchronously, for a reader on a thread.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::error::PushError;

/// The reader's end of a channel of bytes.
pub struct Arriving {
    receiver: mpsc::Receiver<Result<Bytes, PushError>>,
    rest: Bytes,
}

impl Arriving {
    /// Reads what comes until the channel is closed.
    pub const fn new(receiver: mpsc::Receiver<Result<Bytes, PushError>>) -> Self {
        Self { receiver, rest: Bytes::new() }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let size = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}
