//! Health of an object, read off the object alone: Argo CD's built-in checks
//! (`gitops-engine/pkg/health`) and, for other kinds, the conditions that kstatus relies on.

use std::fmt;

use serde_json::Value;

use crate::manifest::GroupKind;

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

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
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

fn is(health: Health, message: impl Into<String>) -> Status {
    let message: String = message.into();
    Status { health, message: message.replace(['\n', '\t'], " ") }
}

/// Reads an object's health.
pub fn of(object: &Value) -> Status {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return is(Health::Progressing, "being deleted");
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
        ("apiextensions.k8s.io", "CustomResourceDefinition") => required_condition(object, "Established"),
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
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
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
    if unobserved(object) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let (ready, updated) = (number(&status["readyReplicas"]), number(&status["updatedReplicas"]));
    if ready < wanted {
        return is(Health::Progressing, format!("{ready} of {wanted} replicas are ready"));
    }
    if spec["updateStrategy"]["type"] == "OnDelete" {
        return is(Health::Healthy, "");
    }
    let partition = number(&spec["updateStrategy"]["rollingUpdate"]["partition"]);
    if updated < wanted - partition {
        return is(
            Health::Progressing,
            format!("{updated} of {} new replicas are there", wanted - partition),
        );
    }
    if partition == 0 && status["updateRevision"] != status["currentRevision"] {
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
    if object["spec"]["updateStrategy"]["type"] != "OnDelete" && updated < wanted {
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
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
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

/// Reasons for which a container waits and that don't go away by waiting.
const HOPELESS: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

fn pod(object: &Value) -> Status {
    let status = &object["status"];
    let containers = ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array());
    for container in containers.into_iter().flatten().flatten() {
        let waiting = &container["state"]["waiting"];
        if waiting["reason"].as_str().is_some_and(|reason| HOPELESS.contains(&reason)) {
            return is(Health::Degraded, words(waiting));
        }
    }
    match status["phase"].as_str() {
        Some("Succeeded") => is(Health::Healthy, ""),
        Some("Failed") => is(Health::Degraded, words(status)),
        Some("Running") if condition_is(object, "Ready", "True") => is(Health::Healthy, ""),
        Some("Running")
            if object["spec"]["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") =>
        {
            is(Health::Progressing, "running to its end")
        }
        _ => is(Health::Progressing, words(status)),
    }
}

fn claim(object: &Value) -> Status {
    match object["status"]["phase"].as_str() {
        Some("Bound") => is(Health::Healthy, ""),
        Some("Lost") => is(Health::Degraded, "the volume is lost"),
        Some("Pending") | None => is(Health::Progressing, "no volume is bound yet"),
        Some(phase) => is(Health::Unknown, phase),
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
    fn a_custom_kind_called_pod_is_not_a_pod() {
        let custom = json!({"apiVersion": "example.test/v1", "kind": "Pod", "metadata": {}, "status": {"phase": "Failed"}});
        assert_eq!(health(&custom), Health::Healthy);
    }
}
