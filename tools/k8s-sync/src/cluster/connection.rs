//! Which cluster, and how it is reached.

use std::fmt;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{Cluster, causes};
use crate::error::SyncError;
use crate::project::ClusterNames;

/// The cluster that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The name that Argo CD has for the cluster it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// Connects with the kubeconfig's credentials, or inside a cluster with the service account's.
pub async fn connect(destination: &Destination) -> Result<Cluster, SyncError> {
    // Every client shares one choice of cryptography; a second one is not an error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = configuration(destination).await?;
    let names = names(destination, &config);
    config.connect_timeout = Some(Duration::from_secs(10));
    // It would try again without telling, and without anybody else's requests going slower.
    config.default_retry = false;
    let client = kube::Client::try_from(config).map_err(|error| unusable_client(&error))?;
    Ok(Cluster::new(client, names))
}

async fn configuration(destination: &Destination) -> Result<Config, SyncError> {
    let unusable = |error: &dyn std::error::Error| SyncError::Configuration(causes(error));
    match destination {
        Destination::Context(context) => {
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

/// Why no client can be made of a configuration. The words for a certificate of X.509's first version are rustls's.
fn unusable_client(error: &kube::Error) -> SyncError {
    let words = causes(error);
    if words.contains("UnsupportedCertVersion") {
        SyncError::OldCertificate
    } else {
        SyncError::Configuration(words)
    }
}
