//! What a service says first: its capabilities, and in version 0 its refs.

use std::collections::BTreeMap;
use std::io::{self, Read};

use git2::Oid;

use crate::packet::{self, Packet};

/// The features a service offers, each with its value where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeMap<String, String>);

impl Capabilities {
    /// Whether the feature is offered.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The feature's value; empty where it has none.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn add(&mut self, word: &str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// The refs of a repository, as it shows them to this user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefList {
    refs: BTreeMap<String, Oid>,
    /// What HEAD points to, where the server says so.
    head: Option<String>,
}

impl RefList {
    /// The object that a ref points to.
    pub fn get(&self, name: &str) -> Option<Oid> {
        self.refs.get(name).copied()
    }

    /// All refs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Oid)> {
        self.refs.iter().map(|(name, oid)| (name.as_str(), *oid))
    }

    /// The names of all branches.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.refs.keys().filter_map(|name| name.strip_prefix("refs/heads/"))
    }

    /// The branch that HEAD points to.
    pub fn default_branch(&self) -> Option<&str> {
        self.head.as_deref()?.strip_prefix("refs/heads/")
    }

    pub(crate) fn add(&mut self, name: &str, oid: Oid) {
        self.refs.insert(name.to_owned(), oid);
    }

    pub(crate) fn set_head(&mut self, target: &str) {
        self.head = Some(target.to_owned());
    }
}

/// A service's first words.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) version: u8,
    pub(crate) capabilities: Capabilities,
    pub(crate) refs: RefList,
}

impl Greeting {
    pub(crate) fn read(reader: &mut dyn Read) -> io::Result<Self> {
        let mut greeting = Self::default();
        let mut first = true;
        loop {
            let payload = match packet::read(reader)? {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Packet::Data(payload)) => payload,
                Some(_) => return Ok(greeting),
            };
            let line = packet::line(&payload);
            if first && line.starts_with(b"# service=") {
                // Smart HTTP puts the service's name and a flush in front.
                packet::read(reader)?;
                continue;
            }
            if first && line == b"version 2" {
                greeting.version = 2;
            } else if first && line == b"version 1" {
                continue;
            } else if greeting.version == 2 {
                greeting.capabilities.add(&String::from_utf8_lossy(line));
            } else {
                greeting.add_ref(line)?;
            }
            first = false;
        }
    }

    /// `OID NAME`, on the first line followed by a NUL and the capabilities.
    fn add_ref(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        let (named, capabilities) =
            text.split_once('\0').map_or((text.as_ref(), None), |(named, list)| (named, Some(list)));
        for word in capabilities.unwrap_or_default().split_ascii_whitespace() {
            if let Some(target) = word.strip_prefix("symref=HEAD:") {
                self.refs.set_head(target);
            }
            self.capabilities.add(word);
        }
        if self.capabilities.value("object-format").is_some_and(|format| format != "sha1") {
            return Ok(());
        }
        let malformed = || {
            let start: String = text.chars().take(40).collect();
            io::Error::new(io::ErrorKind::InvalidData, format!("it begins with `{start}`"))
        };
        let (id, name) = named.split_once(' ').ok_or_else(malformed)?;
        if id == "shallow" || name == "capabilities^{}" {
            return Ok(());
        }
        let oid = Oid::from_str(id).map_err(|_| malformed())?;
        self.refs.add(name, oid);
        Ok(())
    }
}
