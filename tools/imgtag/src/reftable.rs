//! References in reftable format, which the Git library can't read.
//!
//! A stack of tables, of which the newest that knows a name decides (git's Documentation/technical/reftable.adoc). A table
//! begins with blocks of references, sorted by name; what comes behind them (indexes, logs) is not needed here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice as _};

use crate::error::TagError;

/// The folder with the tables, and the list of them, oldest first.
const FOLDER: &str = "reftable";
const LIST: &str = "tables.list";
/// What a table begins and its footer begins with.
const SIGNATURE: [u8; 4] = *b"REFT";
/// The lengths of a table's header and footer, by its version.
const ENDS: [(usize, usize); 2] = [(24, 68), (28, 72)];
/// A block's type and length.
const BLOCK_HEADER: usize = 4;
/// Symbolic references lead to others so often at most (`SYMREF_MAXDEPTH` in git's refs.c).
const SYMBOLIC: usize = 5;
/// How often tables may be replaced while they are read.
const TRIES: usize = 10;
/// What a short name may stand for (gitrevisions(7), "<refname>").
const RULES: [(&str, &str); 6] = [
    ("", ""),
    ("refs/", ""),
    ("refs/tags/", ""),
    ("refs/heads/", ""),
    ("refs/remotes/", ""),
    ("refs/remotes/", "/HEAD"),
];

/// What a reference holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Id(ObjectId),
    Symbolic(BString),
}

/// A clone's references, of which HEAD and some others belong to one work tree alone.
#[derive(Debug)]
pub struct References(BTreeMap<BString, Value>);

impl References {
    /// Reads those that all work trees have in common, and this work tree's own.
    pub fn read(own: &Path, common: &Path, hash: gix::hash::Kind) -> Result<Self, TagError> {
        let mut all = BTreeMap::new();
        read_stack(&common.join(FOLDER), hash, &mut all)?;
        if own != common {
            all.retain(|name, _| name.starts_with_str("refs/"));
            read_stack(&own.join(FOLDER), hash, &mut all)?;
        }
        Ok(Self(all))
    }

    /// What HEAD, or another full name, leads to; where that is a branch without a commit, its name.
    pub fn follow(&self, name: &BStr) -> Result<ObjectId, Option<BString>> {
        let mut name = name.to_owned();
        for step in 0..=SYMBOLIC {
            match self.0.get(&name) {
                Some(Value::Id(id)) => return Ok(*id),
                Some(Value::Symbolic(target)) => name = target.clone(),
                None => return Err((step > 0).then_some(name)),
            }
        }
        Err(None)
    }

    /// The object that a name stands for, full or short.
    pub fn named(&self, short: &str) -> Option<ObjectId> {
        let full = |(before, after): &(&str, &str)| BString::from(format!("{before}{short}{after}"));
        RULES.iter().find_map(|rule| self.follow(full(rule).as_bstr()).ok())
    }

    /// All the objects that references stand for.
    pub fn tips(&self) -> Vec<ObjectId> {
        let mut tips: Vec<_> = self.0.keys().filter_map(|name| self.follow(name.as_bstr()).ok()).collect();
        tips.sort_unstable();
        tips.dedup();
        tips
    }
}

/// Reads a stack, the newest table last, as it overrides the others.
fn read_stack(
    folder: &Path,
    hash: gix::hash::Kind,
    all: &mut BTreeMap<BString, Value>,
) -> Result<(), TagError> {
    let list = folder.join(LIST);
    let of = |file: &Path, error: &dyn std::fmt::Display| {
        TagError::unreadable(format!("{}: {error}", file.display()))
    };
    let mut gone = None;
    for _ in 0..TRIES {
        let names = fs::read_to_string(&list).map_err(|error| of(&list, &error))?;
        let files: Vec<PathBuf> = names.lines().map(|name| folder.join(name)).collect();
        // Compaction removes tables that were listed a moment ago.
        match files
            .iter()
            .map(|file| fs::read(file).map_err(|error| (file, error)))
            .collect::<Result<Vec<_>, _>>()
        {
            Ok(tables) => {
                for (file, table) in files.iter().zip(tables) {
                    read_table(&table, hash, all).ok_or_else(|| of(file, &"it is broken or cut off"))?;
                }
                return Ok(());
            }
            Err((file, error)) if error.kind() == std::io::ErrorKind::NotFound => {
                gone = Some(of(file, &error));
            }
            Err((file, error)) => return Err(of(file, &error)),
        }
    }
    Err(gone.unwrap_or_else(|| of(&list, &"it is broken")))
}

/// Takes a table's references, or nothing where it is broken.
fn read_table(table: &[u8], hash: gix::hash::Kind, all: &mut BTreeMap<BString, Value>) -> Option<()> {
    let version = usize::from(*table.get(4)?);
    let (header, footer) = *ENDS.get(version.checked_sub(1)?)?;
    let end = table.len().checked_sub(footer).filter(|end| *end >= header)?;
    if table[..4] != SIGNATURE || table[end..end + 4] != SIGNATURE {
        return None;
    }
    let aligned_to = be_24(&table[5..8]);
    let mut start = 0;
    loop {
        // The first block has the table's header in it.
        let records = start + if start == 0 { header } else { 0 };
        if records + BLOCK_HEADER > end || table[records] != b'r' {
            return Some(());
        }
        let length = be_24(&table[records + 1..records + BLOCK_HEADER]);
        let block = table.get(start..start + length).filter(|_| start + length <= end)?;
        read_block(block.get(records - start + BLOCK_HEADER..)?, hash, all)?;
        start += length;
        if aligned_to > 0 {
            start = start.next_multiple_of(aligned_to);
        }
    }
}

/// Takes the references of a block.
fn read_block(block: &[u8], hash: gix::hash::Kind, all: &mut BTreeMap<BString, Value>) -> Option<()> {
    let (rest, restarts) = block.split_last_chunk::<2>()?;
    let restarts = 3 * usize::from(u16::from_be_bytes(*restarts));
    let mut rest = &rest[..rest.len().checked_sub(restarts)?];
    let mut name = Vec::new();
    while !rest.is_empty() {
        let shared = varint(&mut rest)?;
        let kind = varint(&mut rest)?;
        let suffix = taken(&mut rest, kind >> 3)?;
        if shared > name.len() {
            return None;
        }
        name.truncate(shared);
        name.extend_from_slice(suffix);
        varint(&mut rest)?; // when it was changed
        let mut id = || ObjectId::try_from(taken(&mut rest, hash.len_in_bytes())?).ok();
        let value = match kind & 7 {
            0 => None,
            1 => Some(Value::Id(id()?)),
            // The second id is what an annotated tag stands for.
            2 => Some((Value::Id(id()?), id()?).0),
            3 => {
                let length = varint(&mut rest)?;
                Some(Value::Symbolic(taken(&mut rest, length)?.into()))
            }
            _ => return None,
        };
        match value {
            Some(value) => drop(all.insert(name.clone().into(), value)),
            None => drop(all.remove(name.as_bstr())),
        }
    }
    Some(())
}

fn be_24(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// A number as packs have it for offsets: seven bits a byte, each further byte adds one.
fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    loop {
        let byte = taken(rest, 1)?[0];
        number = number << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
        number = number.checked_add(1).filter(|number| *number < 1 << 40)?;
    }
}

fn taken<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_several_bytes() {
        for (bytes, number) in [(&[0x00][..], 0), (&[0x7f], 127), (&[0x80, 0x00], 128), (&[0x80, 0x01], 129)]
        {
            assert_eq!(varint(&mut &bytes[..]), Some(number), "{bytes:?}");
        }
        assert_eq!(varint(&mut &[0x80][..]), None);
        assert_eq!(varint(&mut &[0xff; 20][..]), None);
    }
}
