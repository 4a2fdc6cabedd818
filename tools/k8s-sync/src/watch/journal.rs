//! What the operator tells: words for people on stderr, or (`-o json`) an event a line on stdout and nothing else.

use jiff::Timestamp;
use serde_json::{Value, json};
use step::{Console, Failure, Format};
use tokio::sync::mpsc;

use crate::manifest::Identity;
use crate::report::Change;

/// Where all applications tell of what happens. A clone tells the same reader.
#[derive(Clone)]
pub struct Journal {
    format: Format,
    console: Console,
    records: mpsc::UnboundedSender<String>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only with `--verbose`.
    Detail,
    /// What goes on.
    Note,
    /// Somebody should look.
    Warning,
}

impl Journal {
    /// Tells in this format; what belongs on stdout comes out of the receiver.
    pub fn new(format: Format, console: Console) -> (Self, mpsc::UnboundedReceiver<String>) {
        let (records, written) = mpsc::unbounded_channel();
        (Self { format, console, records }, written)
    }

    /// Tells of something; `fields` are the event's own, besides its kind, time, application and message.
    pub fn tell(&self, level: Level, kind: &str, application: &str, message: &str, fields: Value) {
        if self.format != Format::Json {
            let subject = if application.is_empty() { String::new() } else { format!("{application}: ") };
            let text = format!("{subject}{message}");
            match level {
                Level::Detail => self.console.detail(text),
                Level::Note => self.console.note(text),
                Level::Warning => self.console.warn(text),
            }
            return;
        }
        if level == Level::Detail && self.console.verbosity() < step::Verbosity::Verbose {
            return;
        }
        let mut event = json!({
            "schema": "k8s-sync/v1", "kind": kind, "time": now(),
            "level": if level == Level::Warning { "warning" } else { "info" },
            "application": application, "message": message,
        });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.line(&event);
    }

    /// Tells where `--listen` listens.
    pub fn listening(&self, address: std::net::SocketAddr) {
        let message = format!("listening on http://{address}");
        self.tell(Level::Note, "listening", "", &message, json!({ "address": address.to_string() }));
    }

    /// Tells of a failure.
    pub fn failure(&self, application: &str, failure: &Failure) {
        if self.format != Format::Json {
            let named = Failure::message(failure.kind(), format!("{application}: {failure}"));
            self.console.failure(&match failure.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            });
            return;
        }
        self.line(&json!({
            "schema": "k8s-sync/v1", "kind": "failure", "time": now(), "level": "error",
            "application": application, "message": failure.to_string(), "hint": failure.hint_text(),
        }));
    }

    /// Tells of an object that was changed.
    pub fn object(&self, application: &str, change: Change, identity: &Identity) {
        if self.format != Format::Json {
            return self.send(format!("{} {identity}", change.word()));
        }
        self.line(&json!({
            "schema": "k8s-sync/v1", "kind": "object", "time": now(), "level": "info", "application": application,
            "change": change.word(),
            "groupKind": identity.kind.to_string(), "namespace": identity.namespace, "name": identity.name,
        }));
    }

    fn line(&self, event: &Value) {
        self.send(event.to_string());
    }

    fn send(&self, record: String) {
        // Without a reader the step is about to end.
        let _ = self.records.send(record);
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
