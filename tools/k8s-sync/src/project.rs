//! What an application may bring, where, and from where: an Argo CD `AppProject`, whose rules these are
//! (`pkg/apis/application/v1alpha1/app_project_types.go`).

use std::path::Path;

use globset::GlobBuilder;
use serde::Deserialize;

use crate::error::SyncError;
use crate::manifest::{GroupKind, Identity};

/// An `AppProject`.
#[derive(Debug, Clone)]
pub struct Project {
    name: String,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Document {
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    source_repos: Vec<String>,
    #[serde(default)]
    destinations: Vec<Destination>,
    #[serde(default)]
    cluster_resource_whitelist: Vec<Named>,
    #[serde(default)]
    cluster_resource_blacklist: Vec<Named>,
    /// Everything, where it is not given; nothing, where it is empty.
    namespace_resource_whitelist: Option<Vec<Named>>,
    #[serde(default)]
    namespace_resource_blacklist: Vec<Named>,
    // What follows guards something that is not done here: it is refused rather than passed over.
    sync_windows: Option<Vec<serde_yaml::Value>>,
    signature_keys: Option<Vec<serde_yaml::Value>>,
    destination_service_accounts: Option<Vec<serde_yaml::Value>>,
    permit_only_project_scoped_clusters: Option<bool>,
    // What follows is of Argo CD's own users and objects.
    #[serde(rename = "description")]
    _description: Option<serde_yaml::Value>,
    #[serde(rename = "roles")]
    _roles: Option<serde_yaml::Value>,
    #[serde(rename = "orphanedResources")]
    _orphaned_resources: Option<serde_yaml::Value>,
    #[serde(rename = "sourceNamespaces")]
    _source_namespaces: Option<serde_yaml::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Destination {
    #[serde(default)]
    server: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    group: String,
    kind: String,
    /// Only objects of such a name; of the cluster's own kinds.
    #[serde(default)]
    name: String,
}

/// A cluster, as projects name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNames {
    /// Its URLs.
    pub servers: Vec<String>,
    /// Its context in the kubeconfig.
    pub name: String,
}

impl Project {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SyncError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| SyncError::Unreadable { path: place.clone(), cause })?;
        Self::parse(&text).map_err(|problem| SyncError::Manifest { place, problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            serde_yaml::from_str(text).map_err(|error| format!("not an AppProject: {error}"))?;
        if document.kind != "AppProject" {
            return Err(format!("not an AppProject, but of the kind {}", document.kind));
        }
        let spec = document.spec;
        let some = |list: &Option<Vec<serde_yaml::Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        for (field, is_there) in [
            ("syncWindows", some(&spec.sync_windows)),
            ("signatureKeys", some(&spec.signature_keys)),
            ("destinationServiceAccounts", some(&spec.destination_service_accounts)),
            ("permitOnlyProjectScopedClusters", spec.permit_only_project_scoped_clusters == Some(true)),
        ] {
            if is_there {
                return Err(format!("spec.{field} guards what is not guarded here: take it out"));
            }
        }
        let project = Self { name: document.metadata.name, spec };
        project.patterns().try_for_each(|pattern| fits(pattern, "").map(drop))?;
        Ok(project)
    }

    fn patterns(&self) -> impl Iterator<Item = &str> {
        let spec = &self.spec;
        let places =
            spec.destinations.iter().flat_map(|place| [&place.server, &place.name, &place.namespace]);
        let kinds = [&spec.cluster_resource_whitelist, &spec.cluster_resource_blacklist]
            .into_iter()
            .chain(&spec.namespace_resource_whitelist)
            .chain([&spec.namespace_resource_blacklist])
            .flatten()
            .flat_map(|kind| [&kind.group, &kind.kind, &kind.name]);
        spec.source_repos.iter().chain(places).chain(kinds).map(String::as_str)
    }

    /// Refuses a repository that is not among the sources.
    pub fn check_repository(&self, url: &str) -> Result<(), SyncError> {
        let url = url.trim_end_matches('/').trim_end_matches(".git");
        let fits = |pattern: &str| matches(pattern.trim_end_matches('/').trim_end_matches(".git"), url);
        let (denied, allowed): (Vec<_>, Vec<_>) =
            self.spec.source_repos.iter().partition(|pattern| pattern.starts_with('!'));
        if allowed.iter().any(|pattern| fits(pattern)) && !denied.iter().any(|pattern| fits(&pattern[1..])) {
            return Ok(());
        }
        Err(self
            .refuse(step::url_without_credentials(url), "its spec.sourceRepos do not name this repository"))
    }

    /// Refuses an object that is of a kind, or in a namespace, that the project does not have. Where it is not known
    /// yet whether the kind has namespaces, it has to be allowed both ways.
    pub fn check(
        &self,
        identity: &Identity,
        namespaced: Option<bool>,
        cluster: &ClusterNames,
    ) -> Result<(), SyncError> {
        let refuse = |why: &str| Err(self.refuse(identity.to_string(), why));
        if namespaced != Some(false) && !self.has_place(cluster, &identity.namespace) {
            return refuse("its spec.destinations do not name this namespace of this cluster");
        }
        if namespaced != Some(false) && !self.has_namespaced(&identity.kind) {
            return refuse("it does not allow this kind in namespaces");
        }
        if namespaced != Some(true) && !self.has_global(&identity.kind, &identity.name) {
            return refuse("its spec.clusterResourceWhitelist does not allow this");
        }
        Ok(())
    }

    fn refuse(&self, what: String, why: &str) -> SyncError {
        SyncError::OutOfProject { what, project: self.name.clone(), why: why.to_owned() }
    }

    fn has_namespaced(&self, kind: &GroupKind) -> bool {
        let spec = &self.spec;
        let among = |list: &[Named]| list.iter().any(|allowed| allowed.means(kind, ""));
        spec.namespace_resource_whitelist.as_deref().is_none_or(among)
            && !among(&spec.namespace_resource_blacklist)
    }

    fn has_global(&self, kind: &GroupKind, name: &str) -> bool {
        let among = |list: &[Named]| list.iter().any(|allowed| allowed.means(kind, name));
        among(&self.spec.cluster_resource_whitelist) && !among(&self.spec.cluster_resource_blacklist)
    }

    /// Of Argo CD's `isDestinationMatched`: what is denied wins, whatever else is allowed.
    fn has_place(&self, cluster: &ClusterNames, namespace: &str) -> bool {
        let mut allowed = false;
        for place in &self.spec.destinations {
            let named = !place.name.is_empty() && fits_or_not(&place.name, &[&cluster.name]);
            let servers: Vec<&str> = cluster.servers.iter().map(String::as_str).collect();
            let served = !place.server.is_empty() && fits_or_not(&place.server, &servers);
            let inside = fits_or_not(&place.namespace, &[namespace]);
            let denies = |pattern: &str| pattern.starts_with('!');
            if (named || served) && inside {
                allowed = true;
            } else if ((!named && denies(&place.name)) || (!served && denies(&place.server))) && inside
                || (!inside && denies(&place.namespace) && (named || served))
            {
                return false;
            }
        }
        allowed
    }
}

impl Named {
    fn means(&self, kind: &GroupKind, name: &str) -> bool {
        matches(&self.group, &kind.group)
            && matches(&self.kind, &kind.kind)
            && (self.name.is_empty() || matches(&self.name, name))
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> Result<bool, String> {
    let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
    let glob = GlobBuilder::new(pattern).literal_separator(false).build();
    let glob = glob.map_err(|error| format!("`{pattern}` is no pattern: {error}"))?;
    Ok(glob.compile_matcher().is_match(text))
}

/// Patterns are checked when the project is read.
fn matches(pattern: &str, text: &str) -> bool {
    fits(pattern, text).unwrap_or(false)
}

/// `!a` fits what `a` does not.
fn fits_or_not(pattern: &str, texts: &[&str]) -> bool {
    let fits = texts.iter().any(|text| matches(pattern, text));
    fits != pattern.starts_with('!')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(spec: &str) -> Result<Project, String> {
        Project::parse(&format!("kind: AppProject\nmetadata: {{name: p}}\nspec: {{{spec}}}"))
    }

    fn cluster() -> ClusterNames {
        ClusterNames { servers: vec!["https://api.test:6443".into()], name: "blue".into() }
    }

    fn allows(spec: &str, kind: &str, namespace: &str) -> bool {
        let identity = Identity::new(GroupKind::parse(kind), namespace, "a");
        project(spec).unwrap().check(&identity, Some(!namespace.is_empty()), &cluster()).is_ok()
    }

    #[test]
    fn places_are_as_argo_cd_has_them() {
        for (destinations, namespace, allowed) in [
            ("", "app", false),
            ("{server: '*', namespace: app}", "app", true),
            ("{server: '*', namespace: app}", "other", false),
            ("{server: 'https://api.test*', namespace: 'app-*'}", "app-1", true),
            ("{server: 'https://other.test', namespace: '*'}", "app", false),
            ("{name: blue, namespace: '*'}", "app", true),
            ("{name: '!blue', namespace: '*'}, {server: '*', namespace: '*'}", "app", false),
            ("{server: '*', namespace: '*'}, {server: '*', namespace: '!kube-system'}", "kube-system", false),
            ("{server: '*', namespace: '!kube-system'}", "app", true),
        ] {
            let spec = format!("destinations: [{destinations}]");
            assert_eq!(allows(&spec, "ConfigMap", namespace), allowed, "{destinations} {namespace}");
        }
    }

    #[test]
    fn kinds_are_as_argo_cd_has_them() {
        let all = "destinations: [{server: '*', namespace: '*'}]";
        let secret = "{group: '', kind: Secret}";
        for (lists, kind, namespace, allowed) in [
            (String::new(), "Secret", "app", true),
            (format!("namespaceResourceBlacklist: [{secret}]"), "Secret", "app", false),
            (format!("namespaceResourceWhitelist: [{secret}]"), "Secret", "app", true),
            (format!("namespaceResourceWhitelist: [{secret}]"), "ConfigMap", "app", false),
            ("namespaceResourceWhitelist: []".into(), "Secret", "app", false),
            (String::new(), "Namespace", "", false),
            ("clusterResourceWhitelist: [{group: '', kind: Namespace}]".into(), "Namespace", "", true),
            ("clusterResourceWhitelist: [{group: '', kind: Namespace, name: 'b*'}]".into(), "Namespace", "", false),
            (
                "clusterResourceWhitelist: [{group: '*', kind: '*'}], clusterResourceBlacklist: [{group: 'rbac*', kind: '*'}]".into(),
                "ClusterRole.rbac.authorization.k8s.io",
                "",
                false,
            ),
        ] {
            assert_eq!(allows(&format!("{all}, {lists}"), kind, namespace), allowed, "{lists} {kind}");
        }
    }

    #[test]
    fn repositories_are_named_by_patterns() {
        let check = |repos: &str, url: &str| {
            project(&format!("sourceRepos: [{repos}]")).unwrap().check_repository(url).is_ok()
        };
        assert!(check("'*'", "git@git.test:team/app.git"));
        assert!(check("'https://git.test/team/*'", "https://git.test/team/app.git"));
        assert!(check("'https://git.test/team/app.git'", "https://git.test/team/app"));
        assert!(!check("'https://git.test/team/*'", "https://git.test/other/app.git"));
        assert!(!check("'*', '!https://git.test/*'", "https://git.test/other/app.git"));
        assert!(!check("", "https://git.test/team/app.git"));
    }

    #[test]
    fn what_is_not_guarded_here_is_refused() {
        assert!(project("syncWindows: [{kind: deny}]").unwrap_err().contains("spec.syncWindows"));
        assert!(project("sourceRepo: ['*']").unwrap_err().contains("sourceRepo"));
        assert!(project("sourceRepos: ['[']").unwrap_err().contains("no pattern"));
        assert!(project("description: d, syncWindows: []").is_ok());
        assert!(Project::parse("kind: Application\nmetadata: {name: a}\nspec: {}").is_err());
    }
}
