//! Proof, from metadata alone, that an object still is as it was applied.
//!
//! A digest of what was wanted and of what the server answered is kept in the ApplySet's parent: the object's uid and
//! the entry of our field manager, fields and time (Kubernetes' managedfieldsupdater.go). Whoever takes or changes one
//! of our fields takes it out of the entry; who applies under our own name with other values moves its time. An object
//! whose digest comes out the same needs no request at all.
//!
//! The time has only seconds. Two runs of one application that overlap could both apply an object within one, so each
//! marks the parent before it writes; a run that finds another's mark keeps no new proof.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::inventory::base64_url;
use crate::plan::Wanted;

/// The parent is an object of at most 1.5 MB; more proofs than these are not kept, and their objects applied again.
const MOST: usize = 40_000;

/// The digests that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proofs(BTreeSet<String>);

impl Proofs {
    /// Reads what [`Proofs::text`] writes.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().map(ToOwned::to_owned).collect())
    }

    /// A digest a line.
    pub fn text(&self) -> String {
        self.0.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Keeps a proof.
    pub fn insert(&mut self, proof: String) {
        self.0.insert(proof);
    }

    /// Whether this proof is kept.
    pub fn contains(&self, proof: &str) -> bool {
        self.0.contains(proof)
    }
}

impl FromIterator<String> for Proofs {
    fn from_iter<T: IntoIterator<Item = String>>(proofs: T) -> Self {
        Self(proofs.into_iter().collect())
    }
}

/// The proof that an object with this uid and footprint is as wanted.
pub fn of(wanted: &Wanted, uid: &str, footprint: &str) -> String {
    digest(&[&wanted.identity.to_string(), &wanted.digest, uid, footprint])
}

/// A short digest of several texts.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    base64_url(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_moves_breaks_the_proof() {
        let wanted = |digest: &str| Wanted { digest: digest.to_owned(), ..Wanted::default() };
        let mut proofs = Proofs::default();
        proofs.insert(of(&wanted("object"), "uid", "fields and time"));
        let kept = Proofs::parse(&proofs.text());
        assert!(kept.contains(&of(&wanted("object"), "uid", "fields and time")));
        for (object, uid, footprint) in [
            ("another object", "uid", "fields and time"),
            ("object", "another uid", "fields and time"),
            ("object", "uid", "fields and another time"),
        ] {
            assert!(!kept.contains(&of(&wanted(object), uid, footprint)));
        }
    }
}
