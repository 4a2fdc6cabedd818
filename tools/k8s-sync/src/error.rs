//! Why manifests did not become objects.

use step::{Failure, FailureKind};

use crate::cluster::Conflict;
use crate::decryption::sops::SopsError;

/// What can go wrong between a source and a cluster.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A file or folder that can't be read.
    #[error("can't read {path}: {cause}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        #[source]
        cause: std::io::Error,
    },
    /// A file that can't be written.
    #[error("can't write {path}: {cause}")]
    Unwritable {
        /// Which.
        path: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A plan that was made for another world.
    #[error("the plan does not hold any more: {0}; nothing is applied")]
    PlanOutdated(String),
    /// A document that is not a manifest.
    #[error("{place}: {problem}")]
    Manifest {
        /// File and document.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The program that renders the folder is not there.
    #[error("{folder} has a {file}, and {missing} on PATH to render it")]
    NoRenderer {
        /// The folder.
        folder: String,
        /// The file that says what it is.
        file: &'static str,
        /// Which programs were looked for.
        missing: &'static str,
    },
    /// The program that renders the folder failed.
    #[error("{program} can't render {folder}: {problem}")]
    Render {
        /// The folder.
        folder: String,
        /// The program.
        program: String,
        /// Its own words.
        problem: String,
    },
    /// A file that can't be read without keys.
    #[error("{0} is encrypted with SOPS")]
    Encrypted(String),
    /// A file that can't be decrypted, or must not be trusted.
    #[error("{place} can't be decrypted: {cause}")]
    Undecipherable {
        /// The file.
        place: String,
        /// Why.
        cause: SopsError,
    },
    /// There is not one key.
    #[error("there is no age key to decrypt with")]
    NoKeys,
    /// Something that should hold keys, and does not.
    #[error("no keys in {place}: {problem}")]
    UnusableKeys {
        /// The file, variable or Secret.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No manifest at all, which would prune everything.
    #[error("{0} has no manifest; nothing is applied and nothing is pruned")]
    EmptySource(String),
    /// A folder that the repository does not have.
    #[error("{0} is not there; nothing is applied and nothing is pruned")]
    MissingSource(String),
    /// Too much would be pruned.
    #[error(
        "{pruned} of {owned} objects would be pruned, more than the {allowed} % that are allowed: {objects}"
    )]
    TooMuchPruned {
        /// The first of those that would go.
        objects: String,
        /// How many would go.
        pruned: usize,
        /// How many there are.
        owned: usize,
        /// The limit in percent.
        allowed: u8,
    },
    /// An object that another application has.
    #[error("{object} belongs to another application ({set})")]
    Shared {
        /// Which.
        object: String,
        /// The other's ApplySet.
        set: String,
    },
    /// Another tool has the application's ApplySet now.
    #[error("{parent}: the set of objects belongs to {tooling} now")]
    TakenOver {
        /// The set's parent object.
        parent: String,
        /// The tool, as it calls itself.
        tooling: String,
    },
    /// A namespace that can't go without what has to stay.
    #[error(
        "Namespace {0} would be pruned, with everything in it: the source's own objects and the inventory"
    )]
    NamespaceInUse(String),
    /// There is no configuration to reach a cluster with, or it is broken.
    #[error("no usable cluster configuration: {0}")]
    Configuration(String),
    /// A client certificate that nothing here can use.
    #[error("the kubeconfig's client certificate is of X.509 version 1, which the TLS library refuses")]
    OldCertificate,
    /// The API server is not the one that the configuration vouches for.
    #[error("the API server is not trusted: {0}")]
    Untrusted(String),
    /// The cluster can't be reached.
    #[error("can't reach the cluster: {0}")]
    Unreachable(String),
    /// The cluster does not know the kind.
    #[error("{place}: the cluster has no kind {kind} in {version}")]
    UnknownKind {
        /// Where the manifest stands.
        place: String,
        /// The kind.
        kind: String,
        /// Its apiVersion.
        version: String,
    },
    /// The API server said no.
    #[error("{what}: {message}")]
    Refused {
        /// The object or the request.
        what: String,
        /// The server's words.
        message: String,
        /// The HTTP status.
        code: u16,
    },
    /// Fields are another manager's.
    #[error("{object}: {}", owned(conflicts))]
    Conflict {
        /// Whose fields they are.
        object: String,
        /// The fields, and who has them.
        conflicts: Vec<Conflict>,
    },
    /// Fields that never change once the object is there.
    #[error("{object}: {} can't change: {rule}", fields.join(", "))]
    Immutable {
        /// Which.
        object: String,
        /// The fields.
        fields: Vec<String>,
        /// The server's rule.
        rule: String,
    },
    /// The kubeconfig's plugin gives no credentials.
    #[error("the credential plugin {plugin}{}{problem}", if plugin.is_empty() { "" } else { " " })]
    NoCredentials {
        /// The program, where it is known.
        plugin: String,
        /// What it did.
        problem: String,
    },
    /// More than the application's project allows.
    #[error("{what} is outside the project {project}: {why}")]
    OutOfProject {
        /// The object, or the repository.
        what: String,
        /// The project.
        project: String,
        /// Which of its rules.
        why: String,
    },
    /// The server answers something that is not what was asked for.
    #[error("{what}: {message}")]
    Answer {
        /// The request.
        what: String,
        /// What is wrong with the answer.
        message: String,
    },
    /// An object became unhealthy.
    #[error("{object} is degraded: {message}{evidence}")]
    Degraded {
        /// Which.
        object: String,
        /// Why, in the object's words.
        message: String,
        /// What the cluster knows besides, a line each.
        evidence: String,
    },
    /// Objects are not healthy in time.
    #[error("not healthy after {seconds} s: {objects}{evidence}")]
    NotHealthy {
        /// How long was waited.
        seconds: u64,
        /// Which objects, and why.
        objects: String,
        /// What the cluster knows of the first of them, a line each.
        evidence: String,
    },
    /// The repository, in its own words.
    #[error(transparent)]
    Remote(#[from] git_remote::RemoteError),
    /// The fetched repository can't be read.
    #[error("can't read the fetched repository: {0}")]
    Git(#[from] git2::Error),
}

impl SyncError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Unreadable { .. }
            | Self::Manifest { .. }
            | Self::EmptySource(_)
            | Self::MissingSource(_)
            | Self::OldCertificate
            | Self::NoRenderer { .. }
            | Self::Render { .. }
            | Self::Encrypted(_)
            | Self::Undecipherable {
                cause:
                    SopsError::Malformed(_)
                    | SopsError::Unsupported(_)
                    | SopsError::Value(_)
                    | SopsError::NoOrigin
                    | SopsError::Mac,
                ..
            }
            | Self::Configuration(_) => FailureKind::Input,
            // Its namespace is on its way out, and may come again.
            Self::Refused { code: 403, message, .. } if message.contains("being terminated") => {
                FailureKind::Transient
            }
            Self::Refused { code: 403, message, .. } if is_policy(message) => FailureKind::Refused,
            Self::Undecipherable { cause: SopsError::NotForUs(_), .. }
            | Self::NoKeys
            | Self::UnusableKeys { .. }
            | Self::NoCredentials { .. }
            | Self::Refused { code: 401 | 403, .. } => FailureKind::Auth,
            Self::Refused { code: 408 | 429 | 500..=599, .. }
            | Self::Unreachable(_)
            | Self::NotHealthy { .. } => FailureKind::Transient,
            Self::TooMuchPruned { .. }
            | Self::Shared { .. }
            | Self::TakenOver { .. }
            | Self::PlanOutdated(_)
            | Self::OutOfProject { .. }
            | Self::Untrusted(_)
            | Self::NamespaceInUse(_)
            | Self::UnknownKind { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::Immutable { .. }
            | Self::Degraded { .. } => FailureKind::Refused,
            Self::Unwritable { .. } => FailureKind::Output,
            Self::Answer { .. } | Self::Git(_) | Self::Remote(_) => FailureKind::Internal,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::EmptySource(_) | Self::MissingSource(_) => {
                "of a repository, check --path and --revision; a folder's files end in .yaml, .yml or .json"
            }
            Self::NoRenderer { file: "Chart.yaml", .. } => {
                "install it, or render in the pipeline: `helm template NAME DIR | k8s-sync apply NAME -f -`"
            }
            Self::NoRenderer { .. } => {
                "install it, or render in the pipeline: `kustomize build DIR | k8s-sync apply NAME -f -`"
            }
            Self::Encrypted(_) => "--decrypt decrypts it in memory, with age keys",
            Self::NoKeys => "SOPS_AGE_KEY, --age-key-file FILE or --age-key-secret NAMESPACE/NAME",
            Self::Undecipherable { cause: SopsError::NotForUs(_), .. } => {
                "add a key to those that are given, or this one's public key to the file: `sops updatekeys FILE`"
            }
            Self::Undecipherable { cause: SopsError::Value(_) | SopsError::Mac, .. } => {
                "see who changed it without sops; `sops edit FILE` writes it anew"
            }
            Self::Render { .. } => "run it by hand in that folder to see all that it says",
            Self::TooMuchPruned { .. } => "--max-prune 100 allows it, if that is what you want",
            Self::Shared { .. } => {
                "take it out of one of the two, or remove its label applyset.kubernetes.io/part-of to hand it over"
            }
            Self::PlanOutdated(_) => {
                "look at the differences again: `k8s-sync diff --plan FILE` makes a new one"
            }
            Self::TakenOver { .. } => {
                "remove the parent's annotation applyset.kubernetes.io/tooling to take the set back"
            }
            Self::NamespaceInUse(_) => {
                "put its manifest back; or annotate it argocd.argoproj.io/sync-options: Prune=false in the cluster"
            }
            Self::OutOfProject { .. } => "take it out of the source, or have the project's file allow it",
            Self::OldCertificate => {
                "have it made again as version 3 (MicroK8s: refresh its certificates), or use a token"
            }
            Self::Untrusted(_) => {
                "the kubeconfig's certificate-authority is to be the one that signed the server's certificate"
            }
            Self::Unreachable(_) => {
                "is the API server up, and does the kubeconfig name it? `kubectl get --raw /livez` asks the same"
            }
            Self::Configuration(_) => {
                "KUBECONFIG, --dest-name CONTEXT, or a service account inside the cluster"
            }
            Self::Refused { code: 403, message, .. } if is_policy(message) => {
                "the account may, but a quota or a policy of the cluster says no"
            }
            Self::NoCredentials { .. } => {
                "run it by hand, as `kubectl get namespaces` does: it has to be on PATH and logged in"
            }
            Self::Refused { code: 401, .. } => {
                "the kubeconfig's credentials are not accepted, or not any more: log in again"
            }
            Self::Refused { code: 403, .. } => "the account needs that permission in the cluster",
            Self::Refused { code: 404, message, .. } if message.starts_with("namespaces ") => {
                "put its manifest in the source, or --sync-option CreateNamespace=true"
            }
            Self::Conflict { .. } => {
                "remove them from the manifest, take them with --force-conflicts, or leave them with --yield-conflicts"
            }
            Self::Immutable { .. } => {
                "a new object can have it: give it another name; or annotate argocd.argoproj.io/sync-options: \
                 Replace=true,Force=true, which deletes it, with the data of a volume, and creates it again"
            }
            Self::UnknownKind { .. } => "its CustomResourceDefinition has to be there first",
            Self::Degraded { .. } | Self::NotHealthy { .. } => "`kubectl describe` shows the object's events",
            _ => return None,
        })
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        if let SyncError::Remote(remote) = error {
            return remote.into();
        }
        let (kind, hint) = (error.kind(), error.hint());
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Whether a 403 is the word of an admission plugin: the authorizer's says who can't do what.
fn is_policy(message: &str) -> bool {
    message.contains("is forbidden: ") && !message.contains("is forbidden: User ")
}

fn owned(conflicts: &[Conflict]) -> String {
    let words =
        conflicts.iter().map(|conflict| format!("{} is owned by {}", conflict.field, conflict.manager));
    words.collect::<Vec<_>>().join(", ")
}
