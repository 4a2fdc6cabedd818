//! Manifests that SOPS encrypted for age: decrypted in memory, and checked as `sops` itself checks them.
//!
//! [`sops`] knows the format; here are the keys. What was encrypted is marked on the object, so that no difference of it
//! is ever shown ([`ENCRYPTED`]); a Secret's values are not shown anyway.

pub mod keys;
pub mod sops;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::SyncError;
use crate::yaml::Document;
use keys::Keys;

/// The annotation of an object that was encrypted, and is no Secret: the fields whose values are not to be shown.
pub const ENCRYPTED: &str = "k8s-sync/encrypted";

/// Whether a file may be encrypted: what sops knows of it is in the text.
pub fn may_be_needed(text: &str) -> bool {
    text.contains(sops::METADATA)
}

/// Decrypts the documents of one file as it is in Git, and checks that nobody has touched it since.
pub fn file(documents: &mut [Document], place: &str, keys: Option<&Keys>) -> Result<(), SyncError> {
    if !documents.iter().any(|(_, document)| sops::is_encrypted(document)) {
        return Ok(());
    }
    let Some(keys) = keys else { return Err(SyncError::Encrypted(place.to_owned())) };
    let undecipherable = |error| SyncError::Undecipherable { place: place.to_owned(), cause: error };
    // As sops has it: the first document tells of all.
    let metadata = sops::Metadata::of(&documents[0].1).map_err(undecipherable)?;
    let key = keys.data_key(&metadata).map_err(undecipherable)?;
    let mut check = sops::Check::new(&metadata);
    for (_, document) in documents {
        let fields = sops::decrypt(document, &key, &mut check).map_err(undecipherable)?;
        hide(document, &fields);
    }
    check.end(&metadata, &key).map_err(undecipherable)
}

/// Decrypts what a renderer made of files: it has moved things about, so that only single values can be checked.
///
/// `origin` is told each file's MAC and has to find the file that it is of, and check that.
pub fn rendered(
    documents: &mut [Document],
    place: &str,
    keys: Option<&Keys>,
    mut origin: impl FnMut(&str) -> Result<(), SyncError>,
) -> Result<(), SyncError> {
    let undecipherable = |error| SyncError::Undecipherable { place: place.to_owned(), cause: error };
    let mut checked = BTreeSet::new();
    for (_, document) in documents.iter_mut().filter(|(_, document)| sops::is_encrypted(document)) {
        let Some(keys) = keys else { return Err(SyncError::Encrypted(place.to_owned())) };
        let metadata = sops::Metadata::of(document).map_err(undecipherable)?;
        if checked.insert(metadata.mac.clone()) {
            origin(&metadata.mac)?;
        }
        let key = keys.data_key(&metadata).map_err(undecipherable)?;
        let fields = sops::decrypt(document, &key, &mut sops::Check::none()).map_err(undecipherable)?;
        hide(document, &fields);
    }
    Ok(())
}

/// Marks the objects of a document whose fields were encrypted.
fn hide(document: &mut Value, fields: &BTreeSet<Vec<String>>) {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let is_list = is_list && document["items"].is_array();
    let depth = usize::from(is_list);
    let mut hidden: BTreeSet<&str> =
        fields.iter().filter_map(|path| path.get(depth)).map(String::as_str).collect();
    hidden.remove("apiVersion");
    let objects: Vec<&mut Value> = if is_list {
        document["items"].as_array_mut().into_iter().flatten().collect()
    } else {
        vec![document]
    };
    for object in objects {
        let is_secret = object["kind"] == "Secret" && object["apiVersion"] == "v1";
        let mut own = hidden.clone();
        if is_secret {
            own.retain(|field| !["data", "stringData"].contains(field));
        }
        if !own.is_empty() {
            let names: Vec<&str> = own.into_iter().collect();
            let metadata = &mut object["metadata"];
            if !metadata["annotations"].is_object() {
                metadata["annotations"] = Value::Object(Map::new());
            }
            metadata["annotations"][ENCRYPTED] = Value::from(names.join(","));
        }
    }
}
