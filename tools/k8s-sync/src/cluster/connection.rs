//! Which cluster, and how it is reached.

use std::fmt;
use std::time::Duration;

use kube::Config;
use kube::config::KubeConfigOptions;

use super::{Cluster, causes};
use crate::error::SyncError;

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
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = kube::Client::try_from(config).map_err(|error| unusable_client(&error))?;
    Ok(Cluster::new(client))
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
            let mut config = Config::infer().await.map_err(|error| unusable(&error))?;
            config.cluster_url = server.parse().map_err(|_| {
                SyncError::Configuration(format!("`{server}` is not the URL of an API server"))
            })?;
            Ok(config)
        }
        Destination::Current => Config::infer().await.map_err(|error| unusable(&error)),
    }
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
