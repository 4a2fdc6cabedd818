//! Manifests: documents that say which object should be how.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::decryption;
use crate::decryption::keys::Keys;
use crate::error::SyncError;
use crate::hook;
use crate::order;
use crate::packed::Packed;
use crate::yaml::{self, Document, Documents, YamlError};

/// Group and kind of an object; kinds of different groups are different kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl fmt::Display for GroupKind {
    /// `Deployment.apps`, `Service`: as ApplySets and kubectl write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl GroupKind {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Self {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }

    /// Whether it is one of these groups and kinds.
    pub fn is_among(&self, kinds: &[(&str, &str)]) -> bool {
        kinds.contains(&(self.group.as_str(), self.kind.as_str()))
    }

    /// The group and kind of an object, from its apiVersion and kind.
    pub fn of(object: &Value) -> Self {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        Self { group: group.to_owned(), kind: object["kind"].as_str().unwrap_or_default().to_owned() }
    }
}

/// Which object. Copies share what it says: a sync has the same thousands in several tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Identity(Arc<Named>);

/// An object's kind, its namespace (none for the cluster's own) and its name.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Named {
    /// Group and kind.
    pub kind: GroupKind,
    /// The namespace, empty for objects of the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Deref for Identity {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.0
    }
}

impl Identity {
    /// The object of this name.
    pub fn new(kind: GroupKind, namespace: &str, name: &str) -> Self {
        Self(Arc::new(Named { kind, namespace: namespace.to_owned(), name: name.to_owned() }))
    }

    /// The identity of an object as the cluster returns it.
    pub fn of(object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Self::new(GroupKind::of(object), text("namespace"), text("name"))
    }
}

impl fmt::Display for Identity {
    /// `KIND.GROUP NAMESPACE/NAME`, the record on stdout.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One object as a source wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Packed,
    /// Which; its namespace is empty where none is written.
    pub identity: Identity,
    /// `apps/v1`.
    pub api_version: String,
    /// File and document, for messages.
    pub place: String,
}

impl Manifest {
    /// An object and where it was read.
    pub fn new(object: &Value, place: &str) -> Self {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let (identity, place) = (Identity::of(object), place.to_owned());
        Self { object: Packed::of(object), identity, api_version, place }
    }

    /// Group and kind.
    pub fn kind(&self) -> &GroupKind {
        &self.identity.kind
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The namespace that is written, if one is.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.identity.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// The kind that it defines.
    pub fn defines(&self) -> Option<GroupKind> {
        let is_definition = self.identity.kind.kind == "CustomResourceDefinition";
        is_definition.then(|| order::defines(&self.object.open())).flatten()
    }
}

/// An annotation of any object.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

/// Reads the documents of a file, decrypted where they have to be; Lists are opened, empty documents passed over.
pub fn parse(text: &str, file: &str, keys: Option<&Keys>) -> Result<Vec<Manifest>, SyncError> {
    if decryption::may_be_needed(text) {
        let mut documents = read(text, file)?;
        decryption::file(&mut documents, file, keys)?;
        return objects(&documents, file);
    }
    let mut manifests = Vec::new();
    for document in Documents::of(text) {
        add(&document.map_err(|error| malformed(&error, file))?, file, &mut manifests)?;
    }
    Ok(manifests)
}

fn malformed(error: &YamlError, file: &str) -> SyncError {
    SyncError::Manifest { place: file.to_owned(), problem: error.to_string() }
}

/// The documents of a file as they stand.
pub fn read(text: &str, file: &str) -> Result<Vec<Document>, SyncError> {
    yaml::documents(text).map_err(|error| malformed(&error, file))
}

/// The objects of a file's documents.
pub fn objects(documents: &[Document], file: &str) -> Result<Vec<Manifest>, SyncError> {
    let mut manifests = Vec::new();
    documents.iter().try_for_each(|document| add(document, file, &mut manifests))?;
    Ok(manifests)
}

fn add((line, document): &Document, file: &str, into: &mut Vec<Manifest>) -> Result<(), SyncError> {
    if document.is_null() { Ok(()) } else { open(document, &format!("{file}:{line}"), into) }
}

fn open(object: &Value, place: &str, into: &mut Vec<Manifest>) -> Result<(), SyncError> {
    let wrong = |problem: &str| SyncError::Manifest { place: place.to_owned(), problem: problem.to_owned() };
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if !object.is_object() {
        return Err(wrong("not a Kubernetes object: it is not a mapping"));
    }
    if !is_text(&object["apiVersion"]) || !is_text(&object["kind"]) {
        return Err(wrong("not a Kubernetes object: it has no apiVersion or no kind"));
    }
    if let Some(kind) = object["kind"].as_str().and_then(|kind| kind.strip_suffix("List"))
        && let Some(items) = object["items"].as_array()
    {
        return items.iter().enumerate().try_for_each(|(index, item)| {
            let place = format!("{place}, item {}", index + 1);
            // The server leaves out of a ConfigMapList's items what the list says of them all.
            let is_told = kind.is_empty() || !item["kind"].is_null() || !item["apiVersion"].is_null();
            let Some(fields) = item.as_object().filter(|_| !is_told) else { return open(item, &place, into) };
            let mut item = Map::from_iter([
                ("apiVersion".to_owned(), object["apiVersion"].clone()),
                ("kind".to_owned(), Value::from(kind)),
            ]);
            item.extend(fields.clone());
            open(&Value::Object(item), &place, into)
        });
    }
    let metadata = &object["metadata"];
    if let Some(problem) = misfit(metadata) {
        return Err(wrong(&problem));
    }
    let name = &metadata["name"];
    let generated = is_text(&metadata["generateName"]);
    let may_be_generated = generated && hook::is_hook(object);
    if !is_text(name) && !may_be_generated {
        let problem =
            if generated { "only hooks may have a generateName" } else { "the object has no metadata.name" };
        return Err(wrong(problem));
    }
    match encoded(object) {
        Some(encoded) => into.push(Manifest::new(&encoded, place)),
        None => into.push(Manifest::new(object, place)),
    }
    Ok(())
}

/// A Secret with its `stringData` as `data`, which is what the server makes of it. Applied as it is written, its keys would
/// be owned under a name that the stored object does not have: nobody would see that they differ, or take them away.
fn encoded(object: &Value) -> Option<Value> {
    if GroupKind::of(object) != GroupKind::parse("Secret") {
        return None;
    }
    let texts = object["stringData"].as_object()?;
    // What is wrong in it is for the server to say.
    let known = object["data"].as_object().cloned().or_else(|| object["data"].is_null().then(Map::new));
    let mut data = known?;
    for (key, text) in texts {
        data.insert(key.clone(), Value::from(STANDARD.encode(text.as_str()?)));
    }
    let mut object = object.clone();
    let fields = object.as_object_mut()?;
    fields.shift_remove("stringData");
    fields.insert("data".to_owned(), Value::Object(data));
    Some(object)
}

/// What is wrong with the metadata, told before labels are put over labels and a name becomes part of a path.
fn misfit(metadata: &Value) -> Option<String> {
    for field in ["name", "namespace"] {
        let value = &metadata[field];
        if !value.is_null() && !value.is_string() {
            return Some(format!("metadata.{field} is read as {value}, not as a text: put it in quotes"));
        }
        // What no part of a path in the API can be (apimachinery's `IsValidPathSegmentName`).
        let text = value.as_str().unwrap_or_default();
        if [".", ".."].contains(&text) || text.contains(['/', '%']) {
            return Some(format!("metadata.{field} can't be `{text}`: it is part of a path"));
        }
    }
    let wrong = |field: &&str| !metadata[*field].is_null() && !metadata[*field].is_object();
    let field = ["labels", "annotations"].into_iter().find(wrong)?;
    Some(format!("metadata.{field} is read as {}, not as a mapping", metadata[field]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_opened() {
        let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: List\n\
            items:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: d, namespace: a}\n";
        let found = parse(text, "f.yml", None).unwrap();
        let names: Vec<String> = found.iter().map(|manifest| manifest.identity.to_string()).collect();
        assert_eq!(names, ["Namespace a", "Deployment.apps a/d"]);
    }

    #[test]
    fn what_a_list_says_of_its_items_holds_for_each() {
        let text =
            r#"{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "d"}}]}"#;
        let (found, kind) = (parse(text, "f.json", None).unwrap(), GroupKind::parse("Deployment.apps"));
        assert_eq!((found[0].kind(), &found[0].object.open()["kind"]), (&kind, &"Deployment".into()));
    }

    #[test]
    fn a_secrets_texts_are_its_data() {
        let secret = |rest: &str| {
            let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{rest}");
            let mut object = parse(&text, "f.yml", None).unwrap()[0].object.open();
            (object["data"].take(), object["stringData"].take())
        };
        let both = "data: {a: YQ==, b: Yg==}\nstringData: {b: other}\n";
        assert_eq!(secret(both), (serde_json::json!({"a": "YQ==", "b": "b3RoZXI="}), Value::Null));
        assert_eq!(secret("stringData: {c: 1}\n").1, serde_json::json!({"c": 1}), "for the server to refuse");
    }

    #[test]
    fn what_is_not_an_object_is_named() {
        for (text, problem) in [
            ("a: [", "line 1"),
            ("- 1\n", "not a mapping"),
            ("kind: X\n", "no apiVersion"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {}\n", "no metadata.name"),
            ("apiVersion: v1\nkind: Secret\nkind: Pod\n", "duplicate"),
            (
                "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: 12345}\n",
                "namespace is read as 12345",
            ),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: [a]}\n", "labels is read as"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b/../c}\n", "part of a path"),
            (
                "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- 1\n",
                "f.yml:1, item 2",
            ),
        ] {
            let error = parse(text, "f.yml", None).unwrap_err().to_string();
            assert!(error.starts_with("f.yml") && error.contains(problem), "{error}");
        }
    }
}
