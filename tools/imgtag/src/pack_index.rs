//! The sorted ids in the index of a pack, and in an index of several packs.
//!
//! Both begin with a fan-out table, which tells where the ids with a certain first byte are; then a few reads find an id's
//! place among them (gitformat-pack(5), "pack-*.idx files" and "multi-pack-index (MIDX) files have the following format").

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the second version of a pack's index begins with; the first one begins with the fan-out table.
const SECOND_VERSION: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// The fan-out table: for each first byte, how many ids begin with it or with a smaller one.
const FAN_OUT: usize = 4 * 256;
/// What a multi-pack index begins with.
const SEVERAL: [u8; 4] = *b"MIDX";
/// Its version.
const ONLY_VERSION: u8 = 1;
/// Signature, version, version of the ids, number of chunks, of base files, and of packs.
const SEVERAL_HEADER: usize = 12;
/// An entry of its table of chunks: name and offset.
const CHUNK: usize = 12;
/// So many ids are read at once; more of them are halved first.
const AT_ONCE: u64 = 256;

/// Where an index has its ids.
#[derive(Debug)]
pub struct Ids {
    file: File,
    fan_out: Box<[u8; FAN_OUT]>,
    /// Where the first id is.
    first: u64,
    /// From one id to the next.
    stride: u64,
    /// How many bytes an id has.
    length: usize,
}

impl Ids {
    /// Of a pack.
    pub fn of_pack(index: &Path, id_length: usize) -> io::Result<Self> {
        let file = File::open(index)?;
        let length = id_length as u64;
        let mut start = [0; SECOND_VERSION.len() + FAN_OUT];
        file.read_exact_at(&mut start, 0).map_err(cut_off)?;
        let (signature, second) = start.split_at(SECOND_VERSION.len());
        // Where the entries begin, and the first id; from one id to the next, and what an entry has besides.
        let (fan_out, entries, first, stride, besides) = if signature == SECOND_VERSION {
            (second, start.len() as u64, start.len() as u64, length, 4 + 4)
        } else if signature[..4] == SECOND_VERSION[..4] {
            return Err(invalid("a version of the index that is not known"));
        } else {
            // An offset stands in front of each id.
            (&start[..FAN_OUT], FAN_OUT as u64, FAN_OUT as u64 + 4, 4 + length, 0)
        };
        let ids = Self { fan_out: boxed(fan_out)?, first, stride, length: id_length, file };
        // Two checksums are last.
        if ids.file.metadata()?.len() < entries + ids.count()? * (stride + besides) + 2 * length {
            return Err(too_short());
        }
        Ok(ids)
    }

    /// Of several packs, and the packs' names.
    pub fn of_several(index: &Path, id_length: usize) -> io::Result<(Self, Vec<u8>)> {
        let file = File::open(index)?;
        let size = file.metadata()?.len();
        let mut header = [0; SEVERAL_HEADER];
        file.read_exact_at(&mut header, 0).map_err(cut_off)?;
        if header[..4] != SEVERAL || header[4] != ONLY_VERSION {
            return Err(invalid("not a multi-pack index of a version that is known"));
        }
        if header[5] != if id_length == 20 { 1 } else { 2 } {
            return Err(invalid("a multi-pack index of ids of another kind"));
        }
        let mut table = vec![0; (usize::from(header[6]) + 1) * CHUNK];
        file.read_exact_at(&mut table, SEVERAL_HEADER as u64).map_err(cut_off)?;
        let (entries, _) = table.as_chunks::<CHUNK>();
        let offset = |entry: &[u8; CHUNK]| u64::from_be_bytes([4, 5, 6, 7, 8, 9, 10, 11].map(|at| entry[at]));
        let chunk = |name: &[u8; 4]| {
            let at = entries.iter().position(|entry| entry[..4] == *name);
            let at = at.ok_or_else(|| invalid("a multi-pack index without a chunk that it must have"))?;
            let (start, end) = (offset(&entries[at]), entries.get(at + 1).map_or(0, offset));
            if start > end || end > size {
                return Err(too_short());
            }
            let length = usize::try_from(end - start).map_err(|_| invalid("a chunk that is too long"))?;
            Ok((start, length))
        };
        let read = |(start, length): (u64, usize)| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, start).map_err(cut_off)?;
            Ok(bytes)
        };
        let names = read(chunk(b"PNAM")?)?;
        let fan_out = boxed(&read(chunk(b"OIDF")?)?)?;
        let (first, length) = chunk(b"OIDL")?;
        let ids = Self { fan_out, first, stride: id_length as u64, length: id_length, file };
        if ids.count()? * ids.stride > length as u64 {
            return Err(too_short());
        }
        Ok((ids, names))
    }

    /// How many there are.
    pub fn count(&self) -> io::Result<u64> {
        Ok(self.with_first_byte(u8::MAX)?.1)
    }

    /// Shows the id itself, where it is there, and those next to it, as far as they have its first byte.
    pub fn neighbours(&self, id: &[u8], mut meet: impl FnMut(&[u8])) -> io::Result<()> {
        let (mut low, mut high) = self.with_first_byte(id[0])?;
        let mut entries = vec![0; usize::try_from(AT_ONCE * self.stride).unwrap_or_default()];
        while high - low > AT_ONCE {
            let middle = low.midpoint(high);
            let one = &mut entries[..self.length];
            self.file.read_exact_at(one, self.first + middle * self.stride).map_err(cut_off)?;
            // The one in the middle may be a neighbour, so it stays; so do both beside the id itself.
            match (*one).cmp(id) {
                Ordering::Less => low = middle,
                Ordering::Greater => high = middle + 1,
                Ordering::Equal => (low, high) = (low.max(middle.saturating_sub(1)), high.min(middle + 2)),
            }
        }
        let stride = usize::try_from(self.stride).unwrap_or(usize::MAX);
        let many = usize::try_from(high - low).unwrap_or_default();
        if many == 0 {
            return Ok(());
        }
        // Behind the last id there may be nothing to step over.
        let bytes = &mut entries[..(many - 1) * stride + self.length];
        self.file.read_exact_at(bytes, self.first + low * self.stride).map_err(cut_off)?;
        let ids: Vec<&[u8]> = bytes.chunks(stride).map(|entry| &entry[..self.length]).collect();
        let at = ids.partition_point(|other| *other < id);
        for other in &ids[at.saturating_sub(1)..many.min(at + 2)] {
            meet(other);
        }
        Ok(())
    }

    /// From which to before which number ids have this first byte.
    fn with_first_byte(&self, byte: u8) -> io::Result<(u64, u64)> {
        let (counts, _) = self.fan_out.as_chunks::<4>();
        let up_to = |byte: u8| u64::from(u32::from_be_bytes(counts[usize::from(byte)]));
        let low = byte.checked_sub(1).map_or(0, up_to);
        let high = up_to(byte);
        if low > high || high > up_to(u8::MAX) {
            return Err(invalid("a fan-out table that does not grow"));
        }
        Ok((low, high))
    }
}

fn boxed(fan_out: &[u8]) -> io::Result<Box<[u8; FAN_OUT]>> {
    fan_out.try_into().map(Box::new).map_err(|_| invalid("a fan-out table of another length"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off")
}

fn cut_off(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { too_short() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_next_to_an_id() {
        // So many with the same first byte that they are not read at once.
        let mut ids: Vec<[u8; 20]> = (0..3_000_u32)
            .map(|number| {
                let mut id = [0; 20];
                id[0] = 7;
                id[1..5].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
                id
            })
            .collect();
        ids.sort_unstable();
        let mut bytes = SECOND_VERSION.to_vec();
        for byte in 0..=u8::MAX {
            let count: u32 = if byte < 7 { 0 } else { 3_000 };
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(ids.iter().flatten());
        bytes.resize(bytes.len() + 8 * ids.len() + 40, 0);
        let home = hermetic::Home::new();
        let file = home.path().join("pack.idx");
        std::fs::write(&file, bytes).unwrap();
        let index = Ids::of_pack(&file, 20).unwrap();
        let met = |id: &[u8]| {
            let mut met = Vec::new();
            index.neighbours(id, |other| met.push(other.to_vec())).unwrap();
            met
        };
        for (at, id) in ids.iter().enumerate() {
            let expected = &ids[at.saturating_sub(1)..ids.len().min(at + 2)];
            assert_eq!(met(id), expected, "{at}");
            // One that is not there lies between two.
            let mut after = *id;
            after[19] = 1;
            let met = met(&after);
            for beside in &ids[at..ids.len().min(at + 2)] {
                assert!(met.iter().any(|met| met == beside), "{at}");
            }
        }
        assert!(met(&[6; 20]).is_empty());
    }
}
