//! Health of an object, read off the object alone: Argo CD's built-in checks
//! (`gitops-engine/pkg/health`), its scripts for some custom resources and, for other kinds, the conditions that kstatus
//! relies on.

mod argo;
mod custom;
mod workloads;

use std::fmt;

use serde_json::Value;

use crate::manifest::{GroupKind, annotation};

/// How an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// Waiting for somebody to let it go on.
    Suspended,
    /// On its way.
    Progressing,
    /// Not in the cluster.
    Missing,
    /// It failed, or can't succeed.
    Degraded,
    /// It can't be told.
    Unknown,
}

impl Health {
    /// Argo CD's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An object's health, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How it is.
    pub health: Health,
    /// Why, in one line.
    pub message: String,
}

impl fmt::Display for Status {
    /// `is Degraded: why`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is {}", self.health)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

fn is(health: Health, message: impl Into<String>) -> Status {
    let message: String = message.into();
    Status { health, message: message.replace(['\n', '\t'], " ") }
}

/// Reads an object's health.
pub fn of(object: &Value) -> Status {
    let metadata = &object["metadata"];
    if !metadata["deletionTimestamp"].is_null() {
        let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
        let names: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
        let blocked =
            if names.is_empty() { String::new() } else { format!(", blocked by {}", names.join(", ")) };
        return is(Health::Progressing, format!("pending deletion{blocked}"));
    }
    let kind = GroupKind::of(object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => workloads::deployment(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("apps", "ReplicaSet") => workloads::replica_set(object),
        ("batch", "Job") => workloads::job(object),
        ("", "Pod") => workloads::pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("networking.k8s.io" | "extensions", "Ingress") => ingress(object),
        ("apiregistration.k8s.io", "APIService") => required_condition(object, "Available"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("argoproj.io", "Workflow") => argo::workflow(object),
        ("argoproj.io", "Application") => argo::application(object),
        ("batch", "CronJob") => workloads::cron_job(object),
        ("policy", "PodDisruptionBudget") => disruption_budget(object),
        ("argoproj.io", "Rollout") => custom::rollout(object),
        ("argoproj.io", "AnalysisRun") => custom::analysis_run(object),
        ("cert-manager.io", "Certificate") => custom::certificate(object),
        ("cert-manager.io", "Issuer" | "ClusterIssuer") => custom::by_condition(object, "Ready"),
        ("external-secrets.io", "ExternalSecret") => custom::external_secret(object),
        ("external-secrets.io", "SecretStore" | "ClusterSecretStore") => {
            custom::by_condition(object, "Ready")
        }
        ("bitnami.com", "SealedSecret") => custom::by_condition(object, "Synced"),
        ("gateway.networking.k8s.io", "Gateway") => custom::gateway(object),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => custom::route(object),
        _ => conditions(object),
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// Whether the controller has not seen the newest spec yet.
fn unobserved(object: &Value) -> bool {
    number(&object["status"]["observedGeneration"]) < number(&object["metadata"]["generation"])
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn condition_is(object: &Value, name: &str, status: &str) -> bool {
    condition(object, name).is_some_and(|condition| condition["status"] == status)
}

fn words(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn claim(object: &Value) -> Status {
    match object["status"]["phase"].as_str() {
        Some("Bound") => is(Health::Healthy, ""),
        Some("Lost") => is(Health::Degraded, "the volume is lost"),
        Some("Pending") => is(Health::Progressing, "no volume is bound yet"),
        phase => is(Health::Unknown, phase.unwrap_or_default()),
    }
}

fn service(object: &Value) -> Status {
    let balanced = object["spec"]["type"] == "LoadBalancer";
    let addresses = object["status"]["loadBalancer"]["ingress"].as_array();
    if balanced && addresses.is_none_or(Vec::is_empty) {
        is(Health::Progressing, "the load balancer has no address yet")
    } else {
        is(Health::Healthy, "")
    }
}

fn ingress(object: &Value) -> Status {
    if object["status"]["loadBalancer"]["ingress"].as_array().is_none_or(Vec::is_empty) {
        is(Health::Progressing, "the ingress has no address yet")
    } else {
        is(Health::Healthy, "")
    }
}

fn required_condition(object: &Value, name: &str) -> Status {
    match condition(object, name) {
        Some(condition) if condition["status"] == "True" => is(Health::Healthy, words(condition)),
        Some(condition) => is(Health::Progressing, words(condition)),
        None => is(Health::Progressing, format!("the condition {name} is not there yet")),
    }
}

fn definition(object: &Value) -> Status {
    match condition(object, "NamesAccepted").filter(|accepted| accepted["status"] == "False") {
        Some(refused) => is(Health::Degraded, words(refused)),
        None => required_condition(object, "Established"),
    }
}

/// Version 1 has its conditions in an annotation.
fn autoscaler(object: &Value) -> Status {
    const FAILURES: [&str; 8] = [
        "FailedGetScale",
        "FailedUpdateScale",
        "FailedGetResourceMetric",
        "FailedGetObjectMetric",
        "FailedGetPodsMetric",
        "FailedGetExternalMetric",
        "FailedComputeMetricsReplicas",
        "InvalidSelector",
    ];
    let written = annotation(object, "autoscaling.alpha.kubernetes.io/conditions");
    let conditions = match written.and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok()) {
        Some(conditions) => conditions,
        None => object["status"]["conditions"].as_array().cloned().unwrap_or_default(),
    };
    let has = |condition: &Value, field: &str, words: &[&str]| {
        condition[field].as_str().is_some_and(|found| words.contains(&found))
    };
    if let Some(failed) = conditions.iter().find(|condition| {
        has(condition, "type", &["AbleToScale", "ScalingActive"]) && has(condition, "reason", &FAILURES)
    }) {
        return is(Health::Degraded, words(failed));
    }
    let able = |condition: &&Value| {
        has(condition, "type", &["AbleToScale", "ScalingLimited"]) && condition["status"] == "True"
    };
    match conditions.iter().find(able) {
        Some(able) => is(Health::Healthy, words(able)),
        None => is(Health::Progressing, "waiting to autoscale"),
    }
}

/// Too few pods may be meant.
fn disruption_budget(object: &Value) -> Status {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bad =
        |condition: &&Value| condition["status"] == "False" && condition["reason"] != "InsufficientPods";
    match (conditions.iter().find(bad), conditions.first()) {
        (Some(bad), _) => is(Health::Degraded, words(bad)),
        (None, Some(condition)) => is(Health::Healthy, words(condition)),
        (None, None) => is(Health::Progressing, "no status yet"),
    }
}

/// kstatus's rules for kinds that nobody here knows.
fn conditions(object: &Value) -> Status {
    let status = &object["status"];
    if status["observedGeneration"].is_i64() && unobserved(object) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    if let Some(stalled) = condition(object, "Stalled").filter(|stalled| stalled["status"] == "True") {
        return is(Health::Degraded, words(stalled));
    }
    if let Some(going) = condition(object, "Reconciling").filter(|going| going["status"] == "True") {
        return is(Health::Progressing, words(going));
    }
    match condition(object, "Ready") {
        Some(ready) if ready["status"] == "True" => is(Health::Healthy, words(ready)),
        Some(ready) => is(Health::Progressing, words(ready)),
        None => is(Health::Healthy, ""),
    }
}

/// Kinds whose objects are healthy by being there: nothing acts on them, so they have no status of their own.
const INERT: [(&str, &str); 16] = [
    ("", "ConfigMap"),
    ("", "Endpoints"),
    ("", "LimitRange"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
];

/// Whether a kind is often degraded for a moment: an autoscaler has no metrics before its pods run.
pub fn recovers(kind: &GroupKind) -> bool {
    kind.group == "autoscaling" && kind.kind == "HorizontalPodAutoscaler"
}

/// Whether objects of a kind can be there without being healthy; the others need not be waited for.
pub fn can_be_lacking(kind: &GroupKind) -> bool {
    !kind.is_among(&INERT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health(object: &Value) -> Health {
        of(object).health
    }

    #[test]
    fn unknown_kinds_go_by_their_conditions() {
        let with = |status: Value| json!({"apiVersion": "example.test/v1", "kind": "Thing", "metadata": {"generation": 1}, "status": status});
        assert_eq!(health(&with(json!({}))), Health::Healthy);
        assert_eq!(
            health(&with(json!({"conditions": [{"type": "Ready", "status": "False"}]}))),
            Health::Progressing
        );
        assert_eq!(
            health(&with(json!({"conditions": [{"type": "Stalled", "status": "True"}]}))),
            Health::Degraded
        );
        assert_eq!(health(&with(json!({"observedGeneration": 0}))), Health::Progressing);
    }

    #[test]
    fn built_in_kinds_are_as_argo_cd_has_them() {
        let condition = |kind: &str, status: &str, reason: &str| json!({"conditions": [{"type": kind, "status": status, "reason": reason}]});
        for (version, kind, spec, status, wanted) in [
            ("autoscaling/v2", "HorizontalPodAutoscaler", json!({}), json!({}), Health::Progressing),
            (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({}),
                condition("AbleToScale", "True", ""),
                Health::Healthy,
            ),
            (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({}),
                condition("ScalingActive", "False", "InvalidSelector"),
                Health::Degraded,
            ),
            ("argoproj.io/v1alpha1", "Workflow", json!({}), json!({"phase": "Error"}), Health::Degraded),
            ("argoproj.io/v1alpha1", "Workflow", json!({}), json!({}), Health::Progressing),
            ("batch/v1", "CronJob", json!({"suspend": true}), json!({}), Health::Healthy),
            (
                "batch/v1",
                "CronJob",
                json!({}),
                json!({"lastScheduleTime": "2026-01-02T00:00:00Z", "lastSuccessfulTime": "2026-01-01T00:00:00Z"}),
                Health::Degraded,
            ),
            (
                "policy/v1",
                "PodDisruptionBudget",
                json!({}),
                condition("DisruptionAllowed", "False", "InsufficientPods"),
                Health::Healthy,
            ),
            (
                "policy/v1",
                "PodDisruptionBudget",
                json!({}),
                condition("DisruptionAllowed", "False", "SyncFailed"),
                Health::Degraded,
            ),
            (
                "apps/v1",
                "DaemonSet",
                json!({"updateStrategy": {"type": "OnDelete"}}),
                json!({"desiredNumberScheduled": 2}),
                Health::Healthy,
            ),
            ("apps/v1", "StatefulSet", json!({}), json!({}), Health::Progressing),
            ("batch/v1", "Job", json!({}), condition("Suspended", "True", ""), Health::Suspended),
            ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Lost"}), Health::Degraded),
            (
                "v1",
                "Pod",
                json!({"restartPolicy": "Never"}),
                json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}),
                Health::Progressing,
            ),
            (
                "v1",
                "Pod",
                json!({}),
                json!({"phase": "Running", "containerStatuses": [{"lastState": {"terminated": {}}}]}),
                Health::Degraded,
            ),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                condition("NamesAccepted", "False", "Conflict"),
                Health::Degraded,
            ),
        ] {
            let object =
                json!({"apiVersion": version, "kind": kind, "metadata": {}, "spec": spec, "status": status});
            assert_eq!(health(&object), wanted, "{object}");
        }
    }

    #[test]
    fn a_custom_kind_called_pod_is_not_a_pod() {
        let custom = json!({"apiVersion": "example.test/v1", "kind": "Pod", "metadata": {}, "status": {"phase": "Failed"}});
        assert_eq!(health(&custom), Health::Healthy);
    }
}
