//! sha256 digests, as the OCI image specification writes them.

use ring::digest::{Context, SHA256};

/// A digest being computed.
pub struct Hasher(Context);

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Of these bytes too.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `sha256:` and 64 hexadecimal digits.
    pub fn finish(self) -> String {
        use std::fmt::Write as _;
        self.0.finish().as_ref().iter().fold(String::from("sha256:"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The digest of these bytes.
pub fn of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// What each layer is called together with those below it (OCI image specification, "Layer `ChainID`").
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => diff_id.clone(),
            Some(below) => of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chain
}

/// Whether a text is a sha256 digest, which makes it safe in a URL too.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}
