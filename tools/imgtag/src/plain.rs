//! HEAD of a clone, read straight from its files.
//!
//! A pipeline asks for this nearly always, and it takes few reads: the settings, HEAD, and its branch. Whatever is not
//! plain (included settings, references in another format, anything broken) is [`NotPlain`], and the Git library
//! answers and words the errors.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use gix::config::Source;

use crate::abbreviation::Subject;
use crate::reftable::References;
use crate::settings::Reader;

/// The clone has to be read by the Git library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPlain;

impl From<io::Error> for NotPlain {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// More bytes than settings have in a plain clone, and than packed references have.
const FILE_LIMIT: u64 = 1 << 20;
const PACKED_REFS_LIMIT: u64 = 1 << 28;

/// Where a clone, or a work tree of it, has its files.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// HEAD is in here.
    own: PathBuf,
    /// What all work trees have in common: settings, branches, objects.
    common: PathBuf,
}

/// The object that HEAD or a full id names in the clone at `folder` or above it; `settings` are the files that git
/// reads besides the clone's own.
pub fn named(revision: &str, folder: &Path, settings: [(PathBuf, Source); 3]) -> Result<Subject, NotPlain> {
    let place = Place::at_or_above(folder)?;
    let mut reader = Reader::default();
    for (file, source) in settings {
        reader.read(&file, source)?;
    }
    reader.read(&place.common.join("config"), Source::Local)?;
    if reader.format.of_worktree {
        reader.read(&place.own.join("config.worktree"), Source::Worktree)?;
    }
    let hash = reader.format.hash;
    let id = match revision {
        "HEAD" | "@" if reader.format.reftable => place.head_in_tables(hash)?,
        "HEAD" | "@" => place.head(hash)?,
        full => id(full.as_bytes(), hash)?,
    };
    let shallow = contents(&place.common.join("shallow"))?.is_some_and(|list| !list.is_empty());
    Ok(Subject {
        id,
        unseen: !id.is_empty_tree(),
        objects: place.common.join("objects"),
        settings: reader.settings,
        shallow,
    })
}

impl Place {
    fn at_or_above(folder: &Path) -> Result<Self, NotPlain> {
        if let Some(place) = Self::at(folder)? {
            return Ok(place);
        }
        let mut folder = fs::canonicalize(folder)?;
        let device = fs::metadata(&folder)?.dev();
        while folder.pop() {
            // Git goes no further than to the end of a file system, unless it is told to.
            if fs::metadata(&folder)?.dev() != device {
                return Err(NotPlain);
            }
            if let Some(place) = Self::at(&folder)? {
                return Ok(place);
            }
        }
        Err(NotPlain)
    }

    /// The clone in a folder, or the one that the folder itself is.
    fn at(folder: &Path) -> Result<Option<Self>, NotPlain> {
        let inside = folder.join(".git");
        let own = match fs::metadata(&inside) {
            Ok(file) if file.is_dir() => inside,
            Ok(_) => {
                let link = contents(&inside)?.ok_or(NotPlain)?;
                let path = link.strip_prefix(b"gitdir: ").ok_or(NotPlain)?;
                folder.join(path_in(path)?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A linked work tree's folder in the clone has a HEAD of its own, and its objects are elsewhere.
                let has = |name| folder.join(name).try_exists();
                if !has("HEAD")? || !(has("objects")? || has("commondir")?) {
                    return Ok(None);
                }
                folder.to_owned()
            }
            Err(_) => return Err(NotPlain),
        };
        let common = match contents(&own.join("commondir"))? {
            Some(path) => own.join(path_in(&path)?),
            None => own.clone(),
        };
        let is_one =
            fs::metadata(common.join("refs"))?.is_dir() && fs::metadata(common.join("objects"))?.is_dir();
        if is_one { Ok(Some(Self { own, common })) } else { Err(NotPlain) }
    }

    fn head_in_tables(&self, hash: gix::hash::Kind) -> Result<ObjectId, NotPlain> {
        let references = References::read(&self.own, &self.common, hash).map_err(|_| NotPlain)?;
        references.follow("HEAD".into()).map_err(|_| NotPlain)
    }

    /// The commit that HEAD or its branch names.
    fn head(&self, hash: gix::hash::Kind) -> Result<ObjectId, NotPlain> {
        let head = contents(&self.own.join("HEAD"))?.ok_or(NotPlain)?;
        let Some(branch) = head.strip_prefix(b"ref:") else { return id(head.trim_ascii_end(), hash) };
        let branch = str::from_utf8(branch.trim_ascii()).map_err(|_| NotPlain)?;
        if !branch.starts_with("refs/heads/") || branch.contains("..") {
            return Err(NotPlain);
        }
        if let Some(loose) = contents(&self.common.join(branch))? {
            return id(loose.trim_ascii_end(), hash);
        }
        let packed = at_most(&self.common.join("packed-refs"), PACKED_REFS_LIMIT)?.ok_or(NotPlain)?;
        let at = packed.find(format!(" {branch}\n")).ok_or(NotPlain)?;
        let line = packed[..at].rfind_byte(b'\n').map_or(0, |end| end + 1);
        id(&packed[line..at], hash)
    }
}

/// A file's contents, or nothing where there is no file.
pub(crate) fn contents(file: &Path) -> Result<Option<Vec<u8>>, NotPlain> {
    at_most(file, FILE_LIMIT)
}

fn at_most(file: &Path, limit: u64) -> Result<Option<Vec<u8>>, NotPlain> {
    let file = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut contents = Vec::with_capacity(1 << 10);
    let length = file.take(limit).read_to_end(&mut contents)?;
    if (length as u64) < limit { Ok(Some(contents)) } else { Err(NotPlain) }
}

/// The path in a file that holds nothing else.
fn path_in(text: &[u8]) -> Result<&str, NotPlain> {
    let path = str::from_utf8(text).map_err(|_| NotPlain)?.trim_end_matches(['\n', '\r']);
    if path.is_empty() || path.contains('\n') { Err(NotPlain) } else { Ok(path) }
}

/// A full id in small letters.
fn id(text: &[u8], hash: gix::hash::Kind) -> Result<ObjectId, NotPlain> {
    let plain = text.len() == hash.len_in_hex() && !text.iter().any(u8::is_ascii_uppercase);
    if plain { ObjectId::from_hex(text).map_err(|_| NotPlain) } else { Err(NotPlain) }
}
