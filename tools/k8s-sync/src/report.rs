//! What a run tells: a line an object, or an event a line with a summary at the end.

use serde_json::{Value, json};
use step::{Failure, Format, Records};

use crate::health::Status;
use crate::manifest::Identity;
use crate::reports::Account;

/// So many of the objects that a message is about are told.
const SHOWN: usize = 5;

/// The first of many, and how many more there are.
pub(crate) fn first_of(
    items: impl ExactSizeIterator<Item = impl std::fmt::Display>,
    separator: &str,
) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let mut told: Vec<String> = items.take(SHOWN).map(|item| item.to_string()).collect();
    told.extend((more > 0).then(|| format!("and {more} more")));
    told.join(separator)
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there, and another way.
    Configured,
    /// It was as it should be.
    Unchanged,
    /// Git no longer has it.
    Pruned,
}

impl Change {
    /// The word on stdout.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Pruned => "pruned",
        }
    }
}

/// How many objects met which fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Not there before.
    pub created: usize,
    /// Changed.
    pub configured: usize,
    /// Left as they were.
    pub unchanged: usize,
    /// Deleted.
    pub pruned: usize,
}

impl Tally {
    /// Counts one more.
    pub const fn add(&mut self, change: Change) {
        match change {
            Change::Created => self.created += 1,
            Change::Configured => self.configured += 1,
            Change::Unchanged => self.unchanged += 1,
            Change::Pruned => self.pruned += 1,
        }
    }

    /// How many met which fate.
    pub const fn counts(&self) -> [(Change, usize); 4] {
        [
            (Change::Created, self.created),
            (Change::Configured, self.configured),
            (Change::Unchanged, self.unchanged),
            (Change::Pruned, self.pruned),
        ]
    }

    /// Whether anything was done.
    pub const fn changed(&self) -> bool {
        self.created + self.configured + self.pruned > 0
    }
}

/// An event about an object; `cluster` tells several of them apart.
fn event(kind: &str, cluster: Option<&str>, identity: &Identity) -> Value {
    let mut event = json!({
        "schema": "k8s-sync/v1", "kind": kind,
        "groupKind": identity.kind.to_string(), "namespace": identity.namespace, "name": identity.name,
    });
    if let Some(cluster) = cluster {
        event["cluster"] = Value::from(cluster);
    }
    event
}

/// Tells of one object.
pub fn object(
    out: &mut Records,
    format: Format,
    cluster: Option<&str>,
    change: Change,
    identity: &Identity,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let mut event = event("object", cluster, identity);
            event["change"] = Value::from(change.word());
            out.line(event.to_string())
        }
        _ => out.line(format!("{} {identity}", change.word())),
    }
}

/// Tells how an object is.
pub fn health(
    out: &mut Records,
    format: Format,
    identity: &Identity,
    status: &Status,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let mut event = event("health", None, identity);
            event["health"] = Value::from(status.health.word());
            event["message"] = Value::from(status.message.as_str());
            out.line(event.to_string())
        }
        _ => out.line(format!("{}\t{identity}\t{}", status.health, status.message)),
    }
}

/// Tells how an object differs: its unified diff.
pub fn difference(
    out: &mut Records,
    format: Format,
    cluster: Option<&str>,
    change: Change,
    identity: &Identity,
    diff: &str,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let mut event = event("difference", cluster, identity);
            event["change"] = Value::from(change.word());
            event["diff"] = Value::from(diff);
            out.line(event.to_string())
        }
        _ => out.bytes(diff.as_bytes()),
    }
}

/// Tells of the whole run, where that is asked for.
pub fn summary(out: &mut Records, format: Format, account: &Account) -> Result<(), Failure> {
    if format != Format::Json {
        return Ok(());
    }
    out.line(step::document("k8s-sync", account.summary()))
}
