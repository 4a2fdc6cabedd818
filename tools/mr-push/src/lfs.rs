//! Git LFS: a repository has pointers in the place of files, and their content is somewhere else
//! (git-lfs' `docs/spec.md`). A commit can change what a pointer is only if somebody uploads the content as well.

use std::path::Path;

use git2::{AttrCheckFlags, Repository};
use ssh_key::sha2::{Digest as _, Sha256};

const VERSION: &str = "version https://git-lfs.github.com/spec/v1\n";

/// The longest pointer, in bytes.
const LONGEST: usize = 1024;

/// Whether it is a pointer and not the content.
pub fn is_pointer(content: &[u8]) -> bool {
    content.len() < LONGEST && content.starts_with(VERSION.as_bytes())
}

/// The pointer to a content.
pub fn pointer_to(content: &[u8]) -> String {
    format!("{VERSION}oid sha256:{:x}\nsize {}\n", Sha256::digest(content), content.len())
}

/// Whether the `.gitattributes` of the work tree leave the file to Git LFS.
pub fn is_tracked(repository: &Repository, path: &Path) -> bool {
    let filter = repository.get_attr(path, "filter", AttrCheckFlags::FILE_THEN_INDEX);
    filter.ok().flatten() == Some("lfs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_as_git_lfs_writes_it() {
        // `printf hello | git lfs clean`
        let expected = "version https://git-lfs.github.com/spec/v1\n\
             oid sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\nsize 5\n";
        assert_eq!(pointer_to(b"hello"), expected);
        assert!(is_pointer(expected.as_bytes()));
        assert!(!is_pointer(b"hello"));
    }
}
