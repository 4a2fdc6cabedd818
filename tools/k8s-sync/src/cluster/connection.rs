//! Which cluster, and how it is reached.

use std::time::Duration;

use kube::Config;
use kube::config::KubeConfigOptions;

use super::{Cluster, causes};
use crate::error::SyncError;

/// The cluster that the user named.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// The API server's URL, with the credentials of the current configuration.
    pub server: Option<String>,
    /// A context of the kubeconfig.
    pub context: Option<String>,
}

/// The name that Argo CD has for the cluster it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// Connects with the kubeconfig's credentials, or inside a cluster with the service account's.
pub async fn connect(destination: &Destination) -> Result<Cluster, SyncError> {
    // Every client shares one choice of cryptography; a second one is not an error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = configuration(destination).await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = kube::Client::try_from(config).map_err(|error| SyncError::Configuration(causes(&error)))?;
    Ok(Cluster::new(client))
}

async fn configuration(destination: &Destination) -> Result<Config, SyncError> {
    let unusable = |error: &dyn std::error::Error| SyncError::Configuration(causes(error));
    if let Some(context) = &destination.context {
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        return Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error));
    }
    let in_cluster = destination.server.as_deref() == Some(IN_CLUSTER);
    let mut config = if in_cluster && let Ok(config) = Config::incluster() {
        return Ok(config);
    } else {
        Config::infer().await.map_err(|error| unusable(&error))?
    };
    if let Some(server) = destination.server.as_deref().filter(|_| !in_cluster) {
        config.cluster_url = server
            .parse()
            .map_err(|_| SyncError::Configuration(format!("`{server}` is not the URL of an API server")))?;
    }
    Ok(config)
}
