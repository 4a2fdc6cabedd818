//! What decrypts manifests: the options, and the variables that sops itself knows.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use step::{Failure, FailureKind, environment};

use crate::decryption::keys::KeySource;

/// Manifests that SOPS encrypted for age.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Decryption")]
pub(super) struct Decryption {
    /// Decrypt, in memory, manifests that SOPS encrypted for age, with the keys below and of `SOPS_AGE_KEY` (the keys
    /// themselves) and ~/.config/sops/age/keys.txt
    #[arg(long, env = "K8S_SYNC_DECRYPT", value_parser = BoolishValueParser::new())]
    pub(super) decrypt: bool,

    /// Age keys, as age-keygen writes them
    #[arg(long, value_name = "FILE", env = "SOPS_AGE_KEY_FILE")]
    pub(super) age_key_file: Option<PathBuf>,

    /// A Secret of the destination whose entries that end in .agekey hold age keys
    #[arg(long, value_name = "NAMESPACE/NAME", env = "K8S_SYNC_AGE_KEY_SECRET")]
    pub(super) age_key_secret: Option<String>,
}

impl Decryption {
    /// Where the keys come from; none where nothing is to be decrypted.
    pub(super) fn source(&self) -> Result<Option<KeySource>, Failure> {
        if !self.decrypt {
            return Ok(None);
        }
        let secret = match &self.age_key_secret {
            Some(secret) => Some(named(secret)?),
            None => None,
        };
        let home = environment::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let configuration = environment::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
        let usual =
            configuration.map(|folder| folder.join("sops/age/keys.txt")).filter(|file| file.is_file());
        let text = environment::secret(&["SOPS_AGE_KEY"])?;
        Ok(Some(KeySource {
            text,
            files: self.age_key_file.clone().into_iter().chain(usual).collect(),
            secret,
        }))
    }
}

fn named(secret: &str) -> Result<(String, String), Failure> {
    let both = secret.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    both.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).ok_or_else(|| {
        let message = format!("--age-key-secret {secret} does not say where the Secret is");
        Failure::message(FailureKind::Usage, message).hint("--age-key-secret NAMESPACE/NAME")
    })
}
