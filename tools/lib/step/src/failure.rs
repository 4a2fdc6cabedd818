//! Errors at the edge: what went wrong, whether a retry may help, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde_json::{Map, Value, json};

use crate::{ExitStatus, printable};

/// Why a tool could not do its step, as the `error.kind` of `--output json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line is wrong.
    Usage,
    /// Something that was read is missing, malformed or contradictory.
    Input,
    /// A server, a repository or a cluster said no for good.
    Refused,
    /// A result could not be written.
    Output,
    /// Network, time-out, 429, 5xx or a lost race, after the tool's own retries.
    Transient,
    /// Credentials missing, wrong or not allowed; an unknown host key.
    Auth,
    /// A fault of the tool's own.
    Internal,
}

impl FailureKind {
    /// The exit status that goes with this kind.
    pub const fn status(self) -> ExitStatus {
        match self {
            Self::Usage | Self::Input | Self::Refused | Self::Output | Self::Internal => ExitStatus::Trouble,
            Self::Transient => ExitStatus::TryAgain,
            Self::Auth => ExitStatus::NotAllowed,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Input => "input",
            Self::Refused => "refused",
            Self::Output => "output",
            Self::Transient => "transient",
            Self::Auth => "auth",
            Self::Internal => "internal",
        }
    }
}

/// An error on its way to the user.
///
/// Domain errors (`thiserror` enums) say what happened; this type adds the kind, which decides the
/// exit status, and a hint, which says what to do.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    cause: anyhow::Error,
    hint: Option<String>,
    result: Map<String, Value>,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: FailureKind, cause: impl Into<anyhow::Error>) -> Self {
        Self { kind, cause: cause.into(), hint: None, result: Map::new() }
    }

    /// A failure told in words of its own.
    pub fn message(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, anyhow::Error::msg(message.to_string()))
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where it happened, in front of the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.cause = self.cause.context(context);
        self
    }

    /// A field of the result that is known although the step failed, for `--output json`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.result.insert(field.to_owned(), value);
        self
    }

    /// The kind of the failure.
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The exit status that the failure leads to.
    pub const fn status(&self) -> ExitStatus {
        self.kind.status()
    }

    /// The hint: the one that was given, or what the system's error suggests.
    pub fn hint_text(&self) -> Option<&str> {
        let system =
            || self.cause.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).and_then(advice);
        self.hint.as_deref().or_else(system)
    }

    /// The same with the control characters in its words escaped, line breaks too: for a tool whose messages have one line.
    #[must_use]
    pub fn printable(self) -> Self {
        let (message, hint) = (self.to_string(), self.hint_text().map(ToOwned::to_owned));
        let shown = [Some(&message), hint.as_ref()].map(|text| text.map(|text| printable(text)));
        let [Some(Cow::Borrowed(_)), None | Some(Cow::Borrowed(_))] = shown else {
            let [message, hint] = shown.map(|text| text.map(Cow::into_owned));
            let cause = anyhow::Error::msg(message.unwrap_or_default());
            return Self { cause, hint, ..self };
        };
        self
    }

    /// The fields known of the result, then `error`.
    pub(crate) fn into_fields(self) -> Map<String, Value> {
        let hint = self.hint_text();
        let error = json!({ "kind": self.kind.name(), "message": self.to_string(), "hint": hint });
        let mut fields = self.result;
        fields.insert("error".to_owned(), error);
        fields
    }
}

/// What to do about an error of the file system.
fn advice(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind;

    Some(match error.kind() {
        ErrorKind::NotFound => "check the path; a relative one begins at the current directory",
        ErrorKind::PermissionDenied => "check who owns it and its mode: `ls -ld` shows both",
        ErrorKind::IsADirectory => "it is a directory: name a file in it",
        ErrorKind::NotADirectory => "a part of the path is a file: check the path",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there, or write elsewhere",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only: write elsewhere",
        ErrorKind::InvalidData => "it is not UTF-8 text: check that this is the file you mean",
        _ => return None,
    })
}

impl fmt::Display for Failure {
    /// The whole chain on one line, outermost first; a cause that an outer message quotes is not said again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for cause in self.cause.chain().map(ToString::to_string) {
            if said.is_empty() {
                said = cause;
            } else if !said.contains(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        f.write_str(&said)
    }
}

/// Turns any error into a [`Failure`] of a kind.
pub trait ResultExt<T> {
    /// The error, as a failure of this kind.
    fn or_fail(self, kind: FailureKind) -> Result<T, Failure>;
    /// The error, as a failure of this kind, with what was being done in front of it.
    fn or_fail_with<C: fmt::Display + Send + Sync + 'static>(
        self,
        kind: FailureKind,
        context: impl FnOnce() -> C,
    ) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> ResultExt<T> for Result<T, E> {
    fn or_fail(self, kind: FailureKind) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(kind, error))
    }

    fn or_fail_with<C: fmt::Display + Send + Sync + 'static>(
        self,
        kind: FailureKind,
        context: impl FnOnce() -> C,
    ) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(kind, error).context(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_decides_the_status() {
        assert_eq!(FailureKind::Transient.status().code(), 75);
        assert_eq!(FailureKind::Auth.status().code(), 77);
        assert_eq!(FailureKind::Internal.status().code(), 2);
    }

    #[test]
    fn the_system_s_error_suggests_what_to_do() {
        let missing = || Failure::new(FailureKind::Input, io::Error::from(io::ErrorKind::NotFound));
        assert!(missing().context("can't read it").hint_text().is_some_and(|hint| hint.contains("path")));
        assert_eq!(missing().hint("run it first").hint_text(), Some("run it first"));
        assert_eq!(Failure::message(FailureKind::Input, "no").hint_text(), None);
    }

    #[test]
    fn a_message_reads_outermost_first() {
        let inner = io::Error::other("disk on fire");
        let failure = Failure::new(FailureKind::Input, inner).context("can't read report.xml");
        assert_eq!(failure.to_string(), "can't read report.xml: disk on fire");
    }
}
