//! Objects out of packs, one after another through a history.
//!
//! A pack has most objects only as what distinguishes them from another one, their base (gitformat-pack(5), "Deltified
//! representation"). The Git library keeps objects that it was asked for, but reads their bases again and again; here
//! these are kept too.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::rc::Rc;

use gix::ObjectId;
use gix::hash::Kind;
use gix::odb::pack::data::{self, entry::Header};
use gix::odb::pack::index;
use gix::zlib::Inflate;

use crate::error::TagError;
use crate::object_ids;

/// How many bytes of objects are kept (git's default for `core.deltaBaseCacheLimit`).
const KEPT: usize = 96 << 20;
/// More bytes than a tree or a commit has, and more bases than git makes in a row.
const LARGEST: u64 = 1 << 30;
const LONGEST: usize = 1 << 13;

/// Objects by pack and offset.
type Kept = HashMap<(usize, u64), Rc<Vec<u8>>>;

struct Pack {
    index: index::File,
    data: data::File,
}

/// The packs of a clone.
pub struct Packs {
    all: Vec<Pack>,
    /// The one that had the last object.
    last: usize,
    inflate: Inflate,
    /// The delta that is applied, in room that serves the next one too.
    delta: Vec<u8>,
    /// The process ends with the walk: to give each one back would take a twentieth of its time.
    kept: ManuallyDrop<Kept>,
    bytes: usize,
}

impl Packs {
    /// Opens them, those that are borrowed too.
    pub fn open(objects: &Path, hash: Kind) -> Result<Self, TagError> {
        let mut all = Vec::new();
        for index in object_ids::indexes(objects)? {
            all.push(Pack {
                data: data::File::at(index.with_extension("pack"), hash).map_err(TagError::library)?,
                index: index::File::at(index, hash).map_err(TagError::library)?,
            });
        }
        Ok(Self {
            all,
            last: 0,
            inflate: Inflate::default(),
            delta: Vec::new(),
            kept: ManuallyDrop::default(),
            bytes: 0,
        })
    }

    /// An object's bytes, if it is in a pack.
    pub fn object(&mut self, id: &ObjectId) -> Result<Option<Rc<Vec<u8>>>, TagError> {
        let place = |number: usize| {
            let index = &self.all[number].index;
            index.lookup(id).map(|at| (number, index.pack_offset_at_index(at)))
        };
        let others = (0..self.all.len()).filter(|number| *number != self.last);
        let found =
            (self.last < self.all.len()).then_some(self.last).into_iter().chain(others).find_map(place);
        let Some((pack, offset)) = found else { return Ok(None) };
        self.last = pack;
        self.at(pack, offset).map(Some)
    }

    fn at(&mut self, pack: usize, mut offset: u64) -> Result<Rc<Vec<u8>>, TagError> {
        let broken = || TagError::unreadable(self.all[pack].data.path().display());
        // From the object asked for to the first base that is known, and back.
        let mut deltas = Vec::new();
        let mut object = loop {
            if let Some(kept) = self.kept.get(&(pack, offset)) {
                break Rc::clone(kept);
            }
            let Pack { index, data } = &self.all[pack];
            let entry = data.entry(offset).map_err(TagError::library)?;
            let base = match &entry.header {
                Header::OfsDelta { base_distance } => {
                    offset.checked_sub(*base_distance).ok_or_else(broken)?
                }
                Header::RefDelta { base_id } => {
                    let at = index.lookup(base_id).ok_or_else(broken)?;
                    index.pack_offset_at_index(at)
                }
                header => {
                    let mut object = Vec::new();
                    inflate(data, &entry, &mut self.inflate, &mut object)?;
                    let object = Rc::new(object);
                    // A commit is seldom a base, and it is read once.
                    if !deltas.is_empty() || !matches!(header, Header::Commit) {
                        self.keep(pack, offset, &object);
                    }
                    break object;
                }
            };
            deltas.push((offset, entry));
            if deltas.len() > LONGEST {
                return Err(broken());
            }
            offset = base;
        };
        while let Some((offset, entry)) = deltas.pop() {
            let data = &self.all[pack].data;
            inflate(data, &entry, &mut self.inflate, &mut self.delta)?;
            let whole = applied(&self.delta, &object);
            object = Rc::new(whole.ok_or_else(|| TagError::unreadable(data.path().display()))?);
            self.keep(pack, offset, &object);
        }
        Ok(object)
    }

    fn keep(&mut self, pack: usize, offset: u64, object: &Rc<Vec<u8>>) {
        self.bytes += object.len();
        if self.bytes > KEPT {
            self.kept.clear();
            self.bytes = object.len();
        }
        self.kept.insert((pack, offset), Rc::clone(object));
    }
}

/// Puts an entry's bytes into `bytes`, in place of what is there.
fn inflate(
    data: &data::File,
    entry: &data::Entry,
    inflate: &mut Inflate,
    bytes: &mut Vec<u8>,
) -> Result<(), TagError> {
    if entry.decompressed_size > LARGEST {
        return Err(TagError::unreadable(format!("{}: an object is too large", data.path().display())));
    }
    bytes.resize(usize::try_from(entry.decompressed_size).unwrap_or_default(), 0);
    data.decompress_entry(entry, inflate, bytes).map_err(TagError::library)?;
    Ok(())
}

/// What a delta makes of its base, or nothing where it does not belong to it.
fn applied(mut delta: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    if length(&mut delta)? != base.len() as u64 {
        return None;
    }
    let size = usize::try_from(length(&mut delta)?).ok().filter(|size| *size as u64 <= LARGEST)?;
    let mut whole = Vec::with_capacity(size);
    while let Some((instruction, rest)) = delta.split_first() {
        delta = rest;
        if instruction & 0x80 == 0 {
            let (new, rest) =
                delta.split_at_checked(usize::from(*instruction)).filter(|(new, _)| !new.is_empty())?;
            whole.extend_from_slice(new);
            delta = rest;
            continue;
        }
        // Four bits say which bytes of the offset follow, three of them which of the length.
        let mut numbers = [0_usize; 2];
        for bit in 0..7 {
            if instruction & 1 << bit != 0 {
                let (byte, rest) = delta.split_first()?;
                let (number, place) = if bit < 4 { (0, bit) } else { (1, bit - 4) };
                numbers[number] |= usize::from(*byte) << (8 * place);
                delta = rest;
            }
        }
        let [start, length] = numbers;
        let length = if length == 0 { 0x1_0000 } else { length };
        whole.extend_from_slice(base.get(start..start + length)?);
    }
    (whole.len() == size).then_some(whole)
}

/// A length: seven bits a byte, the lowest ones first.
fn length(delta: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..9 {
        let (byte, rest) = delta.split_first()?;
        *delta = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_copy_and_insert() {
        let base = b"the quick brown fox";
        // 19 bytes become 13: four of the base from its start, "red", and six from offset 13 on.
        let delta = [19, 13, 0b1001_0000, 4, 3, b'r', b'e', b'd', 0b1001_0001, 13, 6];
        assert_eq!(applied(&delta, base).unwrap(), b"the redwn fox");
        for end in 0..delta.len() {
            assert_eq!(applied(&delta[..end], base), None, "{end}");
        }
        assert_eq!(applied(&delta, &base[1..]), None, "another base");
        assert_eq!(applied(&[19, 4, 0b1001_0001, 16, 4], base), None, "past the base's end");
    }
}
