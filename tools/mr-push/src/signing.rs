//! SSH signatures of commits, as `git verify-commit` checks them (git's `gpg.format=ssh`).
//!
//! Ed25519 and ECDSA P-256 signatures are functions of their input, so a signed commit is one too.

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use step::{Failure, FailureKind};

/// Git's namespace in a signature (`ssh-keygen -Y sign -n git`).
const NAMESPACE: &str = "git";

/// Why a key can't sign.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// Not an OpenSSH private key.
    #[error("the signing key can't be read")]
    Key(#[source] ssh_key::Error),
    /// No passphrase, or another one.
    #[error("the signing key is encrypted, and MR_PUSH_SIGN_KEY_PASSPHRASE does not decrypt it")]
    Passphrase,
    /// A type without a deterministic signature.
    #[error("a signing key of type {0} is not supported")]
    Type(String),
    /// The signature could not be made.
    #[error("can't sign the commit")]
    Sign(#[source] ssh_key::Error),
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        let hint = match error {
            SigningError::Passphrase => "set MR_PUSH_SIGN_KEY_PASSPHRASE",
            _ => "--sign-key takes an Ed25519 or ECDSA P-256 key in OpenSSH's format",
        };
        let kind = match error {
            SigningError::Sign(_) => FailureKind::Internal,
            _ => FailureKind::Input,
        };
        Self::new(kind, error).hint(hint)
    }
}

/// A key that signs commits.
#[derive(Debug)]
pub struct Signer(PrivateKey);

impl Signer {
    /// Reads a key in OpenSSH's format.
    pub fn new(text: &str, passphrase: Option<&str>) -> Result<Self, SigningError> {
        let text = text.replace('\r', "");
        let key = PrivateKey::from_openssh(text.trim()).map_err(SigningError::Key)?;
        let key = match (key.is_encrypted(), passphrase) {
            (false, _) => key,
            (true, None) => return Err(SigningError::Passphrase),
            (true, Some(passphrase)) => key.decrypt(passphrase).map_err(|_| SigningError::Passphrase)?,
        };
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 } => Ok(Self(key)),
            other => Err(SigningError::Type(other.to_string())),
        }
    }

    /// The armoured signature of a commit's content.
    pub fn sign(&self, content: &[u8]) -> Result<String, SigningError> {
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, content).map_err(SigningError::Sign)?;
        signature.to_pem(LineEnding::LF).map_err(SigningError::Sign)
    }
}
