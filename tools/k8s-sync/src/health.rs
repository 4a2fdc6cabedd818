//! Health of an object, read off the object alone: Argo CD's built-in checks
//! (`gitops-engine/pkg/health`) and, for other kinds, the conditions that kstatus relies on.

use std::fmt;

use serde_json::Value;

use crate::hook;
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
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("networking.k8s.io" | "extensions", "Ingress") => ingress(object),
        ("apiregistration.k8s.io", "APIService") => required_condition(object, "Available"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("argoproj.io", "Workflow") => workflow(object),
        ("argoproj.io", "Application") => application(object),
        ("batch", "CronJob") => cron_job(object),
        ("policy", "PodDisruptionBudget") => disruption_budget(object),
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

fn deployment(object: &Value) -> Status {
    if object["spec"]["paused"] == true {
        return is(Health::Suspended, "the deployment is paused");
    }
    if unobserved(object) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    if let Some(progress) = condition(object, "Progressing")
        && progress["reason"] == "ProgressDeadlineExceeded"
    {
        return is(Health::Degraded, words(progress));
    }
    let status = &object["status"];
    let wanted = number(&object["spec"]["replicas"]);
    let (updated, replicas, available) = (
        number(&status["updatedReplicas"]),
        number(&status["replicas"]),
        number(&status["availableReplicas"]),
    );
    if updated < wanted {
        is(Health::Progressing, format!("{updated} of {wanted} new replicas are there"))
    } else if replicas > updated {
        is(Health::Progressing, format!("{} old replicas are still there", replicas - updated))
    } else if available < updated {
        is(Health::Progressing, format!("{available} of {updated} replicas are available"))
    } else {
        is(Health::Healthy, "")
    }
}

fn stateful_set(object: &Value) -> Status {
    if unobserved(object) || number(&object["status"]["observedGeneration"]) == 0 {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let wanted = number(&spec["replicas"]);
    let (ready, updated) = (number(&status["readyReplicas"]), number(&status["updatedReplicas"]));
    if ready < wanted {
        return is(Health::Progressing, format!("{ready} of {wanted} replicas are ready"));
    }
    if spec["updateStrategy"]["type"] == "OnDelete" {
        return is(Health::Healthy, "");
    }
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    let partition = number(&rolling["partition"]);
    if updated < wanted - partition {
        let message = format!("{updated} of {} new replicas are there", wanted - partition);
        return is(Health::Progressing, message);
    }
    if rolling.is_null() && status["updateRevision"] != status["currentRevision"] {
        return is(Health::Progressing, "the new revision is not the current one yet");
    }
    is(Health::Healthy, "")
}

fn daemon_set(object: &Value) -> Status {
    if unobserved(object) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    let status = &object["status"];
    let (wanted, updated, available) = (
        number(&status["desiredNumberScheduled"]),
        number(&status["updatedNumberScheduled"]),
        number(&status["numberAvailable"]),
    );
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        is(Health::Healthy, format!("{updated} of {wanted} pods are new"))
    } else if updated < wanted {
        is(Health::Progressing, format!("{updated} of {wanted} new pods are there"))
    } else if available < wanted {
        is(Health::Progressing, format!("{available} of {wanted} pods are available"))
    } else {
        is(Health::Healthy, "")
    }
}

fn replica_set(object: &Value) -> Status {
    if unobserved(object) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|failure| failure["status"] == "True") {
        return is(Health::Degraded, words(failure));
    }
    let wanted = number(&object["spec"]["replicas"]);
    let available = number(&object["status"]["availableReplicas"]);
    if available < wanted {
        is(Health::Progressing, format!("{available} of {wanted} replicas are available"))
    } else {
        is(Health::Healthy, "")
    }
}

fn job(object: &Value) -> Status {
    if let Some(failed) = condition(object, "Failed").filter(|failed| failed["status"] == "True") {
        return is(Health::Degraded, words(failed));
    }
    if let Some(complete) = condition(object, "Complete").filter(|complete| complete["status"] == "True") {
        return is(Health::Healthy, words(complete));
    }
    if condition_is(object, "Suspended", "True") || object["spec"]["suspend"] == true {
        return is(Health::Suspended, "the job is suspended");
    }
    is(Health::Progressing, "the job has not ended yet")
}

/// Whether a container waits for something that does not come by waiting.
fn is_hopeless(reason: &str) -> bool {
    reason.starts_with("Err")
        || reason.ends_with("Error")
        || reason.ends_with("BackOff")
        || reason == "InvalidImageName"
}

fn containers<'a>(pod: &'a Value, lists: &'static [&str]) -> impl Iterator<Item = &'a Value> {
    lists.iter().filter_map(|list| pod["status"][*list].as_array()).flatten()
}

/// Pods that come to an end by themselves are only judged by it: as hooks they may still run when an error has passed.
fn pod(object: &Value) -> Status {
    const ALL: &[&str] = &["initContainerStatuses", "containerStatuses"];
    let status = &object["status"];
    let ignores_policy = annotation(object, "argocd.argoproj.io/ignore-restart-policy") == Some("true")
        && !hook::is_hook(object);
    // The API server fills in `Always`.
    let lasts =
        ignores_policy || object["spec"]["restartPolicy"].as_str().is_none_or(|policy| policy == "Always");
    if lasts {
        for container in containers(object, ALL) {
            let waiting = &container["state"]["waiting"];
            if waiting["reason"].as_str().is_some_and(is_hopeless) {
                return is(Health::Degraded, words(waiting));
            }
        }
    }
    match status["phase"].as_str() {
        Some("Pending") => is(Health::Progressing, words(status)),
        Some("Succeeded") => is(Health::Healthy, words(status)),
        Some("Failed") => {
            let why = words(status);
            let ended = || containers(object, ALL).find_map(ending);
            is(Health::Degraded, if why.is_empty() { ended().unwrap_or_default() } else { why })
        }
        Some("Running") if !lasts => is(Health::Progressing, "running to its end"),
        Some("Running") if condition_is(object, "Ready", "True") => is(Health::Healthy, words(status)),
        Some("Running") => {
            let died = containers(object, &["containerStatuses"])
                .find(|container| !container["lastState"]["terminated"].is_null());
            match died {
                Some(container) => {
                    let name = container["name"].as_str().unwrap_or_default();
                    is(Health::Degraded, format!("container {name} has ended before, and is not ready"))
                }
                None => is(Health::Progressing, words(status)),
            }
        }
        _ => is(Health::Unknown, words(status)),
    }
}

/// Why a container ended badly.
fn ending(container: &Value) -> Option<String> {
    let ended = &container["state"]["terminated"];
    let name = container["name"].as_str().unwrap_or_default();
    match (ended["message"].as_str(), ended["reason"].as_str(), ended["exitCode"].as_i64()) {
        (Some(message), ..) if !message.is_empty() => Some(message.to_owned()),
        (_, Some("OOMKilled"), _) => Some("OOMKilled".to_owned()),
        (.., Some(code)) if code != 0 => Some(format!("container {name} failed with exit status {code}")),
        _ => None,
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

fn workflow(object: &Value) -> Status {
    let status = &object["status"];
    let health = match status["phase"].as_str().unwrap_or_default() {
        "" | "Pending" | "Running" => Health::Progressing,
        "Succeeded" => Health::Healthy,
        "Failed" | "Error" => Health::Degraded,
        _ => Health::Unknown,
    };
    is(health, words(status))
}

/// Argo CD's word on what the Application brings about; Argo CD itself leaves it to a script that its manual shows.
fn application(object: &Value) -> Status {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut errors =
        conditions.filter(|found| found["type"].as_str().is_some_and(|kind| kind.ends_with("Error")));
    if let Some(error) = errors.next() {
        return is(Health::Degraded, error["message"].as_str().unwrap_or_default());
    }
    match status["sync"]["status"].as_str() {
        None => return is(Health::Progressing, "Argo CD has not looked at it yet"),
        Some("Synced") => {}
        Some(_) if ["Failed", "Error"].iter().any(|phase| status["operationState"]["phase"] == *phase) => {
            return is(Health::Degraded, status["operationState"]["message"].as_str().unwrap_or_default());
        }
        Some(sync) => return is(Health::Progressing, format!("it is {sync}")),
    }
    let health = status["health"]["status"].as_str().unwrap_or("Unknown");
    let told = format!("its objects are {health}");
    match health {
        "Healthy" => is(Health::Healthy, ""),
        "Suspended" => is(Health::Suspended, told),
        "Degraded" => is(Health::Degraded, told),
        _ => is(Health::Progressing, told),
    }
}

/// Times are of one format and one zone, so that texts compare as they do.
fn cron_job(object: &Value) -> Status {
    let status = &object["status"];
    if object["spec"]["suspend"] == true {
        // Not `Suspended`, which would make the whole application so.
        return is(Health::Healthy, "the cron job is suspended");
    }
    let runs = status["active"].as_array().is_some_and(|active| !active.is_empty());
    match (status["lastScheduleTime"].as_str(), status["lastSuccessfulTime"].as_str()) {
        _ if status.is_null() => is(Health::Progressing, "waiting for the cron job"),
        (None, _) => is(Health::Healthy, "not scheduled yet"),
        (_, None) => is(Health::Healthy, "never completed yet"),
        (Some(scheduled), Some(succeeded)) if !runs && succeeded < scheduled => {
            is(Health::Degraded, "the last run did not succeed")
        }
        _ => is(Health::Healthy, ""),
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
    !INERT.iter().any(|(group, name)| *group == kind.group && *name == kind.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health(object: &Value) -> Health {
        of(object).health
    }

    #[test]
    fn a_deployment_on_its_way_and_there() {
        let with = |status: Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
                   "spec": {"replicas": 2}, "status": status})
        };
        assert_eq!(health(&with(json!({"observedGeneration": 1}))), Health::Progressing);
        assert_eq!(
            health(&with(
                json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3, "availableReplicas": 3})
            )),
            Health::Progressing
        );
        assert_eq!(
            health(&with(
                json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2})
            )),
            Health::Healthy
        );
        let stuck = json!({"observedGeneration": 2,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
        assert_eq!(health(&with(stuck)), Health::Degraded);
    }

    #[test]
    fn a_pod_that_can_not_pull_is_degraded() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": {"phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no\nsuch"}}}]}});
        assert_eq!(
            of(&pod),
            Status { health: Health::Degraded, message: "ImagePullBackOff: no such".into() }
        );
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
