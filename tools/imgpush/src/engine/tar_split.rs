//! A layer's tar archive, put together again from its files and from what was between them.
//!
//! Engines keep the files of a layer unpacked, and of the archive that they came in only what is not a file's content, in
//! its order (`github.com/vbatts/tar-split`, `tar/storage/entry.go`): one JSON document a line, either bytes or the name of
//! a file whose content stood there.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use serde::Deserialize;

/// Bytes of the longest line: more than stands between two files of any archive.
const LONGEST_LINE: u64 = 16 << 20;

/// The archive, to be read.
pub struct TarSplit {
    records: BufReader<MultiGzDecoder<File>>,
    files: File,
    line: Vec<u8>,
    now: Part,
}

/// What is read of it now.
enum Part {
    /// What was between two files, from an offset on.
    Between(Vec<u8>, usize),
    /// A file's content, with so many bytes to go.
    File(File, u64),
}

#[derive(Deserialize)]
struct Record<'a> {
    r#type: u8,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    /// The name in base64, where it is no text.
    #[serde(borrow, default)]
    name_raw: Option<Cow<'a, str>>,
    #[serde(default)]
    size: u64,
    /// Bytes between files, or a file's checksum.
    #[serde(borrow, default)]
    payload: Option<Cow<'a, str>>,
}

/// Kinds of records.
const FILE: u8 = 1;
const BETWEEN: u8 = 2;

impl TarSplit {
    /// From the records, and the folder with the files. An error where the system can't keep to that folder.
    pub(super) fn new(records: File, files: File) -> io::Result<Self> {
        // Linux before 5.6 has no openat2, and containers may not be allowed to use it.
        openat2(&files, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), WITHIN)?;
        let records = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(records));
        Ok(Self { records, files, line: Vec::new(), now: Part::Between(Vec::new(), 0) })
    }

    /// Begins what comes next; `false` at the end.
    fn begin_next(&mut self) -> io::Result<bool> {
        self.line.clear();
        (&mut self.records).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        let record: Record<'_> = serde_json::from_slice(&self.line)?;
        let decoded = |text: &str| STANDARD.decode(text).map_err(io::Error::other);
        match record.r#type {
            BETWEEN => self.now = Part::Between(decoded(&record.payload.unwrap_or_default())?, 0),
            FILE if record.size > 0 => {
                let name = match &record.name_raw {
                    Some(raw) => Cow::from(decoded(raw)?),
                    None => Cow::from(record.name.as_deref().unwrap_or_default().as_bytes()),
                };
                let file = open(&self.files, &cleaned(&name)).map_err(|cause| {
                    io::Error::other(format!("{}: {cause}", String::from_utf8_lossy(&name)))
                })?;
                self.now = Part::File(file, record.size);
            }
            FILE => {}
            kind => return Err(io::Error::other(format!("a record of kind {kind}"))),
        }
        Ok(true)
    }
}

/// A name as Go's `filepath.Join` cleans it, by which engines find the file: without asking what is there.
fn cleaned(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|c| *c == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Whatever links a layer has, they lead to nothing beyond its folder.
const WITHIN: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// Opens a regular file of the layer.
fn open(files: &File, name: &[u8]) -> io::Result<File> {
    // A pipe in the file's place is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let name = OsStr::from_bytes(name);
    let unlinked = openat2(files, name, flags, Mode::empty(), WITHIN | ResolveFlags::NO_SYMLINKS);
    match unlinked.map(File::from) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Err(Errno::LOOP) => {
            // It may lead to a device, for which to be opened is not nothing: it is looked at first.
            let found =
                File::from(openat2(files, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), WITHIN)?);
            if found.metadata()?.is_file() {
                return File::open(format!("/proc/self/fd/{}", found.as_raw_fd()));
            }
            Err(no_file())
        }
        Ok(_) => Err(no_file()),
        Err(error) => Err(error.into()),
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is no file any more")
}

impl Read for TarSplit {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.now {
                Part::Between(bytes, done) if *done < bytes.len() => {
                    let size = buffer.len().min(bytes.len() - *done);
                    buffer[..size].copy_from_slice(&bytes[*done..*done + size]);
                    *done += size;
                    return Ok(size);
                }
                Part::File(file, left) if *left > 0 => {
                    let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let size = file.read(&mut buffer[..most])?;
                    if size == 0 && most > 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "a file is shorter than it was",
                        ));
                    }
                    *left -= size as u64;
                    return Ok(size);
                }
                _ => {}
            }
            if !self.begin_next()? {
                return Ok(0);
            }
        }
    }
}
