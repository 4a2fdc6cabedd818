//! Several applications from one file: Argo CD's `Application` objects, or the options of the command line by name.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use step::{Failure, FailureKind};

use crate::error::SyncError;
use crate::ignore::{self, Rule};
use crate::manifest::annotation;
use crate::options::SyncOptions;

/// An application as a file declares it; what is not said is as on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The repository's URL.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
    /// The folder.
    pub path: Option<String>,
    /// The API server.
    pub dest_server: Option<String>,
    /// A context of the kubeconfig.
    pub dest_name: Option<String>,
    /// The namespace of objects that name none.
    pub dest_namespace: Option<String>,
    /// Whether it syncs by itself.
    pub automated: Option<bool>,
    /// Whether what Git no longer has is deleted.
    #[serde(alias = "prune")]
    pub auto_prune: Option<bool>,
    /// Whether what others change is changed back.
    pub self_heal: Option<bool>,
    /// The most that may be pruned at once, in percent.
    pub max_prune: Option<u8>,
    /// Whose fields are taken: managers, fields, or `*` for all.
    pub force_conflicts: Option<Vec<String>>,
    /// Whose fields are left.
    pub yield_conflicts: Option<Vec<String>>,
    /// Whether there may be no manifest.
    pub allow_empty: Option<bool>,
    /// Whether the server tries out every object.
    pub paranoid: Option<bool>,
    /// Sync options.
    pub sync_options: Option<Vec<String>>,
    /// Labels of the namespace that `CreateNamespace` makes, each `KEY=VALUE`.
    pub namespace_labels: Option<Vec<String>>,
    /// Its annotations.
    pub namespace_annotations: Option<Vec<String>>,
    /// Differences that are not to be seen: the rules themselves.
    pub ignore_differences: Option<Vec<Rule>>,
    /// Whether they are not written either.
    pub respect_ignore_differences: Option<bool>,
    /// Whether the folders below the path are read, too.
    pub recurse: Option<bool>,
    /// How long waves and hooks may take, in seconds.
    pub timeout: Option<u64>,
    /// Seconds between two looks at the repository.
    pub poll: Option<u64>,
    /// Whether what SOPS encrypted is decrypted.
    pub decrypt: Option<bool>,
    /// Age keys.
    pub age_key_file: Option<PathBuf>,
    /// A Secret that holds age keys.
    pub age_key_secret: Option<String>,
    /// The SSH key.
    pub ssh_key_file: Option<PathBuf>,
    /// The host keys to trust.
    pub known_hosts: Option<PathBuf>,
    /// The only host key to trust.
    pub host_key_fingerprint: Option<String>,
    /// The token or password for HTTPS.
    pub token_file: Option<PathBuf>,
    /// The user name that goes with it.
    pub username: Option<String>,
    /// The certificates to trust for HTTPS.
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    applications: Vec<Declared>,
}

/// Reads the applications of a file.
pub fn read(file: &Path) -> Result<Vec<Declared>, Failure> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|cause| SyncError::Unreadable { path: shown.clone(), cause })?;
    let found = parse(&text, &shown)?;
    let mut names: Vec<&str> = found.iter().map(|application| application.name.as_str()).collect();
    names.sort_unstable();
    if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, other)| one == other) {
        return Err(wrong(&shown, &format!("there are two applications {twice}")));
    }
    if found.is_empty() {
        return Err(wrong(&shown, "there is no application in it"));
    }
    Ok(found)
}

fn wrong(place: &str, problem: &str) -> Failure {
    Failure::message(FailureKind::Input, format!("{place}: {problem}"))
}

fn parse(text: &str, place: &str) -> Result<Vec<Declared>, Failure> {
    let mut found = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let place = if index == 0 { place.to_owned() } else { format!("{place} (document {})", index + 1) };
        let value: Value = serde_yaml::Value::deserialize(document)
            .map_err(|error| wrong(&place, &error.to_string()))
            .and_then(|value| {
                serde_json::to_value(value).map_err(|error| wrong(&place, &error.to_string()))
            })?;
        open(value, &place, &mut found)?;
    }
    Ok(found)
}

fn open(value: Value, place: &str, into: &mut Vec<Declared>) -> Result<(), Failure> {
    if value.is_null() {
        return Ok(());
    }
    let Some(kind) = value["kind"].as_str() else {
        let file: File = serde_json::from_value(value).map_err(|error| wrong(place, &error.to_string()))?;
        into.extend(file.applications);
        return Ok(());
    };
    if kind.ends_with("List")
        && let Some(items) = value["items"].as_array()
    {
        return items.iter().try_for_each(|item| open(item.clone(), place, into));
    }
    if kind != "Application" || value["apiVersion"] != "argoproj.io/v1alpha1" {
        let version = value["apiVersion"].as_str().unwrap_or_default();
        let problem = format!("{kind} of {version} is not an Application of argoproj.io/v1alpha1");
        return Err(wrong(place, &problem));
    }
    into.push(of_argo_cd(&value, place)?);
    Ok(())
}

/// What of an Application's spec is understood. A retry is always tried, and history is kept by Git.
const UNDERSTOOD: [&str; 19] = [
    "project",
    "source.repoURL",
    "source.targetRevision",
    "source.path",
    "source.directory.recurse",
    "destination.server",
    "destination.name",
    "destination.namespace",
    "syncPolicy.automated.prune",
    "syncPolicy.automated.selfHeal",
    "syncPolicy.automated.enabled",
    "syncPolicy.automated.allowEmpty",
    "syncPolicy.syncOptions",
    "syncPolicy.managedNamespaceMetadata.labels",
    "syncPolicy.managedNamespaceMetadata.annotations",
    "ignoreDifferences",
    "syncPolicy.retry",
    "revisionHistoryLimit",
    "info",
];

fn of_argo_cd(object: &Value, place: &str) -> Result<Declared, Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(wrong(place, "the Application has no metadata.name"));
    }
    let place = format!("{place}: Application {name}");
    let spec = &object["spec"];
    let refuse = |what: &str| {
        wrong(&place, &format!("{what} is not supported by k8s-sync")).hint("sync this one with Argo CD")
    };
    let mut fields = Vec::new();
    leaves(spec, String::new(), &mut fields);
    let is_understood = |field: &str| {
        UNDERSTOOD.iter().any(|known| {
            field.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    let foreign: Vec<String> = fields
        .into_iter()
        .filter(|field| !is_understood(field))
        .map(|field| format!("spec.{field}"))
        .collect();
    if !foreign.is_empty() {
        return Err(refuse(&foreign.join(", ")));
    }
    if spec["project"].as_str().is_some_and(|project| !["", "default"].contains(&project)) {
        return Err(refuse(&format!("spec.project {}", spec["project"])));
    }
    let listed = spec["syncPolicy"]["syncOptions"].as_array().into_iter().flatten();
    let sync_options: Vec<String> =
        listed.map(|option| option.as_str().unwrap_or_default().to_owned()).collect();
    for option in &sync_options {
        if SyncOptions::parse([option.as_str()]).is_err() {
            return Err(refuse(&format!("spec.syncPolicy.syncOptions {option}")));
        }
    }
    let rules = match &spec["ignoreDifferences"] {
        Value::Null => Vec::new(),
        rules => ignore::rules(&rules.to_string(), &format!("{place}, spec.ignoreDifferences"))?,
    };
    let automated = &spec["syncPolicy"]["automated"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let Some(repo) = text(&spec["source"]["repoURL"]) else {
        return Err(wrong(&place, "it has no spec.source.repoURL"));
    };
    let is_automated = automated.is_object() && automated["enabled"] != false;
    // Argo CD's name for the cluster that it runs in.
    let context = text(&spec["destination"]["name"]).filter(|name| name != "in-cluster");
    Ok(Declared {
        name,
        repo,
        revision: text(&spec["source"]["targetRevision"]),
        path: text(&spec["source"]["path"]),
        dest_server: text(&spec["destination"]["server"]),
        dest_name: context,
        dest_namespace: text(&spec["destination"]["namespace"]),
        automated: Some(is_automated),
        auto_prune: Some(is_automated && automated["prune"] == true),
        self_heal: Some(is_automated && automated["selfHeal"] == true),
        paranoid: annotation(object, "argocd.argoproj.io/compare-options")
            .map(|options| options.split(',').any(|option| option.trim() == "ServerSideDiff=true")),
        allow_empty: Some(is_automated && automated["allowEmpty"] == true),
        sync_options: Some(sync_options),
        namespace_labels: Some(pairs(&spec["syncPolicy"]["managedNamespaceMetadata"]["labels"])),
        namespace_annotations: Some(pairs(&spec["syncPolicy"]["managedNamespaceMetadata"]["annotations"])),
        ignore_differences: Some(rules),
        recurse: Some(spec["source"]["directory"]["recurse"] == true),
        ..Declared::default()
    })
}

/// Texts of a mapping, each `KEY=VALUE`.
fn pairs(mapping: &Value) -> Vec<String> {
    let fields = mapping.as_object().into_iter().flatten();
    fields.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect()
}

/// The paths of all values that are no mappings; an empty mapping says something, too.
fn leaves(value: &Value, path: String, into: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, path, into);
            }
        }
        // `automated: {}` is Argo CD's way to switch it on.
        Value::Object(_) if path == "syncPolicy.automated" || path == "syncPolicy" => {}
        _ => into.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLICATION: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io]}
spec:
  project: default
  source: {repoURL: 'https://git.test/team/app.git', targetRevision: demo, path: manifests}
  destination: {server: 'https://kubernetes.default.svc', namespace: hello}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [ServerSideApply=true, CreateNamespace=true]
    managedNamespaceMetadata: {labels: {team: a}}
  ignoreDifferences: [{kind: Secret, jsonPointers: [/data]}]
";

    #[test]
    fn argo_cds_objects_are_read_as_they_are() {
        let found = parse(APPLICATION, "apps.yaml").unwrap();
        let expected = Declared {
            name: "web".into(),
            repo: "https://git.test/team/app.git".into(),
            revision: Some("demo".into()),
            path: Some("manifests".into()),
            dest_server: Some("https://kubernetes.default.svc".into()),
            dest_namespace: Some("hello".into()),
            dest_name: None,
            automated: Some(true),
            auto_prune: Some(true),
            self_heal: Some(true),
            sync_options: Some(vec!["ServerSideApply=true".into(), "CreateNamespace=true".into()]),
            namespace_labels: Some(vec!["team=a".to_owned()]),
            namespace_annotations: Some(Vec::new()),
            ignore_differences: Some(
                ignore::rules("[{kind: Secret, jsonPointers: [/data]}]", "expected").unwrap(),
            ),
            recurse: Some(false),
            allow_empty: Some(false),
            ..Declared::default()
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (from, to, named) in [
            ("path: manifests", "chart: web", "spec.source.chart"),
            ("path: manifests", "path: a, helm: {releaseName: x}", "spec.source.helm.releaseName"),
            ("  project: default", "  sources: [{repoURL: a}]", "spec.sources"),
            ("project: default", "project: team", "spec.project \"team\""),
            ("ServerSideApply=true", "ServerSideApply=false", "syncOptions ServerSideApply=false"),
            ("jsonPointers: [/data]", "jqPathExpressions: ['.data [']", "spec.ignoreDifferences"),
            ("kind: Application", "kind: ApplicationSet", "ApplicationSet"),
        ] {
            let text = APPLICATION.replace(from, to);
            assert_ne!(text, APPLICATION);
            let said = parse(&text, "apps.yaml").unwrap_err().to_string();
            assert!(said.contains(named), "{said}");
        }
    }

    #[test]
    fn options_by_name() {
        let text =
            "applications:\n- name: a\n  repo: git@git.test:a.git\n  destName: other\n  selfHeal: true\n";
        let found = parse(text, "apps.yaml").unwrap();
        assert_eq!((found[0].dest_name.as_deref(), found[0].self_heal), (Some("other"), Some(true)));
        let unknown = parse("applications: [{name: a, repo: b, colour: red}]", "apps.yaml").unwrap_err();
        assert!(unknown.to_string().contains("colour"));
    }
}
