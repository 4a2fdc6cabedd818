//! Images in files and streams: what `docker save` writes, OCI image layouts, and archives of them.

mod arriving;
mod entries;
mod folder;
mod graph;
mod saved;
mod unpack;
mod wanted;

pub use arriving::Arriving;
pub use entries::{Entry, documents_of, open};
pub use folder::Folder;
pub use graph::{Document, Graph, by_digest, graph, root, root_of};
pub use saved::{Saved, paths_of_saved, saved};
pub use unpack::{AT_ONCE, Expected, Unpacked, Work, short, unpack};
pub use wanted::{Wanted, told_by_index, told_by_manifest, with_targets};

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

/// The JSON documents of an archive, by their path in it.
pub type Documents = HashMap<String, Bytes>;

/// The links of an archive: what is at a path is at another one.
pub type Links = HashMap<String, String>;

/// Paths in an archive.
pub type Paths = HashSet<String>;

/// No document of an image is larger; what is larger is a layer.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// How gzip begins (RFC 1952, 2.3.1).
pub const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where an OCI layout keeps a blob.
pub fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// The digest of the blob at a path of an OCI layout.
pub fn blob_digest(path: &str) -> Option<String> {
    let digest = path.strip_prefix("blobs/")?.replacen('/', ":", 1);
    crate::digest::is_digest(&digest).then_some(digest)
}
