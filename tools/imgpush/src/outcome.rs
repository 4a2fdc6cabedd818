//! What became of an image.

use serde_json::{Value, json};

use crate::error::PushError;

/// An image that the registry has.
#[derive(Debug)]
pub struct Pushed {
    /// `REPOSITORY:TAG`.
    pub reference: String,
    /// The digest that the registry confirmed.
    pub digest: String,
    /// Whether anything was sent.
    pub changed: bool,
    /// Who sent it.
    pub engine: Option<&'static str>,
    /// The bytes of layers and configuration that went over the wire.
    pub sent: u64,
}

impl Pushed {
    /// The record on stdout.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.reference, self.digest)
    }

    /// The entry of `--output json`.
    pub fn fields(&self) -> Value {
        json!({
            "reference": self.reference,
            "digest": self.digest,
            "changed": self.changed,
            "engine": self.engine,
            "bytesSent": self.sent,
        })
    }
}

/// How a push that was asked for ended, short of an error.
#[derive(Debug)]
pub enum Outcome {
    /// The registry has it.
    There {
        /// Under its own name.
        pushed: Pushed,
        /// Why it could not be named by one of its further tags, which does not take back the rest.
        unnamed: Option<PushError>,
    },
    /// A tag has other content, and that must stay.
    Clobbers {
        /// `REPOSITORY:TAG`.
        reference: String,
        /// What is there.
        digest: String,
    },
}
