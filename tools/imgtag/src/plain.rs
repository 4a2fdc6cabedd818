//! HEAD of a plain clone, read straight from its files.
//!
//! A pipeline asks for this nearly always, and it takes few reads: HEAD, its branch, and of each pack's index the
//! fan-out table and the ids that begin with the same byte (gitformat-pack(5), "Version 2 pack-*.idx files").
//! Whatever is not plain (settings that bear on ids, alternates, a multi-pack index, a worktree, sha256, anything
//! broken) is [`NotPlain`], and the Git library answers and words the errors.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// HEAD's commit, and what the length of its abbreviation depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The full id, in hexadecimal digits.
    pub id: String,
    /// How many objects are in packs.
    pub packed: u64,
    /// How many digits it takes that no other object's id begins with them.
    pub unique: usize,
    /// Whether the clone is shallow.
    pub shallow: bool,
}

/// The clone has to be read by the Git library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPlain;

impl From<io::Error> for NotPlain {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// What an id of sha1 has.
const BYTES: usize = 20;
type Id = [u8; BYTES];

/// In small letters, what is in every setting that bears on abbreviations or on where objects are.
const BEARING: [&str; 4] = ["abbrev", "include", "extensions", "worktree"];

/// More bytes than settings or packed references have in a plain clone.
const FILE_LIMIT: u64 = 1 << 20;

/// The signature and the version that an index of a pack begins with.
const INDEX: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// What comes next: a count of objects for each first byte.
const FAN_OUT: usize = 4 * 256;
/// Where an index has its ids.
const IDS: u64 = (INDEX.len() + FAN_OUT) as u64;
/// What an index has of each object: id, checksum and offset.
const ENTRY: u64 = BYTES as u64 + 4 + 4;
/// The checksums that an index ends with.
const TRAILER: u64 = 2 * BYTES as u64;
/// So many ids are read at once; more of them are halved first.
const AT_ONCE: usize = 128;

/// HEAD of the clone in `folder` itself, which may be bare; `settings` are the files that git reads besides its own.
pub fn head(folder: &Path, settings: &[PathBuf]) -> Result<Head, NotPlain> {
    let directory = directory(folder)?;
    for file in settings.iter().chain([&directory.join("config")]) {
        if let Some(text) = contents(file)? {
            let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
            if BEARING.iter().any(|name| text.contains(name)) {
                return Err(NotPlain);
            }
        }
    }
    let id = branch_tip(&directory)?;
    let objects = directory.join("objects");
    if is_there(&objects.join("info/alternates"))? {
        return Err(NotPlain);
    }
    let mut search = Search { id, found: false, shared: 0, packed: 0 };
    for index in indexes(&objects.join("pack"))? {
        search.pack(&File::open(index)?)?;
    }
    let text = hex(&id);
    search.loose(&objects.join(&text[..2]), &text)?;
    if !search.found {
        return Err(NotPlain);
    }
    let shallow = contents(&directory.join("shallow"))?.is_some_and(|list| !list.is_empty());
    Ok(Head { id: text, packed: search.packed, unique: search.shared + 1, shallow })
}

/// The repository of a clone.
fn directory(folder: &Path) -> Result<PathBuf, NotPlain> {
    let inside = folder.join(".git");
    let directory = match fs::metadata(&inside) {
        Ok(file) if file.is_dir() => inside,
        Err(error) if error.kind() == ErrorKind::NotFound => folder.to_owned(),
        _ => return Err(NotPlain),
    };
    let plain = fs::metadata(directory.join("refs"))?.is_dir() && !is_there(&directory.join("commondir"))?;
    if plain { Ok(directory) } else { Err(NotPlain) }
}

/// The commit that HEAD or its branch names.
fn branch_tip(directory: &Path) -> Result<Id, NotPlain> {
    let head = contents(&directory.join("HEAD"))?.ok_or(NotPlain)?;
    let Some(branch) = head.strip_prefix(b"ref:") else { return id(head.trim_ascii_end()) };
    let branch = str::from_utf8(branch.trim_ascii()).map_err(|_| NotPlain)?;
    if !branch.starts_with("refs/heads/") || branch.contains("..") {
        return Err(NotPlain);
    }
    if let Some(loose) = contents(&directory.join(branch))? {
        return id(loose.trim_ascii_end());
    }
    let packed = contents(&directory.join("packed-refs"))?.ok_or(NotPlain)?;
    let packed = str::from_utf8(&packed).map_err(|_| NotPlain)?;
    let at = packed.find(&format!(" {branch}\n")).ok_or(NotPlain)?;
    let line = packed[..at].rfind('\n').map_or(0, |end| end + 1);
    id(&packed.as_bytes()[line..at])
}

/// The indexes of the packs, each of which has its pack.
fn indexes(folder: &Path) -> Result<Vec<PathBuf>, NotPlain> {
    let (mut indexes, mut packs) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.as_bytes();
        if name.starts_with(b"multi-pack-index") {
            return Err(NotPlain);
        }
        if name.ends_with(b".idx") {
            indexes.push(folder.join(std::ffi::OsStr::from_bytes(name)));
        }
        packs += usize::from(name.ends_with(b".pack"));
    }
    if packs == indexes.len() { Ok(indexes) } else { Err(NotPlain) }
}

/// What is known of an id's neighbours.
struct Search {
    id: Id,
    found: bool,
    /// How many hexadecimal digits the id has in common with the one that is most like it.
    shared: usize,
    packed: u64,
}

impl Search {
    fn meet(&mut self, other: &Id) {
        match self.id.iter().zip(other).position(|(a, b)| a != b) {
            None => self.found = true,
            Some(byte) => {
                let digits = 2 * byte + usize::from((self.id[byte] ^ other[byte]) < 0x10);
                self.shared = self.shared.max(digits);
            }
        }
    }

    /// Meets those of a pack: the id itself if it is there, and its two neighbours.
    fn pack(&mut self, index: &File) -> Result<(), NotPlain> {
        let mut start = [0; INDEX.len() + FAN_OUT];
        index.read_exact_at(&mut start, 0)?;
        let (signature, counts) = start.split_at(INDEX.len());
        let up_to = |byte: usize| {
            let count = counts.as_chunks::<4>().0[byte];
            u64::from(u32::from_be_bytes(count))
        };
        let (all, first) = (up_to(255), usize::from(self.id[0]));
        let (mut low, mut high) = (if first == 0 { 0 } else { up_to(first - 1) }, up_to(first));
        if signature != INDEX
            || low > high
            || high > all
            || index.metadata()?.len() < IDS + all * ENTRY + TRAILER
        {
            return Err(NotPlain);
        }
        self.packed += all;
        let mut ids = [0; AT_ONCE * BYTES];
        while high - low > AT_ONCE as u64 {
            let middle = low.midpoint(high);
            let one = &mut ids[..BYTES];
            index.read_exact_at(one, IDS + middle * BYTES as u64)?;
            // The id in the middle may be a neighbour, so it stays.
            if *one <= self.id[..] { low = middle } else { high = middle + 1 }
        }
        let ids = &mut ids[..usize::try_from(high - low).map_err(|_| NotPlain)? * BYTES];
        index.read_exact_at(ids, IDS + low * BYTES as u64)?;
        let (ids, _) = ids.as_chunks::<BYTES>();
        let at = ids.partition_point(|other| *other < self.id);
        for other in &ids[at.saturating_sub(1)..ids.len().min(at + 2)] {
            self.meet(other);
        }
        Ok(())
    }

    /// Meets those that lie in files of their own, in the folder of their first byte.
    fn loose(&mut self, folder: &Path, text: &str) -> Result<(), NotPlain> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = [&text.as_bytes()[..2], entry?.file_name().as_bytes()].concat();
            if let Ok(other) = id(&name) {
                self.meet(&other);
            }
        }
        Ok(())
    }
}

/// A file's contents, or nothing where there is no file.
fn contents(file: &Path) -> Result<Option<Vec<u8>>, NotPlain> {
    let file = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut contents = Vec::with_capacity(1 << 10);
    let length = file.take(FILE_LIMIT).read_to_end(&mut contents)?;
    if (length as u64) < FILE_LIMIT { Ok(Some(contents)) } else { Err(NotPlain) }
}

fn is_there(file: &Path) -> Result<bool, NotPlain> {
    Ok(file.try_exists()?)
}

fn id(text: &[u8]) -> Result<Id, NotPlain> {
    let digit = |character: u8| match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(NotPlain),
    };
    let mut id = [0; BYTES];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return Err(NotPlain);
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(id)
}

fn hex(id: &Id) -> String {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_common() {
        let mut search = Search { id: [0xab; BYTES], found: false, shared: 0, packed: 0 };
        search.meet(&[0xcb; BYTES]);
        assert_eq!(search.shared, 0);
        search.meet(&[0xac; BYTES]);
        assert_eq!(search.shared, 1);
        let mut like = [0xab; BYTES];
        like[3] = 0xa0;
        search.meet(&like);
        assert_eq!((search.shared, search.found), (7, false));
        search.meet(&[0xab; BYTES]);
        assert_eq!((search.shared, search.found), (7, true));
    }

    #[test]
    fn ids_are_forty_small_digits() {
        let text = "4b1c9e2f".repeat(5);
        assert_eq!(hex(&id(text.as_bytes()).unwrap()), text);
        for wrong in ["", "4b1c9e2", &text.to_uppercase(), &format!("{text}00")] {
            assert_eq!(id(wrong.as_bytes()), Err(NotPlain), "{wrong}");
        }
    }
}
