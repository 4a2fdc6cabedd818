//! Layers, compressed on every core.
//!
//! A layer is cut into blocks of fixed size, and each becomes a gzip member of its own (RFC 1952, 2.2: members
//! simply follow one another). The result does not depend on the number of threads, so the same layer has the same
//! digest on every machine.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use libdeflater::{CompressionLvl, Compressor};

use crate::error::PushError;

/// Bytes of a layer in one gzip member.
pub const BLOCK: usize = 1 << 20;

/// The size that docker's own level 6 reaches, in a quarter of its time.
pub const DEFAULT_LEVEL: u8 = 3;

/// The blocks as gzip members, in their order, compressed on as many threads.
pub fn gzip(
    blocks: impl Stream<Item = Result<Bytes, PushError>>,
    level: u8,
    threads: usize,
) -> impl Stream<Item = Result<Bytes, PushError>> {
    blocks
        .map(move |block| async move {
            let block = block?;
            tokio::task::spawn_blocking(move || member(&block, level))
                .await
                .map_err(|error| PushError::Compression(error.to_string()))?
        })
        .buffered(threads)
}

fn member(block: &[u8], level: u8) -> Result<Bytes, PushError> {
    let failed = |error: String| PushError::Compression(error);
    let level = CompressionLvl::new(i32::from(level)).map_err(|error| failed(format!("{error:?}")))?;
    let mut compressor = Compressor::new(level);
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let size = compressor.gzip_compress(block, &mut member).map_err(|error| failed(error.to_string()))?;
    member.truncate(size);
    // What waits to be sent must not hold the bound's memory too.
    member.shrink_to_fit();
    Ok(member.into())
}
