//! Health of what runs: pods, and the kinds that make them.

use serde_json::Value;

use super::{Health, Status, condition, condition_is, is, number, unobserved, words};
use crate::hook;
use crate::manifest::annotation;

pub(super) fn deployment(object: &Value) -> Status {
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

pub(super) fn stateful_set(object: &Value) -> Status {
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

pub(super) fn daemon_set(object: &Value) -> Status {
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

pub(super) fn replica_set(object: &Value) -> Status {
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

pub(super) fn job(object: &Value) -> Status {
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
pub(super) fn pod(object: &Value) -> Status {
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

/// Times are of one format and one zone, so that texts compare as they do.
pub(super) fn cron_job(object: &Value) -> Status {
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

#[cfg(test)]
mod tests {
    use super::super::of;
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
}
