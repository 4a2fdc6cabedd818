//! What the cluster knows about an object that is not healthy: the last warning events and log lines, on one screen.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::health::{self, Health};

/// So many events and log lines are shown.
const EVENTS: usize = 5;
const LINES: usize = 10;
/// So long a run that is over waits for them.
const PATIENCE: Duration = Duration::from_secs(5);
/// A line is cut here.
const WIDTH: usize = 160;

/// Lines about the object at this path, and about a pod of its that is not well; each begins with a line break.
/// What can't be read is left out: this is told beside an error that matters more.
pub async fn of(cluster: &Cluster, path: &str) -> String {
    match tokio::time::timeout(PATIENCE, read(cluster, path)).await {
        Ok(lines) => lines,
        Err(_) => format!("\n  the cluster has not answered within {} s", PATIENCE.as_secs()),
    }
}

async fn read(cluster: &Cluster, path: &str) -> String {
    let Ok(Some(object)) = cluster.get(path).await else { return String::new() };
    let pod = match pod_of(cluster, &object).await {
        Some(pod) if pod["metadata"]["uid"] != object["metadata"]["uid"] => Some(pod),
        _ => None,
    };
    let mut lines: Vec<String> = conditions(&object);
    lines.extend(events(cluster, &object).await);
    if let Some(pod) = &pod {
        let status = health::of(pod);
        lines.push(format!("Pod {} {status}", text(&pod["metadata"]["name"])));
        lines.extend(events(cluster, pod).await);
    }
    lines.extend(log(cluster, pod.as_ref().unwrap_or(&object)).await);
    lines.iter().flat_map(|line| ["\n  ".to_owned(), cut(line)]).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn cut(line: &str) -> String {
    let line = line.replace(|c: char| c.is_control(), " ");
    if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH - 1).chain(['…']).collect() }
}

/// The conditions that are not as they should be.
fn conditions(object: &Value) -> Vec<String> {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.filter(|condition| {
        let bad_when_true = ["Failed", "ReplicaFailure", "Stalled"].contains(&text(&condition["type"]));
        (condition["status"] == "True") == bad_when_true && !text(&condition["message"]).is_empty()
    })
    .map(|condition| {
        format!(
            "condition {}={}: {}",
            text(&condition["type"]),
            text(&condition["status"]),
            text(&condition["message"])
        )
    })
    .collect()
}

/// The worst pod of an object that has some.
async fn pod_of(cluster: &Cluster, object: &Value) -> Option<Value> {
    let namespace = object["metadata"]["namespace"].as_str()?;
    let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    let listed =
        cluster.list(&format!("/api/v1/namespaces/{namespace}/pods"), &selector.join(",")).await.ok()?;
    listed.items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).max_by_key(|pod| {
        let health = health::of(pod).health;
        (health, health != Health::Healthy, text(&pod["metadata"]["creationTimestamp"]).to_owned())
    })
}

async fn events(cluster: &Cluster, object: &Value) -> Vec<String> {
    let metadata = &object["metadata"];
    let (Some(namespace), Some(uid)) = (metadata["namespace"].as_str(), metadata["uid"].as_str()) else {
        return Vec::new();
    };
    let path = format!(
        "/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.uid%3D{uid}%2Ctype%3DWarning"
    );
    let Ok(Some(listed)) = cluster.get(&path).await else { return Vec::new() };
    let mut events: Vec<(&str, String)> = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| {
            let time = event["lastTimestamp"].as_str().or_else(|| event["eventTime"].as_str());
            (
                time.unwrap_or_default(),
                format!("event {}: {}", text(&event["reason"]), text(&event["message"])),
            )
        })
        .collect();
    events.sort();
    events.drain(..events.len().saturating_sub(EVENTS));
    events.into_iter().map(|(_, line)| line).collect()
}

/// The end of the log of a pod's container that is not well.
async fn log(cluster: &Cluster, pod: &Value) -> Vec<String> {
    let metadata = &pod["metadata"];
    if pod["kind"] != "Pod" {
        return Vec::new();
    }
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    let all: Vec<&Value> = statuses.into_iter().flatten().flatten().collect();
    let Some(container) = all.iter().find(|container| container["ready"] != true).or(all.first()) else {
        return Vec::new();
    };
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let container_name = text(&container["name"]);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    // One that waits to be started again says nothing; the one before it does.
    let previous =
        !container["state"]["waiting"].is_null() && !container["lastState"]["terminated"].is_null();
    let Ok(log) = cluster.log(&path, container_name, LINES, previous).await else { return Vec::new() };
    log.lines().map(|line| format!("log {name}/{container_name}: {line}")).collect()
}
