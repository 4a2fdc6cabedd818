//! The ids of a clone's objects, as far as an abbreviation depends on them: how many are in packs, and which are most
//! like the one in question.
//!
//! Packs that an index of several packs covers count only there. Some versions of git (2.39 and 2.47 do) count those of
//! them again that they have read an object from, so that `HEAD^0` may get another length than `HEAD`; newer ones don't
//! (`odb_source_packed_count_objects` in git's odb/source-packed.c).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;

use crate::error::TagError;
use crate::pack_index::Ids;

/// How often packs may be replaced while they are read.
const TRIES: usize = 10;
/// How many clones may borrow from each other in a row (`link_alt_odb_entries` in git's object-file.c).
const BORROWERS: usize = 5;
/// How many folders hold the objects that lie in files of their own: one for each first byte.
const FIRST_BYTES: u64 = 256;

/// What there is around an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether there is an object of this id.
    pub found: bool,
    /// How many digits it takes that no other object's id begins with them.
    pub unique: usize,
    /// How many objects are in packs; one that is in two of them counts twice, as git counts it.
    pub packed: u64,
    /// How many objects lie in files of their own, extrapolated from those that begin like the id.
    pub loose: u64,
}

/// Looks around an id in a folder of objects and in those that it borrows from.
pub fn around(id: &ObjectId, objects: &Path, multi_pack_index: bool) -> Result<Surroundings, TagError> {
    let mut tries = 1;
    loop {
        let folders = with_alternates(objects)?;
        let mut search = Search::of(id);
        match folders.iter().try_for_each(|folder| search.folder(folder, multi_pack_index)) {
            Ok(()) if search.around.found || tries > 1 => return Ok(search.around),
            Err(Trouble::Broken(error)) => return Err(error),
            Err(Trouble::Gone(error)) if tries == TRIES => return Err(error),
            // A pack was replaced meanwhile, or an object that was loose may be in a pack by now.
            _ => tries += 1,
        }
    }
}

/// The indexes of all packs, also of those that an index of several covers.
pub fn indexes(objects: &Path) -> Result<Vec<PathBuf>, TagError> {
    let mut indexes = Vec::new();
    for folder in with_alternates(objects)? {
        let listed = Listed::of(&folder.join("pack"))?;
        let whole = listed.indexes.iter().filter(|index| listed.packs.contains(index));
        indexes.extend(whole.map(|index| listed.file(index, "idx")));
    }
    Ok(indexes)
}

/// The folder and those that it borrows from; git passes over one that is not there.
fn with_alternates(objects: &Path) -> Result<Vec<PathBuf>, TagError> {
    let mut folders = vec![objects.to_owned()];
    let mut seen = Vec::new();
    let mut level = 0..1;
    for _ in 0..BORROWERS {
        for at in level.clone() {
            let list = folders[at].join("info/alternates");
            let text = match fs::read(&list) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text.map_err(|error| unreadable(&list, error))?,
            };
            if seen.is_empty() {
                seen.extend(fs::canonicalize(objects));
            }
            for path in gix::odb::alternate::parse(&text).map_err(|error| unreadable(&list, error))? {
                let Ok(path) = fs::canonicalize(folders[at].join(path)) else { continue };
                if !seen.contains(&path) {
                    seen.push(path.clone());
                    folders.push(path);
                }
            }
        }
        level = level.end..folders.len();
        if level.is_empty() {
            break;
        }
    }
    Ok(folders)
}

/// Why a search did not come to its end.
enum Trouble {
    /// A file was removed after it was listed.
    Gone(TagError),
    Broken(TagError),
}

impl From<TagError> for Trouble {
    fn from(error: TagError) -> Self {
        Self::Broken(error)
    }
}

struct Search<'id> {
    id: &'id [u8],
    around: Surroundings,
}

impl<'id> Search<'id> {
    fn of(id: &'id ObjectId) -> Self {
        let around = Surroundings { found: false, unique: 1, packed: 0, loose: 0 };
        Self { id: id.as_bytes(), around }
    }

    fn folder(&mut self, folder: &Path, multi_pack_index: bool) -> Result<(), Trouble> {
        let listed = Listed::of(&folder.join("pack"))?;
        let mut covered = Vec::new();
        for index in if multi_pack_index { listed.indexes_of_several()? } else { Vec::new() } {
            let (ids, names) = opened(&index, |index| Ids::of_several(index, self.id.len()))?;
            covered.extend(names.split(|byte| *byte == 0).map(|name| stem(name).to_owned()));
            self.index(&index, &ids)?;
        }
        for index in listed.indexes.iter().filter(|name| !covered.contains(name)) {
            if listed.packs.contains(index) {
                let index = listed.file(index, "idx");
                let ids = opened(&index, |index| Ids::of_pack(index, self.id.len()))?;
                self.index(&index, &ids)?;
            }
        }
        self.loose(folder)
    }

    fn index(&mut self, index: &Path, ids: &Ids) -> Result<(), Trouble> {
        let of_file = |error| unreadable(index, error);
        self.around.packed += ids.count().map_err(of_file)?;
        ids.neighbours(self.id, |other| self.meet(other)).map_err(of_file)?;
        Ok(())
    }

    /// Those that lie in files of their own, in the folder of their first byte.
    fn loose(&mut self, folder: &Path) -> Result<(), Trouble> {
        let first = format!("{:02x}", self.id[0]);
        let folder = folder.join(&first);
        let of_folder = |error| unreadable(&folder, error);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(of_folder)?,
        };
        for entry in entries {
            let name = entry.map_err(of_folder)?.file_name();
            let id = ObjectId::from_hex(&[first.as_bytes(), name.as_bytes()].concat());
            // A file that is being written has another name.
            if let Ok(id) = id {
                self.around.loose += FIRST_BYTES;
                self.meet(id.as_bytes());
            }
        }
        Ok(())
    }

    fn meet(&mut self, other: &[u8]) {
        match self.id.iter().zip(other).position(|(a, b)| a != b) {
            None => self.around.found = true,
            Some(byte) => {
                let shared = 2 * byte + usize::from((self.id[byte] ^ other[byte]) < 0x10);
                self.around.unique = self.around.unique.max(shared + 1);
            }
        }
    }
}

/// What is in a folder of packs.
#[derive(Default)]
struct Listed {
    folder: PathBuf,
    /// The packs' names without their endings, and those of their indexes.
    packs: Vec<Vec<u8>>,
    indexes: Vec<Vec<u8>>,
    /// An index of several packs, or a chain of them.
    several: bool,
    chain: bool,
}

impl Listed {
    fn of(folder: &Path) -> Result<Self, TagError> {
        let mut listed = Self { folder: folder.to_owned(), ..Self::default() };
        let of_folder = |error| unreadable(folder, error);
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(listed),
            entries => entries.map_err(of_folder)?,
        };
        for entry in entries {
            let name = entry.map_err(of_folder)?.file_name();
            match name.as_bytes() {
                b"multi-pack-index" => listed.several = true,
                b"multi-pack-index.d" => listed.chain = true,
                name if name.ends_with(b".pack") => listed.packs.push(stem(name).to_owned()),
                name if name.ends_with(b".idx") => listed.indexes.push(stem(name).to_owned()),
                _ => {}
            }
        }
        Ok(listed)
    }

    fn file(&self, stem: &[u8], ending: &str) -> PathBuf {
        self.folder.join(OsStr::from_bytes(stem)).with_extension(ending)
    }

    /// One index of several packs, or else each of a chain (gitformat-pack(5), "Incremental multi-pack-indexes").
    fn indexes_of_several(&self) -> Result<Vec<PathBuf>, Trouble> {
        if self.several {
            return Ok(vec![self.folder.join("multi-pack-index")]);
        }
        if !self.chain {
            return Ok(Vec::new());
        }
        let folder = self.folder.join("multi-pack-index.d");
        let list = folder.join("multi-pack-index-chain");
        match fs::read_to_string(&list) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            text => {
                let text = text.map_err(|error| unreadable(&list, error))?;
                Ok(text.lines().map(|hash| folder.join(format!("multi-pack-index-{hash}.midx"))).collect())
            }
        }
    }
}

/// A file's name without its ending.
fn stem(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'.').map_or(name, |dot| &name[..dot])
}

fn opened<T>(file: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, Trouble> {
    open(file).map_err(|error| {
        let gone = error.kind() == ErrorKind::NotFound;
        let error = unreadable(file, error);
        if gone { Trouble::Gone(error) } else { Trouble::Broken(error) }
    })
}

fn unreadable(file: &Path, error: impl std::fmt::Display) -> TagError {
    TagError::unreadable(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_tell_an_id_from_the_one_most_like_it() {
        let id = ObjectId::from_hex("ab".repeat(20).as_bytes()).unwrap();
        let mut search = Search::of(&id);
        search.meet(&[0xcb; 20]);
        assert_eq!(search.around.unique, 1);
        search.meet(&[0xac; 20]);
        assert_eq!(search.around.unique, 2);
        let mut like = [0xab; 20];
        like[3] = 0xa0;
        search.meet(&like);
        assert_eq!((search.around.unique, search.around.found), (8, false));
        search.meet(&[0xab; 20]);
        assert_eq!((search.around.unique, search.around.found), (8, true));
    }
}
