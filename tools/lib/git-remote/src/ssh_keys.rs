//! Private keys as people paste them into CI variables.

use step::Secret;

use crate::RemoteError;
use crate::settings::PrivateKey;

impl PrivateKey {
    /// The key in the form that libssh2 and OpenSSH read: variables lose the last newline, and
    /// Windows editors add carriage returns.
    pub(crate) fn normalised(&self) -> Result<Secret, RemoteError> {
        let text = self.text.expose().replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim();
        let wrong = |what: &str| Err(RemoteError::Setting(format!("{} {what}", self.origin)));
        if text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-") {
            return wrong("holds a public key; the private one is needed");
        }
        if text.starts_with("PuTTY-User-Key-File") {
            return wrong("holds a PuTTY key; `puttygen KEY -O private-openssh` makes an OpenSSH key of it");
        }
        if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
            return wrong("holds no private key in OpenSSH or PEM form");
        }
        if !text.contains("\n-----END ") {
            return wrong("holds a private key that is cut off: its END line is missing");
        }
        Ok(Secret::new(format!("{text}\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PrivateKey {
        PrivateKey { text: Secret::new(text), passphrase: None, origin: "SSH_PRIVATE_KEY".to_owned() }
    }

    #[test]
    fn pasted_keys_are_mended() {
        let pasted = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nAAAA\r\n-----END OPENSSH PRIVATE KEY-----";
        let mended = key(pasted).normalised().unwrap();
        assert_eq!(
            mended.expose(),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
        );
    }

    #[test]
    fn what_is_no_private_key_is_named() {
        let said = |text: &str| key(text).normalised().unwrap_err().to_string();
        assert!(said("ssh-ed25519 AAAA me").contains("public key"));
        assert!(said("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA").contains("END line"));
        assert!(said("/builds/key").contains("no private key"));
    }
}
