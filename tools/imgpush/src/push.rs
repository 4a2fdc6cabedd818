//! One image: asked for, pushed if need be, and confirmed.

use image_reference::ImageReference;
use serde_json::{Value, json};
use step::Console;

use crate::engine::Engine;
use crate::error::PushError;
use crate::registry::Repository;

/// What became of an image.
#[derive(Debug)]
pub struct Pushed {
    /// `REPOSITORY:TAG`.
    pub reference: String,
    /// The digest that the registry confirmed.
    pub digest: String,
    /// Whether anything was sent.
    pub changed: bool,
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
            "engine": if self.changed { Value::from("daemon") } else { Value::Null },
            "bytesSent": Value::Null,
        })
    }
}

/// What happened to a push that was asked for.
#[derive(Debug)]
pub enum Outcome {
    /// The registry has it.
    There(Pushed),
    /// The tag has other content, and that must stay.
    Clobbers {
        /// `REPOSITORY:TAG`.
        reference: String,
        /// What is there.
        digest: String,
    },
}

/// How to push.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Leave a tag that has other content.
    pub no_clobber: bool,
    /// Find out, and send nothing.
    pub dry_run: bool,
}

/// Sees to it that the registry holds the engine's image under its tag.
pub async fn push(
    engine: &Engine,
    repository: &mut Repository,
    image: &ImageReference,
    options: Options,
    console: &Console,
) -> Result<Outcome, PushError> {
    let tag = image.tag().unwrap_or("latest");
    let reference = format!("{}:{tag}", image.repository());
    let id = engine.image_id(&reference).await?;
    if let Some(there) = repository.manifest(tag).await? {
        // The classic store names an image by its configuration, the containerd store by its manifest.
        if there.config.as_ref() == Some(&id) || there.digest == id {
            console.note(format!("{reference} is already there"));
            return Ok(Outcome::There(Pushed { reference, digest: there.digest, changed: false }));
        }
        if options.no_clobber {
            return Ok(Outcome::Clobbers { reference, digest: there.digest });
        }
    }
    if options.dry_run {
        console.note(format!("{reference} would be pushed"));
        return Ok(Outcome::There(Pushed { reference, digest: id, changed: true }));
    }
    console.note(format!("pushing {reference}"));
    let told = match engine.push(image, tag, repository.credentials(), console).await {
        Err(PushError::Engine { message, .. }) if is_unauthorized(&message) => {
            return Err(repository.unauthorized());
        }
        told => told?,
    };
    let found = repository.manifest(tag).await?.map(|manifest| manifest.digest);
    let confirmed = match &found {
        Some(digest) if told.as_ref().is_none_or(|told| told == digest) => {
            repository.manifest(digest).await?
        }
        _ => None,
    };
    match confirmed {
        Some(manifest) if Some(&manifest.digest) == found.as_ref() => {
            Ok(Outcome::There(Pushed { reference, digest: manifest.digest, changed: true }))
        }
        _ => Err(PushError::Unconfirmed {
            reference,
            pushed: told.unwrap_or_else(|| "an unknown digest".to_owned()),
            found: found.unwrap_or_else(|| "nothing".to_owned()),
        }),
    }
}

fn is_unauthorized(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["unauthorized", "denied", "authentication required", "no basic auth"]
        .iter()
        .any(|word| lower.contains(word))
}
