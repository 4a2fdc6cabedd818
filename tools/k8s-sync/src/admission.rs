//! Who may change objects on their way into the cluster: mutating webhooks and policies.
//!
//! A server does not say which of them changed an object, so all that apply to it are named.

use std::collections::HashMap;

use serde_json::Value;

use crate::altered::Altered;
use crate::cluster::Cluster;
use crate::error::SyncError;
use crate::manifest::GroupKind;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// The webhooks and policies of a cluster; read when somebody first asks for them.
#[derive(Debug, Default)]
pub struct Admission {
    mutators: Option<Vec<Mutator>>,
    /// The labels of namespaces; none where they can't be read.
    namespaces: HashMap<String, Option<Value>>,
}

/// A webhook or a policy.
#[derive(Debug)]
struct Mutator {
    name: String,
    rules: Vec<Value>,
    /// Whether other versions of a kind are left alone.
    exact: bool,
    namespaces: Value,
    objects: Value,
}

/// An object, as rules see it.
struct Target<'a> {
    kind: &'a GroupKind,
    version: &'a str,
    /// The resource: the kind as the API's paths have it.
    resource: &'a str,
    namespace: &'a str,
    labels: &'a Value,
}

impl Admission {
    /// Those that may change this object, in words; none where there is none. `path` is where it is in the API.
    async fn blame(
        &mut self,
        cluster: &Cluster,
        path: &str,
        object: &Value,
    ) -> Result<Option<String>, SyncError> {
        let kind = GroupKind::of(object);
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let target = Target {
            kind: &kind,
            version: api_version.rsplit('/').next().unwrap_or_default(),
            resource: path.rsplit('/').nth(1).unwrap_or_default(),
            namespace: object["metadata"]["namespace"].as_str().unwrap_or_default(),
            labels: &object["metadata"]["labels"],
        };
        let mutators = match self.mutators.take() {
            Some(mutators) => mutators,
            None => read(cluster).await?,
        };
        let concerned: Vec<&Mutator> = mutators.iter().filter(|mutator| mutator.is_about(&target)).collect();
        let mut names = Vec::new();
        if !concerned.is_empty() {
            let around = self.labels_around(cluster, &target).await;
            let selected = concerned
                .iter()
                .filter(|mutator| around.as_ref().is_none_or(|labels| selects(&mutator.namespaces, labels)));
            names.extend(selected.map(|mutator| mutator.name.clone()));
        }
        self.mutators = Some(mutators);
        Ok(Some(names.join(" or ")).filter(|names| !names.is_empty()))
    }

    /// What came out otherwise of an object, with who does it; none where nobody does. Who may not read the webhooks does
    /// not learn it.
    pub async fn explain(
        &mut self,
        cluster: &Cluster,
        path: &str,
        object: &Value,
        altered: Altered,
    ) -> Option<Altered> {
        match self.blame(cluster, path, object).await {
            Ok(None) => None,
            Ok(by) => Some(Altered { by, ..altered }),
            Err(_) => Some(altered),
        }
    }

    /// The labels of the object's namespace; a namespace's own; none for other objects of the cluster.
    async fn labels_around(&mut self, cluster: &Cluster, target: &Target<'_>) -> Option<Value> {
        if target.namespace.is_empty() {
            return (target.kind.kind == "Namespace").then(|| target.labels.clone());
        }
        if !self.namespaces.contains_key(target.namespace) {
            let found = cluster.get(&format!("/api/v1/namespaces/{}", target.namespace)).await;
            let labels = found.ok().flatten().map(|mut namespace| namespace["metadata"]["labels"].take());
            self.namespaces.insert(target.namespace.to_owned(), labels);
        }
        self.namespaces[target.namespace].clone()
    }
}

async fn read(cluster: &Cluster) -> Result<Vec<Mutator>, SyncError> {
    let mut mutators = Vec::new();
    for configuration in cluster.list(&format!("{GROUP}/mutatingwebhookconfigurations"), "").await?.items {
        let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
        for webhook in configuration["webhooks"].as_array().into_iter().flatten() {
            let own = webhook["name"].as_str().unwrap_or_default();
            mutators.push(Mutator {
                name: format!("the webhook {own} of MutatingWebhookConfiguration {name}"),
                rules: webhook["rules"].as_array().cloned().unwrap_or_default(),
                exact: webhook["matchPolicy"] == "Exact",
                namespaces: webhook["namespaceSelector"].clone(),
                objects: webhook["objectSelector"].clone(),
            });
        }
    }
    // Younger than the webhooks: not every cluster has them.
    let optional = async |resource: &str| match cluster.list(&format!("{GROUP}/{resource}"), "").await {
        Err(SyncError::Refused { code: 403 | 404, .. }) => Ok(Vec::new()),
        listed => listed.map(|listed| listed.items),
    };
    let bindings = optional("mutatingadmissionpolicybindings").await?;
    for policy in optional("mutatingadmissionpolicies").await? {
        let (name, matched) = (&policy["metadata"]["name"], &policy["spec"]["matchConstraints"]);
        if bindings.iter().any(|binding| binding["spec"]["policyName"] == *name) {
            mutators.push(Mutator {
                name: format!("MutatingAdmissionPolicy {}", name.as_str().unwrap_or_default()),
                rules: matched["resourceRules"].as_array().cloned().unwrap_or_default(),
                exact: matched["matchPolicy"] == "Exact",
                namespaces: matched["namespaceSelector"].clone(),
                objects: matched["objectSelector"].clone(),
            });
        }
    }
    Ok(mutators)
}

impl Mutator {
    fn is_about(&self, target: &Target<'_>) -> bool {
        self.rules.iter().any(|rule| self.fits(rule, target)) && selects(&self.objects, target.labels)
    }

    /// Whether a rule is about the object (`RuleWithOperations`).
    fn fits(&self, rule: &Value, target: &Target<'_>) -> bool {
        let has = |field: &str, words: &[&str]| {
            let listed = rule[field].as_array();
            listed.is_some_and(|listed| {
                listed.iter().filter_map(Value::as_str).any(|word| words.contains(&word))
            })
        };
        let scope = if target.namespace.is_empty() { "Cluster" } else { "Namespaced" };
        has("apiGroups", &["*", &target.kind.group])
            && (!self.exact || has("apiVersions", &["*", target.version]))
            && has("resources", &["*", "*/*", target.resource])
            && has("operations", &["*", "CREATE", "UPDATE"])
            && rule["scope"].as_str().is_none_or(|wanted| ["*", scope].contains(&wanted))
    }
}

/// Whether a label selector means an object with these labels. One that is not there means all.
fn selects(selector: &Value, labels: &Value) -> bool {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    pairs.into_iter().all(|(key, value)| labels[key] == *value)
        && expressions.into_iter().all(|expression| {
            let label = &labels[expression["key"].as_str().unwrap_or_default()];
            let is_among = expression["values"].as_array().is_some_and(|values| values.contains(label));
            match expression["operator"].as_str() {
                Some("In") => is_among,
                Some("NotIn") => !is_among,
                Some("Exists") => !label.is_null(),
                Some("DoesNotExist") => label.is_null(),
                _ => true,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_and_selectors_say_who_is_concerned() {
        let mutator = |rule: Value, objects: Value| Mutator {
            name: String::new(),
            rules: vec![rule],
            exact: false,
            namespaces: Value::Null,
            objects,
        };
        let rule = |groups: &str, resource: &str, operation: &str| json!({"apiGroups": [groups], "apiVersions": ["v1"], "resources": [resource], "operations": [operation]});
        let kind = GroupKind::parse("Deployment.apps");
        let labels = json!({"app": "web"});
        let target =
            Target { kind: &kind, version: "v1", resource: "deployments", namespace: "n", labels: &labels };
        let is_about = |rule, objects| mutator(rule, objects).is_about(&target);
        assert!(is_about(rule("apps", "deployments", "UPDATE"), Value::Null));
        assert!(is_about(rule("*", "*", "*"), json!({"matchLabels": {"app": "web"}})));
        for rule in [
            rule("", "deployments", "*"),
            rule("apps", "deployments/scale", "*"),
            rule("apps", "deployments", "DELETE"),
        ] {
            assert!(!is_about(rule.clone(), Value::Null), "{rule}");
        }
        for (operator, values, is) in [
            ("In", json!(["web", "db"]), true),
            ("NotIn", json!(["web"]), false),
            ("Exists", Value::Null, true),
            ("DoesNotExist", Value::Null, false),
        ] {
            let selector =
                json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
            assert_eq!(selects(&selector, &labels), is, "{operator}");
        }
    }
}
