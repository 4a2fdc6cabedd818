//! The layers of an image in the storage of an engine on this machine.
//!
//! An export is written to the engine's disk as a whole before its first byte comes, by one thread: for a push that is half
//! of the time. What the engine writes there it reads from its storage, and so can whoever may read that: root, for most
//! engines. Nothing is believed of it: where a layer has not the digest that the image's configuration names, its upload is
//! not ended, so that no blob comes of it, and the export is taken instead.
//!
//! The storage's shape is that of docker's classic store (moby `daemon/internal/layer/filestore.go` and `image/fs.go`), the
//! same since 2016: `image/DRIVER/layerdb/sha256/CHAIN` has a layer's digest, the name of its folder and how its files were
//! a tar archive.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::LocalImage;
use super::tar_split::TarSplit;
use crate::digest;

/// An image in the engine's storage.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The bytes of its configuration, which have its id as their digest.
    pub configuration: Bytes,
    /// Its layers, lowest first.
    pub layers: Vec<StoredLayer>,
}

/// A layer there.
#[derive(Debug, Clone)]
pub struct StoredLayer {
    /// The digest that it should have as a tar archive.
    pub diff_id: String,
    /// The bytes of its files, without what a tar archive adds to them.
    pub size: u64,
    /// How its files were an archive.
    split: PathBuf,
    /// The folder with its files.
    files: PathBuf,
}

impl Storage {
    /// Finds an image below the engine's root folder, if this program may read it there.
    pub(super) fn of(image: &LocalImage, root: &Path, driver: &str) -> io::Result<Self> {
        let store = root.join("image").join(plain_name(driver)?);
        let (_, id) = image.id.split_once(':').ok_or_else(|| other("the image's id is no digest"))?;
        let configuration = fs::read(store.join("imagedb/content/sha256").join(plain_name(id)?))?;
        if digest::of(&configuration) != image.id {
            return Err(other("its configuration is another one"));
        }
        let layer = |(diff_id, chain): (&String, String)| {
            let (_, name) = chain.split_once(':').ok_or_else(|| other("a layer's id is no digest"))?;
            StoredLayer::of(diff_id, &store.join("layerdb/sha256").join(plain_name(name)?), root, driver)
        };
        let layers = image.diff_ids.iter().zip(digest::chain_ids(&image.diff_ids)).map(layer);
        Ok(Self { configuration: configuration.into(), layers: layers.collect::<io::Result<_>>()? })
    }
}

impl StoredLayer {
    fn of(diff_id: &str, entry: &Path, root: &Path, driver: &str) -> io::Result<Self> {
        if fs::read_to_string(entry.join("diff"))? != diff_id {
            return Err(other("a layer is another one"));
        }
        let cache = fs::read_to_string(entry.join("cache-id"))?;
        let files = root.join(driver).join(match driver {
            "overlay2" | "fuse-overlayfs" => Path::new(plain_name(&cache)?).join("diff"),
            "vfs" => Path::new("dir").join(plain_name(&cache)?),
            _ => return Err(other("its driver keeps layers in no folder")),
        });
        let size = fs::read_to_string(entry.join("size"))?;
        let size = size.trim().parse().map_err(|_| other("a layer's size is no number"))?;
        let layer = Self { diff_id: diff_id.to_owned(), size, split: entry.join("tar-split.json.gz"), files };
        layer.open()?;
        Ok(layer)
    }

    /// The layer as a tar archive.
    pub fn open(&self) -> io::Result<TarSplit> {
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let files = OpenOptions::new().read(true).custom_flags(flags).open(&self.files)?;
        TarSplit::new(File::open(&self.split)?, files)
    }
}

/// A name in the storage, which leads nowhere else.
fn plain_name(name: &str) -> io::Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !name.is_empty() && name.chars().all(is_plain) { Ok(name) } else { Err(other("it has an odd name")) }
}

fn other(problem: &str) -> io::Error {
    io::Error::other(problem.to_owned())
}
