//! Results, on stdout: one record a line, nothing else.

use std::io::{self, Write};

use crate::{Failure, FailureKind};

/// The stdout of a tool.
///
/// A reader that has gone away (`| head -1`) ends the output quietly and leaves the exit status
/// alone; any other fault, such as a full disk, is a failure. SIGPIPE stays ignored, because the
/// tools also write to sockets.
pub struct Records {
    sink: Box<dyn Write + Send>,
    closed: bool,
}

impl Records {
    pub(crate) fn stdout() -> Self {
        Self { sink: Box::new(io::BufWriter::with_capacity(64 * 1024, io::stdout())), closed: false }
    }

    /// One record and its newline.
    pub fn line(&mut self, record: impl AsRef<str>) -> Result<(), Failure> {
        let record = record.as_ref();
        debug_assert!(!record.contains('\n'), "a record is one line");
        self.bytes(record.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A document that is not made of lines of ours: a manifest, a picture.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let result = self.sink.write_all(bytes);
        self.settle(result)
    }

    /// Sends on what is buffered; a stream of events does so after each.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let result = self.sink.flush();
        self.settle(result)
    }

    /// Whether the reader has gone away.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => {
                self.closed = true;
                Err(Failure::new(FailureKind::Output, error).context("can't write to stdout"))
            }
            Ok(()) => Ok(()),
        }
    }
}
