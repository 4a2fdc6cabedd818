//! Age keys: where they are, and what they open.

use std::path::PathBuf;

use age::x25519::Identity;
use step::Secret;

use super::sops::{DataKey, Metadata, SopsError};
use crate::cluster::Cluster;
use crate::error::SyncError;

/// The entries of a Secret that hold keys, as Flux has it.
const ENDING: &str = ".agekey";

/// Where the keys come from; each that is given is read.
#[derive(Debug, Clone, Default)]
pub struct KeySource {
    /// The keys themselves.
    pub text: Option<Secret>,
    /// Files of keys, as age-keygen writes them.
    pub files: Vec<PathBuf>,
    /// A Secret's namespace and name.
    pub secret: Option<(String, String)>,
}

/// Keys that can open what was encrypted for them.
#[derive(Clone, Default)]
pub struct Keys(Vec<Identity>);

impl KeySource {
    /// Reads the keys as they are now.
    pub async fn read(&self, cluster: &Cluster) -> Result<Keys, SyncError> {
        let mut keys = self.read_local()?;
        if let Some((namespace, name)) = &self.secret {
            keys.0.extend(from_secret(cluster, namespace, name).await?.0);
        }
        if keys.0.is_empty() {
            return Err(SyncError::NoKeys);
        }
        Ok(keys)
    }

    fn read_local(&self) -> Result<Keys, SyncError> {
        let mut keys = Keys::default();
        if let Some(text) = &self.text {
            keys.add(text.expose(), "SOPS_AGE_KEY")?;
        }
        for file in &self.files {
            let path = file.display().to_string();
            let text = std::fs::read_to_string(file)
                .map_err(|cause| SyncError::Unreadable { path: path.clone(), cause })?;
            keys.add(&text, &path)?;
        }
        Ok(keys)
    }
}

async fn from_secret(cluster: &Cluster, namespace: &str, name: &str) -> Result<Keys, SyncError> {
    use base64::Engine as _;
    let place = format!("Secret {namespace}/{name}");
    let wrong = |problem: &str| SyncError::UnusableKeys { place: place.clone(), problem: problem.to_owned() };
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let Some(secret) = cluster.get(&path).await? else { return Err(wrong("it is not there")) };
    let mut keys = Keys::default();
    for (entry, value) in secret["data"].as_object().into_iter().flatten() {
        if !entry.ends_with(ENDING) {
            continue;
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        keys.add(&text.ok_or_else(|| wrong("it holds no text"))?, &format!("{place}, {entry}"))?;
    }
    if keys.0.is_empty() {
        return Err(wrong(&format!("it has no entry that ends in {ENDING}")));
    }
    Ok(keys)
}

impl Keys {
    /// Adds the keys of a text: one a line, with comments.
    pub fn add(&mut self, text: &str, place: &str) -> Result<(), SyncError> {
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // What the line says is not told: it may be a key with a slip in it.
            let identity = line.parse().map_err(|_| SyncError::UnusableKeys {
                place: place.to_owned(),
                problem: format!("line {} is no age key (AGE-SECRET-KEY-1…)", number + 1),
            })?;
            self.0.push(identity);
        }
        Ok(())
    }

    /// The key that a file's values are encrypted with.
    pub fn data_key(&self, metadata: &Metadata) -> Result<DataKey, SopsError> {
        for (_, encrypted) in &metadata.recipients {
            for identity in &self.0 {
                if let Ok(key) = age::decrypt(identity, encrypted.as_bytes()) {
                    return DataKey::try_from(key).map_err(|_| SopsError::Malformed("the data key's length"));
                }
            }
        }
        let recipients = metadata.recipients.iter().map(|(recipient, _)| recipient.clone());
        Err(SopsError::NotForUs(recipients.collect::<Vec<_>>().join(", ")))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} age keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_slip_in_it_is_not_shown() {
        let mut keys = Keys::default();
        let error = keys.add("# mine\n\nAGE-SECRET-KEY-1SLIP\n", "keys.txt").unwrap_err().to_string();
        assert!(error.contains("keys.txt") && error.contains("line 3") && !error.contains("SLIP"), "{error}");
    }
}
