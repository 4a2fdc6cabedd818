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
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::inventory::base64_url;
use crate::plan::Wanted;

/// The parent is an object of at most 1.5 MB; more proofs than these are not kept, and their objects applied again.
const MOST: usize = 40_000;

/// A short digest: half of SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of several texts.
    pub fn of(parts: &[&dyn AsRef<[u8]>]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let whole = hash.finalize();
        Self(std::array::from_fn(|place| whole[place]))
    }

    fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    /// In base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64_url(&self.0))
    }
}

/// The digests that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proofs(BTreeSet<Digest>);

impl Proofs {
    /// Reads what [`Proofs::text`] writes; what is no digest proves nothing.
    pub fn parse(text: &str) -> Self {
        text.lines().filter_map(Digest::parse).collect()
    }

    /// A digest a line.
    pub fn text(&self) -> String {
        self.0.iter().take(MOST).map(Digest::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Keeps a proof.
    pub fn insert(&mut self, proof: Digest) {
        self.0.insert(proof);
    }

    /// Whether this proof is kept.
    pub fn contains(&self, proof: Digest) -> bool {
        self.0.contains(&proof)
    }
}

impl FromIterator<Digest> for Proofs {
    fn from_iter<T: IntoIterator<Item = Digest>>(proofs: T) -> Self {
        Self(proofs.into_iter().collect())
    }
}

/// The proof that an object with this uid and footprint is as wanted.
pub fn of(wanted: &Wanted, uid: &str, footprint: Digest) -> Digest {
    Digest::of(&[&wanted.identity.to_string(), &wanted.digest.0, &uid, &footprint.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_moves_breaks_the_proof() {
        let digest = |text: &str| Digest::of(&[&text]);
        let wanted = |text: &str| Wanted { digest: digest(text), ..Wanted::default() };
        let mut proofs = Proofs::default();
        proofs.insert(of(&wanted("object"), "uid", digest("fields and time")));
        let kept = Proofs::parse(&proofs.text());
        assert!(kept.contains(of(&wanted("object"), "uid", digest("fields and time"))));
        for (object, uid, footprint) in [
            ("another object", "uid", "fields and time"),
            ("object", "another uid", "fields and time"),
            ("object", "uid", "fields and another time"),
        ] {
            assert!(!kept.contains(of(&wanted(object), uid, digest(footprint))));
        }
    }
}
