//! What a connection must be able to do, whatever carries it.

use std::io::{self, Read};

use crate::RemoteError;
use crate::packet::ServerError;

/// The two services of a Git server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// What the service is asked to speak: version 2 is defined for fetching only.
    pub(crate) const fn protocol(self) -> Option<&'static str> {
        match self {
            Self::UploadPack => Some("version=2"),
            Self::ReceivePack => None,
        }
    }
}

/// A way to the server.
pub(crate) trait Transport {
    /// Asks for a service and sends it a first request, without waiting for what it says; `greet` then starts no other.
    /// False, and nothing is sent, where that would save no round trip.
    fn begin(&mut self, service: Service, first: &[u8]) -> Result<bool, RemoteError> {
        let _ = (service, first);
        Ok(false)
    }

    /// Starts a service: what it says first.
    fn greet(&mut self, service: Service) -> Result<Box<dyn Read + '_>, RemoteError>;

    /// Sends a request to a service that has been started: its answer.
    fn ask(&mut self, service: Service, request: &[u8]) -> Result<Box<dyn Read + '_>, RemoteError>;

    /// Whether one start serves one request only, where the protocol itself would allow more.
    fn is_stateless(&self) -> bool;

    /// Where the server is, for messages.
    fn server(&self) -> &str;

    /// What the server tells someone who logs in without asking for a service; forges greet by name.
    fn login_words(&mut self) -> Option<String> {
        None
    }

    /// Why a service ended early, in its own words where there are some.
    fn last_words(&mut self, service: Service, error: io::Error) -> RemoteError;
}

/// Why an answer could not be read: the server's own reason, what it said that is not Git, or what
/// broke the connection.
pub(crate) fn explain(transport: &mut dyn Transport, service: Service, error: io::Error) -> RemoteError {
    if let Some(ServerError(words)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return complaint(transport.server(), words);
    }
    match error.kind() {
        io::ErrorKind::InvalidData => RemoteError::protocol(transport.server(), error.to_string()),
        _ => transport.last_words(service, error),
    }
}

/// A service's complaint as it came over its stderr, sorted by what it means.
pub(crate) fn complaint(server: &str, words: &str) -> RemoteError {
    let reason = words
        .lines()
        .map(|line| line.trim_start_matches("remote:").trim().trim_start_matches("error:").trim())
        .filter(|line| line.chars().any(char::is_alphanumeric))
        .collect::<Vec<_>>()
        .join("; ");
    let server = server.to_owned();
    let low = reason.to_lowercase();
    let missing = ["not found", "be found", "does not appear", "does not exist", "no such"];
    let forbidden =
        ["denied", "not allowed", "unauthorized", "forbidden", "read-only", "readonly", "permission"];
    if missing.iter().any(|words| low.contains(words)) {
        RemoteError::Refused { server, reason }
    } else if forbidden.iter().any(|words| low.contains(words)) {
        RemoteError::Forbidden { server, reason }
    } else {
        RemoteError::Refused { server, reason }
    }
}
