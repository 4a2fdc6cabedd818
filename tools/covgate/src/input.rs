//! A report's bytes: found, opened, decoded to UTF-8 and read in blocks of a fixed size.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use encoding_rs_io::DecodeReaderBytesBuilder;
use step::{Failure, FailureKind};

/// How much is read at a time.
const BLOCK: usize = 256 * 1024;

/// The largest report; a stream without an end is none.
const MAX_REPORT: u64 = 16 * 1024 * 1024 * 1024;

/// How much of a report is looked at to tell its format.
const HEAD: usize = 64 * 1024;

/// The reports that coverage tools leave in a folder, most telling first. Several of them in one
/// folder stem from one run, so the first that is there is read.
const NAMES_IN_A_FOLDER: [&str; 18] = [
    "index.html",
    "coverage.json",
    "coverage.xml",
    "cobertura.xml",
    "cobertura-coverage.xml",
    "coverage.cobertura.xml",
    "jacoco.xml",
    "jacocoTestReport.xml",
    "clover.xml",
    "coverage-final.json",
    "coverage-summary.json",
    "lcov.info",
    "coverage.info",
    "coverage.lcov",
    ".resultset.json",
    ".last_run.json",
    "coverage.out",
    "cover.out",
];

/// Where a report is: a file, or stdin.
#[derive(Debug, Clone)]
pub struct Source {
    path: Option<PathBuf>,
    /// How messages name it.
    pub name: String,
}

impl Source {
    /// The report that an argument means: `-` is stdin, a folder stands for the report in it.
    pub fn locate(argument: &Path) -> Result<Self, Failure> {
        if argument.as_os_str() == "-" {
            return Ok(Self { path: None, name: "stdin".to_owned() });
        }
        let path = if argument.is_dir() { report_in(argument)? } else { argument.to_owned() };
        Ok(Self { name: path.display().to_string(), path: Some(path) })
    }

    /// The folder that it lies in; nothing is known of stdin's.
    pub fn folder(&self) -> Option<PathBuf> {
        let folder = self.path.as_ref()?.parent()?;
        (if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).canonicalize().ok()
    }

    /// Whether it is a file that stays, and no pipe.
    pub fn can_be_read_again(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.is_file())
    }

    /// Opens it; stdin can be opened once.
    pub fn open(&self) -> io::Result<Input> {
        match &self.path {
            None => Input::new(Box::new(io::stdin().lock())),
            Some(path) => Input::new(Box::new(File::open(path)?)),
        }
    }
}

fn report_in(folder: &Path) -> Result<PathBuf, Failure> {
    let named = NAMES_IN_A_FOLDER.iter().map(|name| folder.join(name)).find(|path| {
        // Other tools' index.html are pages for people only.
        path.is_file() && (!path.ends_with("index.html") || is_index_of_coverage_py(path))
    });
    named.ok_or_else(|| {
        let html = folder.join("index.html").is_file();
        let message = format!("no coverage report in {}", folder.display());
        Failure::message(FailureKind::Input, message).hint(if html {
            "its index.html is not coverage.py's; name another report that the tool wrote, such as coverage.xml or lcov.info"
        } else {
            "did the job that writes the report run, and was its report copied here? A file of any name can be named itself"
        })
    })
}

fn is_index_of_coverage_py(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    read.is_ok() && crate::format::coverage_html::fits(&head)
}

/// An open report: UTF-8 from its first byte on, in blocks.
pub struct Input {
    inner: Box<dyn Read>,
    block: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
    /// How many bytes may still be read before [`Self::allow`] has to be called again.
    allowance: u64,
    /// Where the report has to have ended.
    limit: u64,
}

impl Input {
    /// Reads from any source. UTF-16 is told by its byte order mark, other encodings by the XML declaration.
    pub fn new(mut raw: Box<dyn Read>) -> io::Result<Self> {
        let mut head = Vec::with_capacity(512);
        raw.by_ref().take(512).read_to_end(&mut head)?;
        let encoding = encoding_of(&head);
        let whole: Box<dyn Read> = Box::new(io::Cursor::new(head).chain(raw));
        let inner: Box<dyn Read> = match encoding {
            None => whole,
            Some(encoding) => Box::new(
                DecodeReaderBytesBuilder::new().encoding(Some(encoding)).bom_override(true).build(whole),
            ),
        };
        let block = vec![0; BLOCK].into_boxed_slice();
        Ok(Self { inner, block, start: 0, end: 0, offset: 0, allowance: u64::MAX, limit: MAX_REPORT })
    }

    /// The same, of a report that may have no more bytes than these.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The beginning of the report, as much of it as tells its format; nothing is consumed.
    pub fn head(&mut self) -> io::Result<&[u8]> {
        while self.end < HEAD {
            let read = read_some(&mut self.inner, &mut self.block[self.end..])?;
            if read == 0 {
                break;
            }
            self.end += read;
        }
        if self.offset == 0 && self.block[..self.end].starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
        Ok(&self.block[self.start..self.end])
    }

    /// What is left of the block in hand, without reading on.
    pub fn in_hand(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    /// How many bytes came before.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Lets so many bytes be read from here; more of them are an error of the kind `FileTooLarge`.
    /// This bounds what a parser collects for one event.
    pub const fn allow(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// The next line, with its end where it has one, up to `limit` bytes; empty at the end of the report.
    /// A line across two blocks is put together in `spill`.
    pub fn next_line<'a>(&'a mut self, spill: &'a mut Vec<u8>, limit: u64) -> io::Result<&'a [u8]> {
        if let Some(at) = memchr::memchr(b'\n', self.in_hand()) {
            let start = self.start;
            self.consume(at + 1);
            return Ok(&self.block[start..self.start]);
        }
        spill.clear();
        self.allow(limit);
        self.read_until(b'\n', spill)?;
        self.allow(u64::MAX);
        Ok(spill)
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.allowance == 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a part of it is larger than in any real report",
            ));
        }
        if self.start == self.end {
            if self.offset >= self.limit {
                let limit = self.limit;
                return Err(io::Error::other(format!("it is larger than {limit} bytes, as no report is")));
            }
            self.start = 0;
            self.end = read_some(&mut self.inner, &mut self.block)?;
        }
        Ok(&self.block[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.allowance = self.allowance.saturating_sub(bytes as u64);
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The encoding to decode from, where it is not UTF-8.
fn encoding_of(head: &[u8]) -> Option<&'static Encoding> {
    // XML may leave the byte order mark out.
    match head {
        [b'<', 0, ..] => return Some(UTF_16LE),
        [0, b'<', ..] => return Some(UTF_16BE),
        _ => {}
    }
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return (encoding != UTF_8).then_some(encoding);
    }
    let declaration = head.strip_prefix(b"<?xml")?;
    let declaration = std::str::from_utf8(&declaration[..memchr::memmem::find(declaration, b"?>")?]).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next()?;
    let label = value.get(1..)?.split(quote).next()?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    // .NET declares UTF-16 in a string that is then written in UTF-8; here the declaration itself was read as UTF-8.
    (![UTF_8, UTF_16LE, UTF_16BE].contains(&encoding)).then_some(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_an_end_is_no_report() {
        let mut input = Input::new(Box::new(io::repeat(b'\n'))).unwrap().with_limit(1_000_000);
        let error = io::copy(&mut input, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1000000 bytes, as no report is");
    }
}
