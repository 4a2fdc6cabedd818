//! Health of Argo's own kinds.

use serde_json::Value;

use super::{Health, Status, is, words};

pub(super) fn workflow(object: &Value) -> Status {
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
pub(super) fn application(object: &Value) -> Status {
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
