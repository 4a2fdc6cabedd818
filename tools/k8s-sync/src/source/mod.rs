//! Where manifests come from: files, stdin, or a path of a revision of a repository.

mod cache;
mod checkout;
mod origin;
mod render;

pub use checkout::{Checkout, Commit};
pub use render::Release;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::decryption::keys::Keys;
use crate::error::SyncError;
use crate::manifest::{Manifest, parse};
use render::Renderer;

/// How what is in a source becomes manifests.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What Helm calls the application.
    pub release: Release<'a>,
    /// What decrypts; without keys an encrypted file is refused.
    pub keys: Option<&'a Keys>,
}

/// The endings of files that hold manifests; a template such as `deployment.yml.tmpl` has none of them.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Whether a file's name says that it holds manifests.
pub(crate) fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending))
}

/// Whether a name begins with a dot: a CI's own files, Git's, and what Kubernetes keeps beside the files of a volume.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Reads a file, a folder with all below it, or stdin (`-`). Nothing there is an error: it would prune everything.
pub fn read_files(path: &Path, reading: Reading<'_>) -> Result<Vec<Manifest>, SyncError> {
    let is_stdin = path.as_os_str() == "-";
    let shown = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let manifests = if is_stdin {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|cause| SyncError::Unreadable { path: "stdin".to_owned(), cause })?;
        parse(&text, "stdin", reading.keys)?
    } else if let Some(renderer) = Renderer::of(|name| path.join(name).is_file()) {
        renderer.render(path, &shown, reading, &origin::repository_of(path))?
    } else {
        let mut manifests = Vec::new();
        for file in files(path)? {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file)
                .map_err(|cause| SyncError::Unreadable { path: name.clone(), cause })?;
            manifests.extend(parse(&text, &name, reading.keys)?);
        }
        manifests
    };
    if manifests.is_empty() { Err(SyncError::EmptySource(shown)) } else { Ok(manifests) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, SyncError> {
    let unreadable = |cause| SyncError::Unreadable { path: path.display().to_string(), cause };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (is_link, entry) = (entry.file_type().map_err(unreadable)?.is_symlink(), entry.path());
        if is_hidden(&entry) {
            continue;
        }
        if !entry.is_dir() && is_manifest(&entry) {
            render::refuse_below(&entry)?;
            found.push(entry);
        } else if entry.is_dir() && !is_link {
            // A link to a folder may lead back here.
            found.extend(files(&entry)?);
        }
    }
    found.sort();
    Ok(found)
}
