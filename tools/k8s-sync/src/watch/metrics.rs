//! What is counted, in OpenMetrics' text format.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::board::{SyncState, View};
use crate::health::Health;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    application: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    application: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    application: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    result: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    sync_state: Family<State, Gauge>,
    health: Family<State, Gauge>,
    drifted: Family<Of, Gauge>,
    queue: Family<Of, Gauge>,
    syncs: Family<Outcome, Counter>,
    sync_duration: Family<Of, Histogram>,
    drifts: Family<Of, Counter>,
    heals: Family<Of, Histogram>,
    fights: Family<Of, Counter>,
    webhooks: Family<Answer, Counter>,
    /// 1 where this replica applies.
    pub leader: Gauge,
}

const SYNC_STATES: [SyncState; 3] = [SyncState::Unknown, SyncState::Synced, SyncState::OutOfSync];
const HEALTHS: [Health; 6] = [
    Health::Healthy,
    Health::Suspended,
    Health::Progressing,
    Health::Missing,
    Health::Degraded,
    Health::Unknown,
];

fn of(application: &str) -> Of {
    Of { application: application.to_owned() }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("k8s_sync"),
            sync_state: Family::default(),
            health: Family::default(),
            drifted: Family::default(),
            queue: Family::default(),
            syncs: Family::default(),
            sync_duration: Family::new_with_constructor(|| {
                Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0])
            }),
            drifts: Family::default(),
            heals: Family::new_with_constructor(|| {
                Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0])
            }),
            fights: Family::default(),
            webhooks: Family::default(),
            leader: Gauge::default(),
        };
        for result in ["accepted", "unrelated", "refused"] {
            drop(metrics.webhooks.get_or_create(&Answer { result }));
        }
        let registry = &mut metrics.registry;
        registry.register(
            "sync_state",
            "Whether the cluster is as the newest commit says",
            metrics.sync_state.clone(),
        );
        registry.register("health_state", "The health of the worst object", metrics.health.clone());
        registry.register(
            "drifted_objects",
            "Objects that differ from the commit now",
            metrics.drifted.clone(),
        );
        registry.register("queue_depth", "Changes that wait for being healed", metrics.queue.clone());
        registry.register("syncs", "Syncs by their result", metrics.syncs.clone());
        registry.register_with_unit(
            "sync_duration",
            "How long syncs take",
            Unit::Seconds,
            metrics.sync_duration.clone(),
        );
        registry.register("drifts", "Changes by others that were seen", metrics.drifts.clone());
        registry.register_with_unit(
            "heal_duration",
            "From the event of a change until it is changed back",
            Unit::Seconds,
            metrics.heals.clone(),
        );
        registry.register(
            "fights",
            "Objects that were changed again and again after they were healed",
            metrics.fights.clone(),
        );
        registry.register("webhooks", "Calls of the push webhook by their result", metrics.webhooks.clone());
        registry.register("leader", "1 where this replica applies", metrics.leader.clone());
        metrics
    }

    pub(super) fn show(&self, application: &str, view: &View) {
        let state = |state| State { application: application.to_owned(), state };
        let (sync, health) = (view.sync_state(), view.health());
        for each in SYNC_STATES {
            self.sync_state.get_or_create(&state(each.word())).set(i64::from(each == sync));
        }
        for each in HEALTHS {
            self.health.get_or_create(&state(each.word())).set(i64::from(each == health));
        }
        // What has not happened yet is there as 0, so that the first time can be seen as a change.
        drop(self.queue.get_or_create(&of(application)));
        drop(self.drifts.get_or_create(&of(application)));
        drop(self.fights.get_or_create(&of(application)));
        drop(self.heals.get_or_create(&of(application)));
        drop(self.sync_duration.get_or_create(&of(application)));
        for result in ["ok", "failed"] {
            drop(self.syncs.get_or_create(&Outcome { application: application.to_owned(), result }));
        }
        let drifted = i64::try_from(view.drifted()).unwrap_or(i64::MAX);
        self.drifted.get_or_create(&of(application)).set(drifted);
    }

    /// A sync has ended.
    pub fn synced(&self, application: &str, took: Duration, well: bool) {
        let result = if well { "ok" } else { "failed" };
        self.syncs.get_or_create(&Outcome { application: application.to_owned(), result }).inc();
        self.sync_duration.get_or_create(&of(application)).observe(took.as_secs_f64());
    }

    /// So many objects wait for being healed.
    pub fn queue(&self, application: &str, depth: usize) {
        self.queue.get_or_create(&of(application)).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Somebody changed an object.
    pub fn drifted(&self, application: &str) {
        self.drifts.get_or_create(&of(application)).inc();
    }

    /// An object was changed back, so long after the event.
    pub fn healed(&self, application: &str, took: Duration) {
        self.heals.get_or_create(&of(application)).observe(took.as_secs_f64());
    }

    /// Somebody keeps changing an object.
    pub fn fight(&self, application: &str) {
        self.fights.get_or_create(&of(application)).inc();
    }

    /// A webhook was called.
    pub fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&Answer { result }).inc();
    }

    /// All of it, as a scraper reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
