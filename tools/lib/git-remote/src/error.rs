//! What can go wrong between here and a Git server, and what to do about it.

use std::io;

use step::{Failure, FailureKind};

use crate::known_hosts::HostKeyProblem;

/// Why a Git server could not be used. No message carries a credential.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Not a repository's URL.
    #[error("`{url}` is not a repository's URL: {reason}")]
    Url {
        /// The text, without credentials.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key, certificate or other setting that can't be used.
    #[error("{0}")]
    Setting(String),
    /// The server could not prove who it is.
    #[error(transparent)]
    HostKey(#[from] HostKeyProblem),
    /// The server wants other credentials, or some.
    #[error("{server}: {reason}")]
    Credentials {
        /// Host, or URL without credentials.
        server: String,
        /// The server's reason, or ours.
        reason: String,
        /// What may help.
        hint: &'static str,
    },
    /// The server knows who asks, and says no.
    #[error("{server} does not allow it: {reason}")]
    Forbidden {
        /// Host, or URL without credentials.
        server: String,
        /// The server's words.
        reason: String,
    },
    /// The server says no for good.
    #[error("{server}: {reason}")]
    Refused {
        /// Host, or URL without credentials.
        server: String,
        /// The server's words, or ours.
        reason: String,
    },
    /// The server can't now.
    #[error("{server} answers {status}")]
    Unavailable {
        /// URL without credentials.
        server: String,
        /// The HTTP status, and its words.
        status: String,
    },
    /// The connection could not be made, or broke.
    #[error("{server}: {action}")]
    Network {
        /// Host and port.
        server: String,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate of an HTTPS server does not check out.
    #[error("{server}: TLS: {reason}")]
    Tls {
        /// Host.
        server: String,
        /// The library's words.
        reason: String,
    },
    /// The revision asked for is not there.
    #[error("{server} has no `{revision}`")]
    NoRevision {
        /// URL without credentials.
        server: String,
        /// The revision as it was asked for.
        revision: String,
    },
    /// The local object store.
    #[error("can't store objects")]
    Store(#[from] git2::Error),
}

impl RemoteError {
    /// The server answered something that is not Git's protocol.
    pub(crate) fn protocol(server: &str, what: impl Into<String>) -> Self {
        Self::Refused {
            server: server.to_owned(),
            reason: format!("not a Git server's answer: {}", what.into()),
        }
    }

    /// Whether doing the same again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Unavailable { .. })
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Url { .. } => FailureKind::Usage,
            Self::Setting(_) => FailureKind::Input,
            Self::HostKey(_) | Self::Credentials { .. } | Self::Forbidden { .. } | Self::Tls { .. } => {
                FailureKind::Auth
            }
            Self::Refused { .. } | Self::NoRevision { .. } => FailureKind::Refused,
            Self::Unavailable { .. } | Self::Network { .. } => FailureKind::Transient,
            Self::Store(_) => FailureKind::Output,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url { .. } => {
                "ssh://git@host/group/project.git, git@host:group/project.git, https://… or a path"
            }
            Self::HostKey(problem) => return Some(problem.hint()),
            Self::Credentials { hint, .. } => hint,
            Self::Forbidden { .. } => "the key or token needs write access to the repository",
            Self::Tls { .. } => {
                "--ca-file (or GIT_SSL_CAINFO, http.sslCAInfo) names a private CA's certificate"
            }
            Self::Refused { reason, .. }
                if ["not found", "be found", "a git repository"]
                    .iter()
                    .any(|words| reason.contains(words)) =>
            {
                "check the repository's URL, and that the key or token may read it"
            }
            Self::NoRevision { .. } => {
                "`git ls-remote URL` lists the branches and tags that are there; of another commit the whole id is needed"
            }
            Self::Unavailable { .. } | Self::Network { .. } => "a later run may succeed",
            Self::Store(_) => "is there room in the temporary directory (TMPDIR)?",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
