//! Where a kind's objects are in the API.

use std::collections::HashMap;

use serde_json::Value;

use super::{Cluster, builtin, escape};
use crate::error::SyncError;
use crate::manifest::GroupKind;

/// A kind as the API serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `apps/v1`.
    pub version: String,
    /// `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// The kind that a CustomResourceDefinition will make, where it serves this apiVersion.
    pub fn defined(definition: &Value, version: &str) -> Option<Self> {
        let spec = &definition["spec"];
        let (_, served) = version.split_once('/')?;
        let mut versions = spec["versions"].as_array()?.iter();
        versions.find(|version| version["name"] == served && version["served"] == true)?;
        Some(Self {
            version: version.to_owned(),
            plural: spec["names"]["plural"].as_str()?.to_owned(),
            namespaced: spec["scope"] == "Namespaced",
        })
    }

    /// The path of all objects: of a namespace, or of the cluster where it is empty.
    pub fn list(&self, namespace: &str) -> String {
        let root = if self.version.contains('/') { "apis" } else { "api" };
        if self.namespaced && !namespace.is_empty() {
            format!("/{root}/{}/namespaces/{}/{}", self.version, escape(namespace), self.plural)
        } else {
            format!("/{root}/{}/{}", self.version, self.plural)
        }
    }

    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.list(namespace), escape(name))
    }
}

/// What the cluster serves, asked once a group and version.
#[derive(Debug, Default)]
pub struct Resources {
    known: HashMap<String, Vec<(String, Resource)>>,
    versions: HashMap<String, Vec<String>>,
}

impl Resources {
    /// Finds a kind of an apiVersion; none where the cluster has no such kind.
    pub async fn find(
        &mut self,
        cluster: &Cluster,
        version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, SyncError> {
        if let Some(resource) = builtin::find(version, kind) {
            return Ok(Some(resource));
        }
        if self.lookup(version, kind).is_none() {
            // Asked again on every miss: a CustomResourceDefinition may have come meanwhile.
            let root = if version.contains('/') { "apis" } else { "api" };
            let listed = cluster.get(&format!("/{root}/{version}")).await?.unwrap_or_default();
            let resources = listed["resources"].as_array().into_iter().flatten();
            let served = resources.filter_map(|entry| {
                let plural = entry["name"].as_str().filter(|name| !name.contains('/'))?.to_owned();
                let namespaced = entry["namespaced"].as_bool()?;
                Some((
                    entry["kind"].as_str()?.to_owned(),
                    Resource { version: version.to_owned(), plural, namespaced },
                ))
            });
            self.known.insert(version.to_owned(), served.collect());
        }
        Ok(self.lookup(version, kind))
    }

    /// Finds a kind of a group, in the version that the cluster prefers of those that have it.
    pub async fn find_kind(
        &mut self,
        cluster: &Cluster,
        kind: &GroupKind,
    ) -> Result<Option<Resource>, SyncError> {
        if let Some(resource) =
            builtin::version(&kind.group).and_then(|version| builtin::find(version, &kind.kind))
        {
            return Ok(Some(resource));
        }
        if kind.group.is_empty() {
            return self.find(cluster, "v1", &kind.kind).await;
        }
        if !self.versions.contains_key(&kind.group) {
            let group = cluster.get(&format!("/apis/{}", kind.group)).await?.unwrap_or_default();
            let preferred = group["preferredVersion"].clone();
            let all = group["versions"].as_array().into_iter().flatten();
            let versions = std::iter::once(&preferred).chain(all);
            let names = versions.filter_map(|version| version["groupVersion"].as_str().map(str::to_owned));
            self.versions.insert(kind.group.clone(), names.collect());
        }
        for version in self.versions[&kind.group].clone() {
            if let Some(resource) = self.find(cluster, &version, &kind.kind).await? {
                return Ok(Some(resource));
            }
        }
        Ok(None)
    }

    fn lookup(&self, version: &str, kind: &str) -> Option<Resource> {
        let served = self.known.get(version)?;
        served.iter().find(|(found, _)| found == kind).map(|(_, resource)| resource.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let resource = |version: &str, namespaced| Resource {
            version: version.into(),
            plural: "things".into(),
            namespaced,
        };
        assert_eq!(resource("v1", true).object("n", "a"), "/api/v1/namespaces/n/things/a");
        assert_eq!(resource("apps/v1", true).list(""), "/apis/apps/v1/things");
        assert_eq!(resource("v1", false).object("n", "a"), "/api/v1/things/a");
        assert_eq!(resource("v1", false).object("", "a?b=c"), "/api/v1/things/a%3Fb%3Dc");
    }
}
