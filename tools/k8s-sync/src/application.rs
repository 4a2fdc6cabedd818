//! The Argo CD Application that does the same, to move to Argo CD when one process no longer does.

use serde_json::{Value, json};

/// What an Application says.
#[derive(Debug)]
pub struct Options<'a> {
    /// Its name.
    pub name: &'a str,
    /// The repository.
    pub repo: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// The folder with the manifests.
    pub path: &'a str,
    /// The API server, or none for the cluster that Argo CD runs in.
    pub server: Option<&'a str>,
    /// The default namespace.
    pub namespace: &'a str,
    /// Whether it syncs by itself.
    pub automated: bool,
    /// Whether it prunes.
    pub prune: bool,
    /// Whether it heals.
    pub self_heal: bool,
}

/// The Application (`argoproj.io/v1alpha1`), with server-side apply as k8s-sync does it.
pub fn document(options: &Options<'_>) -> Value {
    let mut policy = json!({ "syncOptions": ["ServerSideApply=true"] });
    if options.automated {
        policy["automated"] = json!({ "prune": options.prune, "selfHeal": options.self_heal });
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": options.name, "namespace": "argocd" },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": options.repo,
                "targetRevision": options.revision,
                "path": options.path,
                "directory": { "recurse": true },
            },
            "destination": {
                "server": options.server.unwrap_or("https://kubernetes.default.svc"),
                "namespace": options.namespace,
            },
            "syncPolicy": policy,
        },
    })
}
