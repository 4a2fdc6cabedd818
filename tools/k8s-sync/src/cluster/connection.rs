//! Which cluster, and how it is reached.

use std::fmt;
use std::time::Duration;

use kube::Config;
use kube::client::AuthError;
use kube::config::{KubeConfigOptions, Kubeconfig};
use step::with_causes;

use super::{Cluster, transport};
use crate::error::SyncError;
use crate::project::ClusterNames;

/// The cluster that the user named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The API server's URL, with the credentials of the current configuration.
    Server(String),
    /// A context of the kubeconfig.
    Context(String),
    /// The kubeconfig's current context, or the cluster around.
    Current,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => f.write_str(server),
            Self::Context(context) => f.write_str(context),
            Self::Current => f.write_str("the current cluster"),
        }
    }
}

/// How long a credential plugin may take: it may have somebody log in.
const LOGIN: Duration = Duration::from_mins(2);
/// As patient as a request, which takes 60 s at most, can be to be sent once more.
const SILENCE: Duration = Duration::from_secs(24);
/// So much is quoted of what a plugin says.
const QUOTED: usize = 300;

/// The name that Argo CD has for the cluster it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// Connects with the kubeconfig's credentials, or inside a cluster with the service account's.
pub async fn connect(destination: &Destination) -> Result<Cluster, SyncError> {
    connect_within(destination, SILENCE).await
}

/// As above; a connection that says nothing for so long while an answer is waited for is given up.
pub async fn connect_within(destination: &Destination, silence: Duration) -> Result<Cluster, SyncError> {
    // Every client shares one choice of cryptography; a second one is not an error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = configuration(destination).await?;
    let url = &config.cluster_url;
    if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none() {
        let problem = format!("`{url}` is not the URL of an API server, as https://HOST:6443 is");
        return Err(SyncError::Configuration(problem));
    }
    let names = names(destination, &config);
    config.connect_timeout = Some(Duration::from_secs(10));
    // It would try again without telling, and without anybody else's requests going slower.
    config.default_retry = false;
    let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
    // It runs the plugin, and waits for it.
    let made = tokio::task::spawn_blocking(move || transport::client(config, silence));
    let words = |problem: &str| SyncError::NoCredentials {
        plugin: plugin.clone().unwrap_or_default(),
        problem: problem.to_owned(),
    };
    let made = tokio::time::timeout(LOGIN, made).await;
    let made = made.map_err(|_| words(&format!("has not answered after {} s", LOGIN.as_secs())))?;
    let client = made.map_err(|error| SyncError::Configuration(with_causes(&error)))?.map_err(|error| {
        no_credentials(&error, plugin.as_deref()).unwrap_or_else(|| unusable_client(&error))
    })?;
    Ok(Cluster::new(client, names))
}

async fn configuration(destination: &Destination) -> Result<Config, SyncError> {
    let unusable = |error: &(dyn std::error::Error + 'static)| SyncError::Configuration(with_causes(error));
    match destination {
        Destination::Context(context) => {
            if let Ok(kubeconfig) = Kubeconfig::read()
                && !kubeconfig.contexts.iter().any(|known| known.name == *context)
            {
                let known: Vec<String> = kubeconfig.contexts.into_iter().map(|known| known.name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(SyncError::Configuration(format!(
                    "the kubeconfig has no context {context}; it has {known}"
                )));
            }
            let options =
                KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))
        }
        Destination::Server(server) if server == IN_CLUSTER => match Config::incluster() {
            Ok(config) => Ok(config),
            Err(_) => Config::infer().await.map_err(|error| unusable(&error)),
        },
        Destination::Server(server) => {
            if let Some(context) = context_of(server) {
                let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
                return Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error));
            }
            let mut config = Config::infer().await.map_err(|error| unusable(&error))?;
            config.cluster_url = server.parse().map_err(|_| {
                SyncError::Configuration(format!("`{server}` is not the URL of an API server"))
            })?;
            Ok(config)
        }
        Destination::Current => Config::infer().await.map_err(|error| unusable(&error)),
    }
}

/// The kubeconfig's context of an API server, the current one first: each cluster has credentials of its own.
fn context_of(server: &str) -> Option<String> {
    let kubeconfig = Kubeconfig::read().ok()?;
    let is_its = |name: &str| {
        let named = kubeconfig.clusters.iter().find(|cluster| cluster.name == name);
        let url = named.and_then(|named| named.cluster.as_ref()?.server.as_deref());
        url.is_some_and(|url| url.trim_end_matches('/') == server.trim_end_matches('/'))
    };
    let mut fitting: Vec<&str> = kubeconfig
        .contexts
        .iter()
        .filter(|context| context.context.as_ref().is_some_and(|context| is_its(&context.cluster)))
        .map(|context| context.name.as_str())
        .collect();
    fitting.sort_by_key(|name| kubeconfig.current_context.as_deref() != Some(name));
    fitting.first().map(ToString::to_string)
}

/// What projects may call the cluster.
fn names(destination: &Destination, config: &Config) -> ClusterNames {
    let url = config.cluster_url.to_string();
    let around = Config::incluster().is_ok_and(|around| around.cluster_url == config.cluster_url);
    let mut servers = vec![url.trim_end_matches('/').to_owned()];
    servers.extend(around.then(|| IN_CLUSTER.to_owned()));
    let name = match destination {
        Destination::Server(server) => {
            servers.push(server.trim_end_matches('/').to_owned());
            String::new()
        }
        Destination::Context(context) => context.clone(),
        Destination::Current if around => "in-cluster".to_owned(),
        Destination::Current => {
            Kubeconfig::read().ok().and_then(|config| config.current_context).unwrap_or_default()
        }
    };
    ClusterNames { servers, name }
}

/// What went wrong with a credential plugin, if that is what went wrong: without its arguments, its environment and what
/// it prints, which may be secrets.
pub(super) fn no_credentials(error: &kube::Error, plugin: Option<&str>) -> Option<SyncError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let found = loop {
        match cause?.downcast_ref::<AuthError>() {
            Some(found) => break found,
            None => cause = cause?.source(),
        }
    };
    let problem = match found {
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            let said: String = step::without_credentials(&said).chars().take(QUOTED).collect();
            let ended = format!("ended with {}", out.status);
            if said.is_empty() { ended } else { format!("{ended}: {said}") }
        }
        AuthError::AuthExecStart(error) => format!("can't be run: {error}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => "printed no credentials".to_owned(),
        AuthError::ReadTokenFile(error, path) => {
            return Some(SyncError::Unreadable { path: path.display().to_string(), cause: io(error) });
        }
        other => other.to_string(),
    };
    Some(SyncError::NoCredentials { plugin: plugin.unwrap_or_default().to_owned(), problem })
}

fn io(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

/// Why no client can be made of a configuration. The words for a certificate of X.509's first version are rustls's.
fn unusable_client(error: &kube::Error) -> SyncError {
    let words = with_causes(error);
    if words.contains("UnsupportedCertVersion") {
        SyncError::OldCertificate
    } else {
        SyncError::Configuration(words)
    }
}
