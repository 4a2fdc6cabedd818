//! Layers, compressed on every core.
//!
//! A layer is cut into blocks of fixed size, and each becomes a gzip member of its own (RFC 1952, 2.2: members
//! simply follow one another). The result does not depend on the number of threads, so the same layer has the same
//! digest on every machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use libdeflater::{CompressionLvl, Compressor};

use crate::error::PushError;

/// Bytes of a layer in one gzip member.
pub const BLOCK: usize = 1 << 20;

/// The size that docker's own level 6 reaches, in a quarter of its time.
pub const DEFAULT_LEVEL: u8 = 3;

/// Blocks whose bytes were used, to be filled again: memory that the system must map anew for each costs as much time as a
/// good part of the work.
#[derive(Debug, Default)]
pub struct Blocks(Mutex<Vec<Vec<u8>>>);

/// Idle blocks that are kept: as many as are on their way to two threads.
const IDLE_BLOCKS: usize = 6;

impl Blocks {
    /// An empty block with room for [`BLOCK`] bytes.
    pub fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }

    /// Gives back one that nobody else uses.
    fn give(&self, block: Bytes) {
        let Ok(block) = block.try_into_mut() else { return };
        let mut block = Vec::from(block);
        block.clear();
        let mut idle = lock(&self.0);
        if idle.len() < IDLE_BLOCKS && block.capacity() >= BLOCK {
            idle.push(block);
        }
    }
}

/// A lock that a panicking thread held is as good as any: what is in it is idle.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How well layers are compressed, and on how many threads.
pub struct Compression {
    level: u8,
    threads: usize,
    idle: Mutex<Vec<Workspace>>,
    blocks: Arc<Blocks>,
}

/// What one thread needs to compress a block, used again for the same reason.
struct Workspace {
    compressor: Compressor,
    member: Vec<u8>,
}

impl Compression {
    /// At a level of 1 to 12, on at least one thread.
    pub fn new(level: u8, threads: usize) -> Self {
        Self { level, threads, idle: Mutex::default(), blocks: Arc::default() }
    }

    /// Where the blocks come from.
    pub fn blocks(&self) -> Arc<Blocks> {
        Arc::clone(&self.blocks)
    }

    /// The blocks as gzip members, in their order.
    pub fn gzip(
        self: Arc<Self>,
        blocks: impl Stream<Item = Result<Bytes, PushError>>,
    ) -> impl Stream<Item = Result<Bytes, PushError>> {
        let threads = self.threads;
        blocks
            .map(move |block| {
                let compression = Arc::clone(&self);
                async move {
                    let block = block?;
                    tokio::task::spawn_blocking(move || {
                        let member = compression.member(&block);
                        compression.blocks.give(block);
                        member
                    })
                    .await
                    .map_err(|error| PushError::Compression(error.to_string()))?
                }
            })
            .buffered(threads)
    }

    fn member(&self, block: &[u8]) -> Result<Bytes, PushError> {
        let rested = lock(&self.idle).pop();
        let mut workspace = rested.map_or_else(|| Workspace::new(self.level), Ok)?;
        let member = workspace.compress(block);
        let mut idle = lock(&self.idle);
        // Two layers may be under way at once.
        if idle.len() < self.threads {
            idle.push(workspace);
        }
        member
    }
}

impl Workspace {
    fn new(level: u8) -> Result<Self, PushError> {
        let level = CompressionLvl::new(i32::from(level))
            .map_err(|error| PushError::Compression(format!("{error:?}")))?;
        let mut compressor = Compressor::new(level);
        let member = vec![0; compressor.gzip_compress_bound(BLOCK)];
        Ok(Self { compressor, member })
    }

    fn compress(&mut self, block: &[u8]) -> Result<Bytes, PushError> {
        let size = self
            .compressor
            .gzip_compress(block, &mut self.member)
            .map_err(|error| PushError::Compression(error.to_string()))?;
        // What waits to be sent takes no more memory than it needs.
        Ok(Bytes::copy_from_slice(&self.member[..size]))
    }
}
