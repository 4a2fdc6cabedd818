//! The format of SOPS: single values encrypted with AES-256-GCM, whose place is authenticated with them, and a MAC over
//! all values in their order (getsops/sops `sops.go`, `aes/cipher.go`, `stores/metadata.go`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, AesGcm, aes::Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;

use crate::yaml;

/// The field that tells how a document is encrypted.
pub const METADATA: &str = "sops";
/// How an encrypted value begins.
const BEGINNING: &str = "ENC[AES256_GCM,";
/// What the MAC of encrypted values alone begins with (`MACOnlyEncryptedInitialization`).
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// The key of a file's values.
pub type DataKey = [u8; 32];

/// Why a document can't be decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    /// The metadata are not as sops writes them.
    #[error("its sops metadata are broken: {0}")]
    Malformed(&'static str),
    /// Something of sops that is not had here.
    #[error("it is encrypted with {0}, and age keys are all that can be used here")]
    Unsupported(&'static str),
    /// Other keys open it.
    #[error("none of the keys that were given opens it; it is encrypted for {0}")]
    NotForUs(String),
    /// A value that was changed, or moved to another place.
    #[error("the value at {0} was changed or moved since it was encrypted")]
    Value(String),
    /// Nobody knows of which file the document was.
    #[error("no file of the source has its MAC, so that nobody can tell whether it was changed")]
    NoOrigin,
    /// The file as a whole was changed.
    #[error("it was changed since it was encrypted: its MAC is that of other values")]
    Mac,
}

/// Whether a document says that sops encrypted it.
pub fn is_encrypted(document: &Value) -> bool {
    document[METADATA].is_object() && document[METADATA]["mac"].is_string()
}

/// Whether a document has this MAC.
pub fn has_mac(document: &Value, mac: &str) -> bool {
    document[METADATA]["mac"] == mac
}

/// What of a document's metadata is needed.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Public keys, and the data key encrypted for each.
    pub recipients: Vec<(String, String)>,
    /// The encrypted MAC.
    pub mac: String,
    last_modified: String,
    only_encrypted: bool,
}

impl Metadata {
    /// Reads a document's metadata.
    pub fn of(document: &Value) -> Result<Self, SopsError> {
        let sops = &document[METADATA];
        let text = |value: &Value, what: &'static str| {
            value.as_str().map(ToOwned::to_owned).ok_or(SopsError::Malformed(what))
        };
        if !sops.is_object() {
            return Err(SopsError::Malformed("the first document of the file has none"));
        }
        if sops["shamir_threshold"].as_u64().is_some_and(|threshold| threshold > 0) {
            return Err(SopsError::Unsupported("a key in several parts (shamir_threshold)"));
        }
        let recipients: Result<Vec<_>, _> = sops["age"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| Ok((text(&entry["recipient"], "age.recipient")?, text(&entry["enc"], "age.enc")?)))
            .collect();
        let recipients = recipients?;
        if recipients.is_empty() {
            let others = [
                ("pgp", "PGP"),
                ("kms", "AWS KMS"),
                ("gcp_kms", "GCP KMS"),
                ("azure_kv", "Azure Key Vault"),
                ("hc_vault", "Vault"),
                ("key_groups", "key groups"),
            ];
            let used =
                others.iter().find(|(field, _)| sops[*field].as_array().is_some_and(|keys| !keys.is_empty()));
            return Err(SopsError::Unsupported(used.map_or("no key at all", |(_, name)| *name)));
        }
        Ok(Self {
            recipients,
            mac: text(&sops["mac"], "mac")?,
            last_modified: text(&sops["lastmodified"], "lastmodified")?,
            only_encrypted: sops["mac_only_encrypted"] == true,
        })
    }
}

/// The MAC over what was decrypted so far.
pub struct Check {
    hash: Option<Sha512>,
    only_encrypted: bool,
}

impl Check {
    /// For the values of a whole file.
    pub fn new(metadata: &Metadata) -> Self {
        let mut hash = Sha512::new();
        if metadata.only_encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        Self { hash: Some(hash), only_encrypted: metadata.only_encrypted }
    }

    /// For values that are no longer those of a file.
    pub const fn none() -> Self {
        Self { hash: None, only_encrypted: false }
    }

    fn add(&mut self, value: &Value) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes(value));
        }
    }

    /// Refuses where the file is not the one that was encrypted.
    pub fn end(self, metadata: &Metadata, key: &DataKey) -> Result<(), SopsError> {
        let Some(hash) = self.hash else { return Ok(()) };
        let expected = open(&metadata.mac, key, &metadata.last_modified)
            .and_then(|value| value.as_str().map(ToOwned::to_owned))
            .ok_or(SopsError::Mac)?;
        let mut found = String::with_capacity(128);
        for byte in hash.finalize() {
            // Writing to a String does not fail.
            let _ = write!(found, "{byte:02X}");
        }
        if bool::from(found.as_bytes().ct_eq(expected.as_bytes())) { Ok(()) } else { Err(SopsError::Mac) }
    }
}

/// Decrypts a document where it stands and takes the metadata out; returns the places of what was encrypted.
pub fn decrypt(
    document: &mut Value,
    key: &DataKey,
    check: &mut Check,
) -> Result<BTreeSet<Vec<String>>, SopsError> {
    if let Some(fields) = document.as_object_mut() {
        fields.shift_remove(METADATA);
    }
    let mut walk = Walk { key, check, path: Vec::new(), decrypted: BTreeSet::new() };
    walk.value(document)?;
    Ok(walk.decrypted)
}

struct Walk<'a> {
    key: &'a DataKey,
    check: &'a mut Check,
    /// Keys only: sops counts no items of lists.
    path: Vec<String>,
    decrypted: BTreeSet<Vec<String>>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value) -> Result<(), SopsError> {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.path.push(name.clone());
                    self.value(value)?;
                    self.path.pop();
                }
            }
            Value::Array(items) => {
                // Comments are neither values nor part of the MAC; a list is where they look like values.
                items.retain(|item| !item.as_str().is_some_and(is_comment));
                items.iter_mut().try_for_each(|item| self.value(item))?;
            }
            Value::String(text) if text.starts_with(BEGINNING) => {
                let place = self.path.join(":");
                let Some(plain) = open(text, self.key, &format!("{place}:")) else {
                    return Err(SopsError::Value(place));
                };
                self.check.add(&plain);
                self.decrypted.insert(self.path.clone());
                *value = plain;
            }
            plain => {
                if !self.check.only_encrypted {
                    self.check.add(plain);
                }
            }
        }
        Ok(())
    }
}

fn is_comment(text: &str) -> bool {
    text.starts_with(BEGINNING) && text.ends_with(",type:comment]")
}

/// Opens `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`; none where it is not as it was encrypted, for this place.
fn open(text: &str, key: &DataKey, place: &str) -> Option<Value> {
    let inner = text.strip_prefix(BEGINNING)?.strip_suffix(']')?;
    let mut parts = inner.split(',').map(|part| part.split_once(':'));
    let mut part = |name: &str| parts.next()?.filter(|(found, _)| *found == name).map(|(_, value)| value);
    let mut sealed = STANDARD.decode(part("data")?).ok()?;
    let nonce = STANDARD.decode(part("iv")?).ok()?;
    sealed.extend(STANDARD.decode(part("tag")?).ok()?);
    let kind = part("type")?;
    let payload = Payload { msg: &sealed, aad: place.as_bytes() };
    let opened = match nonce.len() {
        32 => AesGcm::<Aes256, U32>::new(key.into()).decrypt(nonce.as_slice().into(), payload),
        12 => Aes256Gcm::new(key.into()).decrypt(nonce.as_slice().into(), payload),
        _ => return None,
    };
    let plain = String::from_utf8(opened.ok()?).ok()?;
    Some(match kind {
        "str" | "bytes" | "time" => Value::String(plain),
        "int" => Value::from(plain.parse::<i64>().ok()?),
        "float" => Value::Number(yaml::float(&plain)?),
        "bool" => Value::Bool(plain.eq_ignore_ascii_case("true")),
        _ => return None,
    })
}

/// A value as the MAC takes it (`ToBytes`).
fn bytes(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        // Without an exponent, and with as many digits as tell it from its neighbours.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float.to_string(),
            None => number.to_string(),
        },
        _ => String::new(),
    }
}
