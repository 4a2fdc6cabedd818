//! The Argo CD Application that does the same, to move to Argo CD when one process no longer does.
//!
//! As its CRD has it (`manifests/crds/application-crd.yaml`), with Argo CD's own words where its defaults are others.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ignore::Rule;

/// What an Application says.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options<'a> {
    /// Its name.
    pub name: &'a str,
    /// The repository, without credentials.
    pub repo: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// The folder with the manifests.
    pub path: &'a str,
    /// Whether the folders below are read too; none where kustomize or Helm renders the folder.
    pub recurse: Option<bool>,
    /// The API server.
    pub server: Option<&'a str>,
    /// Argo CD's name for the cluster, which is the kubeconfig context's unless it was added by another.
    pub cluster: Option<&'a str>,
    /// The default namespace.
    pub namespace: &'a str,
    /// Whether it syncs by itself.
    pub automated: bool,
    /// Whether it prunes.
    pub prune: bool,
    /// Whether it heals.
    pub self_heal: bool,
    /// Sync options, in words that both have.
    pub sync_options: &'a [String],
    /// Differences that are not to be seen.
    pub ignore: &'a [Rule],
    /// Whether the server tries out every object.
    pub paranoid: bool,
    /// Whether there may be no manifest.
    pub allow_empty: bool,
    /// The project whose rules it keeps to.
    pub project: &'a str,
    /// Labels and annotations of the namespace that it makes.
    pub namespace_metadata: &'a BTreeMap<&'static str, BTreeMap<String, String>>,
}

/// The Application (`argoproj.io/v1alpha1`).
pub fn document(options: &Options<'_>) -> Value {
    let mut metadata = json!({ "name": options.name, "namespace": "argocd" });
    if options.paranoid {
        metadata["annotations"] = json!({ "argocd.argoproj.io/compare-options": "ServerSideDiff=true" });
    }
    let mut source = json!({
        "repoURL": options.repo,
        "targetRevision": options.revision,
        "path": options.path,
    });
    if let Some(recurse) = options.recurse {
        source["directory"] = json!({ "recurse": recurse });
    }
    let mut destination = json!({ "namespace": options.namespace });
    match (options.server, options.cluster) {
        (Some(server), _) => destination["server"] = Value::from(server),
        (None, Some(cluster)) => destination["name"] = Value::from(cluster),
        // The cluster that Argo CD runs in.
        (None, None) => destination["server"] = Value::from("https://kubernetes.default.svc"),
    }
    let mut spec = json!({
        "project": options.project,
        "source": source,
        "destination": destination,
        "syncPolicy": policy(options),
    });
    if !options.ignore.is_empty() {
        spec["ignoreDifferences"] = json!(options.ignore);
    }
    json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec })
}

fn policy(options: &Options<'_>) -> Value {
    let mut sync_options = vec!["ServerSideApply=true".to_owned()];
    for option in options.sync_options {
        if !sync_options.contains(option) {
            sync_options.push(option.clone());
        }
    }
    let mut policy = json!({ "syncOptions": sync_options });
    if !options.namespace_metadata.is_empty() {
        policy["managedNamespaceMetadata"] = json!(options.namespace_metadata);
    }
    if options.automated {
        policy["automated"] = json!({ "prune": options.prune, "selfHeal": options.self_heal });
        if options.allow_empty {
            policy["automated"]["allowEmpty"] = Value::Bool(true);
        }
        // Argo CD gives a commit up after five attempts.
        policy["retry"] =
            json!({ "limit": -1, "backoff": { "duration": "30s", "factor": 2, "maxDuration": "2m" } });
    }
    policy
}
