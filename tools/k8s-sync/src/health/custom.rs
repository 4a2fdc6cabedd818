//! Health of widely used custom resources of which Argo CD knows more than the general meaning of conditions
//! (`resource_customizations/GROUP/KIND/health.lua`): what has failed ends a wait at once.

use serde_json::Value;

use super::{Health, Status, condition, condition_is, is, words};

/// A kind that is fine when one condition is true, and has failed when it is false.
pub(super) fn by_condition(object: &Value, name: &str) -> Status {
    match condition(object, name) {
        Some(found) if found["status"] == "True" => is(Health::Healthy, words(found)),
        Some(found) if found["status"] == "False" => is(Health::Degraded, words(found)),
        Some(found) => is(Health::Progressing, words(found)),
        None => is(Health::Progressing, format!("the condition {name} is not there yet")),
    }
}

/// cert-manager's certificate: it is not ready either while it is issued.
pub(super) fn certificate(object: &Value) -> Status {
    match condition(object, "Issuing").filter(|issuing| issuing["status"] == "True") {
        Some(issuing) => is(Health::Progressing, words(issuing)),
        None => by_condition(object, "Ready"),
    }
}

/// The external secret whose value is taken once, when its spec changes: its condition may be of the spec before.
pub(super) fn external_secret(object: &Value) -> Status {
    let since = condition(object, "Ready").and_then(|ready| ready["lastTransitionTime"].as_str());
    let refreshed = object["status"]["refreshTime"].as_str();
    if object["spec"]["refreshPolicy"] == "OnChange" && since < refreshed {
        return is(Health::Progressing, "its spec has changed since");
    }
    by_condition(object, "Ready")
}

/// Conditions that a controller of the Gateway API gives a gateway, one of its listeners, or a route's parent.
fn gateway_conditions(holder: &Value) -> Option<Status> {
    let conditions = || holder["conditions"].as_array().into_iter().flatten();
    let find = |name: &str| conditions().find(|condition| condition["type"] == name);
    let failed =
        ["ResolvedRefs", "Accepted"].into_iter().filter_map(find).find(|found| found["status"] == "False");
    if let Some(failed) = failed {
        return Some(is(Health::Degraded, words(failed)));
    }
    let programmed = find("Programmed").filter(|programmed| programmed["status"] != "True")?;
    Some(is(Health::Progressing, words(programmed)))
}

pub(super) fn gateway(object: &Value) -> Status {
    let status = &object["status"];
    let listeners = status["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    if status["conditions"].is_null() && listeners.is_empty() {
        return is(Health::Progressing, "no status yet");
    }
    let all = std::iter::once(status).chain(listeners);
    all.filter_map(gateway_conditions).max_by_key(|status| status.health).unwrap_or_else(healthy)
}

/// A route, to those of its parents that have seen its newest spec.
pub(super) fn route(object: &Value) -> Status {
    let generation = &object["metadata"]["generation"];
    let has_seen = |parent: &&Value| {
        let mut conditions = parent["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| generation.is_null() || condition["observedGeneration"] == *generation)
    };
    let parents = object["status"]["parents"].as_array().into_iter().flatten();
    let seen: Vec<&Value> = parents.filter(has_seen).collect();
    if seen.is_empty() {
        return is(Health::Progressing, "no gateway has seen its newest spec yet");
    }
    let told = seen.into_iter().filter_map(gateway_conditions);
    told.max_by_key(|status| status.health).unwrap_or_else(healthy)
}

/// Argo Rollouts'; since 1.0 its controller sums the rollout up in a phase.
pub(super) fn rollout(object: &Value) -> Status {
    let status = &object["status"];
    if condition_is(object, "InvalidSpec", "True") {
        return is(Health::Degraded, condition(object, "InvalidSpec").map(words).unwrap_or_default());
    }
    // A text, as earlier versions put a hash there.
    let observed = status["observedGeneration"].as_str().and_then(|text| text.parse::<i64>().ok());
    if observed.is_some_and(|observed| Some(observed) < object["metadata"]["generation"].as_i64()) {
        return is(Health::Progressing, "the new spec has not been observed yet");
    }
    let message = status["message"].as_str().unwrap_or_default();
    match status["phase"].as_str() {
        Some("Healthy") => is(Health::Healthy, message),
        Some("Paused") => is(Health::Suspended, message),
        Some("Degraded" | "Error") => is(Health::Degraded, message),
        _ => is(Health::Progressing, message),
    }
}

pub(super) fn analysis_run(object: &Value) -> Status {
    let status = &object["status"];
    let message = status["message"].as_str().unwrap_or_default();
    let health = match status["phase"].as_str() {
        Some("Successful") => Health::Healthy,
        Some("Failed" | "Error") => Health::Degraded,
        Some("Inconclusive") => Health::Unknown,
        _ => Health::Progressing,
    };
    is(health, message)
}

fn healthy() -> Status {
    is(Health::Healthy, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn custom_resources_are_as_argo_cd_has_them() {
        let conditions = |pairs: &[(&str, &str)]| {
            let all = pairs.iter().map(|(kind, status)| json!({"type": kind, "status": status}));
            json!({"conditions": all.collect::<Vec<_>>()})
        };
        let parents = |generation: u64, status: &str| {
            json!({"parents": [{"conditions": [
                {"type": "Accepted", "status": status, "observedGeneration": generation}]}]})
        };
        for (version, kind, status, wanted) in [
            ("cert-manager.io/v1", "Certificate", json!({}), Health::Progressing),
            ("cert-manager.io/v1", "Certificate", conditions(&[("Ready", "False")]), Health::Degraded),
            (
                "cert-manager.io/v1",
                "Certificate",
                conditions(&[("Ready", "False"), ("Issuing", "True")]),
                Health::Progressing,
            ),
            ("cert-manager.io/v1", "ClusterIssuer", conditions(&[("Ready", "True")]), Health::Healthy),
            ("external-secrets.io/v1", "ExternalSecret", conditions(&[("Ready", "False")]), Health::Degraded),
            ("bitnami.com/v1alpha1", "SealedSecret", conditions(&[("Synced", "False")]), Health::Degraded),
            ("argoproj.io/v1alpha1", "Rollout", json!({}), Health::Progressing),
            ("argoproj.io/v1alpha1", "Rollout", json!({"phase": "Degraded"}), Health::Degraded),
            ("argoproj.io/v1alpha1", "Rollout", json!({"phase": "Paused"}), Health::Suspended),
            (
                "argoproj.io/v1alpha1",
                "Rollout",
                json!({"phase": "Healthy", "observedGeneration": "1"}),
                Health::Progressing,
            ),
            ("argoproj.io/v1alpha1", "AnalysisRun", json!({"phase": "Failed"}), Health::Degraded),
            ("gateway.networking.k8s.io/v1", "Gateway", json!({}), Health::Progressing),
            (
                "gateway.networking.k8s.io/v1",
                "Gateway",
                conditions(&[("Accepted", "True"), ("Programmed", "False")]),
                Health::Progressing,
            ),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", parents(2, "True"), Health::Healthy),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", parents(2, "False"), Health::Degraded),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", parents(1, "False"), Health::Progressing),
        ] {
            let object =
                json!({"apiVersion": version, "kind": kind, "metadata": {"generation": 2}, "status": status});
            assert_eq!(super::super::of(&object).health, wanted, "{object}");
        }
        let listener = json!({"name": "web", "conditions": [{"type": "ResolvedRefs", "status": "False"}]});
        let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "status": {"conditions": [{"type": "Accepted", "status": "True"}], "listeners": [listener]}});
        assert_eq!(super::super::of(&gateway).health, Health::Degraded);
    }
}
