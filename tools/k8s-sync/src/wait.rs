//! Waiting for health, on the cluster's own events.

use std::collections::BTreeMap;
use std::time::Duration;

use step::Console;

use crate::error::SyncError;
use crate::health::{self, Health, Status};
use crate::manifest::Identity;
use crate::observe::{Observer, Seen};

/// Waits until each object is healthy; a degraded one ends the wait at once.
pub async fn until_healthy(
    observer: &mut Observer,
    objects: &[Identity],
    timeout: Duration,
    console: &Console,
) -> Result<(), SyncError> {
    let missing = || Status { health: Health::Missing, message: "not in the cluster yet".to_owned() };
    let mut states: BTreeMap<Identity, Status> =
        objects.iter().map(|identity| (identity.clone(), missing())).collect();
    let waited = tokio::time::timeout(timeout, watch(observer, &mut states, console)).await;
    match waited {
        Ok(result) => result,
        Err(_) => Err(SyncError::NotHealthy { seconds: timeout.as_secs(), objects: waiting_for(&states) }),
    }
}

async fn watch(
    observer: &mut Observer,
    states: &mut BTreeMap<Identity, Status>,
    console: &Console,
) -> Result<(), SyncError> {
    while states.values().any(|status| !is_fine(status)) {
        let (identity, now) = match observer.next().await {
            Some(Seen::Is(identity, object)) => (identity, health::of(&object)),
            Some(Seen::Gone(identity)) => {
                (identity, Status { health: Health::Missing, message: "it was deleted".to_owned() })
            }
            // No permission comes by waiting for it.
            Some(Seen::Lost(error @ SyncError::Refused { code: 401 | 403, .. })) => return Err(error),
            Some(Seen::Lost(error)) => {
                console.detail(format!("a watch broke: {error}"));
                continue;
            }
            None => return Err(SyncError::Unreachable("all watches have ended".to_owned())),
        };
        let Some(known) = states.get_mut(&identity) else { continue };
        if *known == now {
            continue;
        }
        console.detail(format!("{identity}: {} {}", now.health, now.message));
        if now.health == Health::Degraded {
            return Err(SyncError::Degraded { object: identity.to_string(), message: now.message });
        }
        *known = now;
    }
    Ok(())
}

/// What is suspended waits for somebody else, not for us.
fn is_fine(status: &Status) -> bool {
    matches!(status.health, Health::Healthy | Health::Suspended)
}

fn waiting_for(states: &BTreeMap<Identity, Status>) -> String {
    let open = states.iter().filter(|(_, status)| !is_fine(status));
    let lines: Vec<String> = open
        .map(|(identity, status)| format!("{identity} is {}: {}", status.health, status.message))
        .collect();
    lines.join("; ")
}
