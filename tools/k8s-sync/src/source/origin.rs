//! The encrypted files that something was rendered from: a renderer moves values about, and the MAC is of the file.

use std::path::{Path, PathBuf};

use super::is_manifest;
use crate::decryption;
use crate::decryption::keys::Keys;
use crate::decryption::sops::{self, SopsError};
use crate::error::SyncError;
use crate::manifest;

/// The folder that holds all that a local folder may be rendered from: its repository, where it is in one.
pub(super) fn repository_of(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let repository = folder.ancestors().find(|ancestor| ancestor.join(".git").exists());
    repository.unwrap_or(&folder).to_owned()
}

/// Finds the file below `root` that has this MAC, and checks that it holds what was encrypted.
pub(super) fn check(root: &Path, mac: &str, keys: Option<&Keys>) -> Result<(), SyncError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |cause| SyncError::Unreadable { path: folder.display().to_string(), cause };
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
            if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if kind.is_file() && is_manifest(&path) && has(&path, mac) {
                let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                let text = std::fs::read_to_string(&path).map_err(unreadable)?;
                let mut documents = manifest::read(&text, &place)?;
                if documents.first().is_some_and(|(_, first)| sops::has_mac(first, mac)) {
                    return decryption::file(&mut documents, &place, keys);
                }
            }
        }
    }
    let place = "what was rendered".to_owned();
    Err(SyncError::Undecipherable { place, cause: SopsError::NoOrigin })
}

fn has(path: &Path, mac: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.windows(mac.len()).any(|window| window == mac.as_bytes()))
}
