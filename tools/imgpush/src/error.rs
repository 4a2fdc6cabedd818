//! Why an image is not in the registry.

use step::{Failure, FailureKind};

use crate::words::shown;

/// What can go wrong between the engine and the registry.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The reference can't be pushed as it is.
    #[error(transparent)]
    Reference(#[from] image_reference::ReferenceError),
    /// A reference with a digest names what is there, not what is to be pushed.
    #[error("`{0}` has a digest: a push needs a tag")]
    Pinned(String),
    /// Several things can't be read from one stdin.
    #[error("stdin can be one thing: one image, the references or the password")]
    OneStdin,
    /// A dotenv report has one `IMAGE`.
    #[error("dotenv has room for one image")]
    OneForDotenv,
    /// A user without a password, or a password without a user.
    #[error("there is a {0} for the registry but no {1}")]
    Half(&'static str, &'static str),
    /// Nothing was named.
    #[error("no image reference was given")]
    NoReference,
    /// A file that the user named.
    #[error("can't read {path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// The system's or the parser's words.
        cause: String,
    },
    /// A credential helper did not answer as it should.
    #[error("the credential helper {program} {problem}")]
    Helper {
        /// The helper's program.
        program: String,
        /// What happened.
        problem: String,
        /// Whether it did not answer at all.
        is_silent: bool,
    },
    /// The engine can't be reached.
    #[error("can't reach the container engine: {0}")]
    NoEngine(String),
    /// What says where the engine is can't be followed.
    #[error("can't tell where the container engine is: {0}")]
    EngineSettings(String),
    /// The engine has no such image.
    #[error("the engine has no image `{0}`")]
    NoImage(String),
    /// The engine said no, or failed.
    #[error("the engine failed with `{reference}`: {message}")]
    Engine {
        /// What was pushed.
        reference: String,
        /// The engine's words.
        message: String,
        /// Whether trying again may help.
        transient: bool,
    },
    /// The registry can't be reached, or fails for now.
    #[error("{registry}: {message}")]
    Unreachable {
        /// Its host.
        registry: String,
        /// What happened.
        message: String,
    },
    /// The registry wants other credentials.
    #[error("{registry} refused {tried} for {repository}{said}")]
    Unauthorized {
        /// Its host.
        registry: String,
        /// The repository.
        repository: String,
        /// Which credentials were tried, by their source.
        tried: String,
        /// `: ` and the registry's words, if it had any.
        said: String,
    },
    /// An upload broke off, and its bytes can't be had again from what is kept of them.
    #[error("{0}, and its bytes are gone")]
    Interrupted(String),
    /// A layer can't be read from the engine's storage, or is not there what it should be. The engine's export may be whole.
    #[error("the engine's storage has not all of layer {0}")]
    Storage(String),
    /// A file or a stream is not the image that it should be.
    #[error("{name}: {problem}")]
    Archive {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer is another one than the image's configuration says.
    #[error("{name}: the content of {path} is not the layer that the configuration names")]
    Mismatch {
        /// The file.
        name: String,
        /// The layer in it.
        path: String,
    },
    /// A layer could not be compressed.
    #[error("can't compress a layer: {0}")]
    Compression(String),
    /// TLS could not be set up.
    #[error("can't set up TLS: {0}")]
    Tls(String),
    /// The registry refused for another reason.
    #[error("{registry} refused {repository}: {message}")]
    Refused {
        /// Its host.
        registry: String,
        /// The repository.
        repository: String,
        /// Its words.
        message: String,
    },
    /// The image is in the registry, but not under one of its further tags.
    #[error("{reference} is pushed, and could not be named `{tag}` too: {cause}")]
    Unnamed {
        /// The image.
        reference: String,
        /// The tag.
        tag: String,
        /// Why not.
        cause: Box<Self>,
    },
    /// After the push the registry holds something else under the tag.
    #[error("{reference} was pushed as {pushed}, but the registry has {found}")]
    Unconfirmed {
        /// What was pushed.
        reference: String,
        /// The digest that the engine told.
        pushed: String,
        /// What the registry has under the tag.
        found: String,
    },
}

impl PushError {
    /// The registry can't be reached, or fails for now.
    pub fn unreachable(registry: &str, message: impl Into<String>) -> Self {
        Self::Unreachable { registry: registry.to_owned(), message: message.into() }
    }

    /// A file that can't be read, or is not what it should be.
    pub fn file(path: &std::path::Path, cause: impl std::fmt::Display) -> Self {
        Self::File { path: path.display().to_string(), cause: cause.to_string() }
    }

    /// Whether the engine can be reached, and not by us.
    pub fn is_about_permission(&self) -> bool {
        matches!(self, Self::NoEngine(message)
            if ["ermission denied", "Host key verification failed"].iter().any(|words| message.contains(words)))
    }

    /// Whether one of the two sides could not prove who it is, which no retry mends.
    pub fn is_about_certificates(&self) -> bool {
        let about = matches!(self, Self::Unreachable { message, .. } | Self::NoEngine(message) if names_a_certificate(message));
        about || self.wants_a_client_certificate()
    }

    /// Whether the registry wants a client certificate, or another one: it says so by a TLS alert (RFC 8446, 6.2).
    fn wants_a_client_certificate(&self) -> bool {
        const ALERTS: [&str; 4] =
            ["BadCertificate", "CertificateRequired", "CertificateUnknown", "UnknownCA"];
        matches!(self, Self::Unreachable { message, .. }
            if ALERTS.iter().any(|alert| message.contains(&format!("fatal alert: {alert}"))))
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Unnamed { cause, .. } => cause.kind(),
            Self::Reference(_)
            | Self::Pinned(_)
            | Self::NoReference
            | Self::OneStdin
            | Self::OneForDotenv
            | Self::Half(..) => FailureKind::Usage,
            Self::File { .. }
            | Self::EngineSettings(_)
            | Self::NoImage(_)
            | Self::Storage(_)
            | Self::Archive { .. }
            | Self::Mismatch { .. } => FailureKind::Input,
            _ if self.wants_a_client_certificate() || self.is_about_permission() => FailureKind::Auth,
            _ if self.is_about_certificates() => FailureKind::Refused,
            Self::NoEngine(_)
            | Self::Unreachable { .. }
            | Self::Interrupted(_)
            | Self::Unconfirmed { .. } => FailureKind::Transient,
            Self::Compression(_) | Self::Tls(_) => FailureKind::Internal,
            Self::Engine { transient: true, .. } | Self::Helper { is_silent: true, .. } => {
                FailureKind::Transient
            }
            Self::Engine { .. } | Self::Refused { .. } => FailureKind::Refused,
            Self::Helper { .. } | Self::Unauthorized { .. } => FailureKind::Auth,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unnamed { cause, .. } => return cause.hint(),
            Self::OneStdin => "give the rest as arguments, files or variables",
            Self::NoReference => "`imgpush REPOSITORY:TAG`, or references on stdin, one a line",
            Self::Pinned(_) => "name it as REPOSITORY:TAG; the digest is what imgpush prints",
            Self::OneForDotenv => "run imgpush once an image, or use --output json",
            Self::File { .. } => "check the path, who may read it, and that it is what its option says",
            Self::Half(..) => "--username or IMGPUSH_USERNAME goes with --password-file or IMGPUSH_PASSWORD",
            Self::EngineSettings(_) => {
                "DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH) or DOCKER_CONTEXT says it"
            }
            _ if self.is_about_permission() => {
                "may this user reach it? Its socket's group is docker, mostly; ssh must know the host and have a key"
            }
            Self::NoEngine(_) => {
                "is it running, and does DOCKER_HOST (with DOCKER_CERT_PATH for TLS) name it?"
            }
            Self::NoImage(_) => {
                "build it first, under exactly this name: `docker image ls` shows what is there"
            }
            Self::Unauthorized { .. } => {
                "set IMGPUSH_USERNAME and IMGPUSH_PASSWORD, or CI_REGISTRY_USER and CI_REGISTRY_PASSWORD for \
                 CI_REGISTRY, or `docker login`"
            }
            _ if self.wants_a_client_certificate() => {
                "--client-cert and --client-key, or docker's certs.d, hold what this registry asks for"
            }
            Self::Unreachable { message, .. } if names_a_certificate(message) => {
                "--ca-file FILE or IMGPUSH_CA_FILE names the registry's own CA"
            }
            Self::Refused { message, .. } if message.contains("413") => {
                "something in front of the registry limits the size of a request: --chunk-size 8 sends smaller ones"
            }
            Self::Unreachable { .. } => {
                "check that the registry is up and reachable from here, then try again"
            }
            Self::Interrupted(_) => "try again: what has arrived whole is not sent again",
            Self::Unconfirmed { .. } => "somebody else may have pushed the same tag meanwhile: try again",
            Self::Helper { .. } => {
                "docker's config.json or DOCKER_AUTH_CONFIG names the helper; IMGPUSH_USERNAME and IMGPUSH_PASSWORD do \
                 without it"
            }
            Self::Archive { .. } | Self::Mismatch { .. } => {
                "is it whole, and what --from says it is? Nothing was put under the tag"
            }
            _ => return None,
        })
    }
}

/// Whether a message is about a certificate; the name of a repository in a URL is none of its words.
fn names_a_certificate(message: &str) -> bool {
    message.split_whitespace().any(|word| word.contains("certificate") && !word.contains('/'))
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let failure = Self::message(kind, shown(&error.to_string()));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
