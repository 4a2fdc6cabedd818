//! Two replicas of the operator: one works.

use std::time::{Duration, Instant};

use crate::network::{Network, Weather};
use crate::world::{Operator, World, cluster};

fn replica(world: &World) -> Operator {
    replica_with(world, &[])
}

fn replica_behind(world: &World, network: &Network) -> Operator {
    replica_with(world, &[("KUBECONFIG", network.kubeconfig.to_str().unwrap())])
}

fn replica_with(world: &World, variables: &[(&str, &str)]) -> Operator {
    let lease = format!("{}/k8s-sync", world.namespace);
    world.operator_with(&["--lease", &lease], variables)
}

#[test]
fn a_replica_takes_over_when_the_leader_is_killed() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut first = replica(&world);
    first.until_synced();
    let mut second = replica(&world);
    let role = second.hear_kind("role");
    assert!(role["message"].as_str().unwrap().contains("stands by"), "{role}");
    assert_eq!(second.get("/readyz").status, 200);
    assert!(second.get("/").body.contains("stands by"));
    assert_eq!((first.metric("k8s_sync_leader"), second.metric("k8s_sync_leader")), (1, 0));
    first.signal("-KILL");
    let killed = Instant::now();
    second.hear("it leads", |event| event["kind"] == "role" && event["message"] == "this replica leads");
    let seconds = killed.elapsed().as_secs_f64();
    assert!((5.0..20.0).contains(&seconds), "{seconds}");
    second.until_synced();
    world.drift("a", "theirs");
    second.hear_kind("healed");
}

#[test]
fn a_leader_that_is_asked_to_end_gives_the_lease_back() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut first = replica(&world);
    first.until_synced();
    let mut second = replica(&world);
    second.hear_kind("role");
    first.signal("-TERM");
    let asked = Instant::now();
    second.hear("it leads", |event| event["kind"] == "role" && event["message"] == "this replica leads");
    // Sooner than the lease would have run out.
    let seconds = asked.elapsed().as_secs_f64();
    assert!(seconds < 6.0, "{seconds}");
}

#[test]
fn a_leader_that_slept_applies_nothing_any_more() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut first = replica(&world);
    first.until_synced();
    let mut second = replica(&world);
    second.hear_kind("role");
    first.signal("-STOP");
    second.hear("it leads", |event| event["kind"] == "role" && event["message"] == "this replica leads");
    second.until_synced();
    world.config_map("a", "2");
    world.commit("Two");
    second.until_synced();
    first.signal("-CONT");
    first.hear("it no longer leads", |event| {
        event["kind"] == "role" && event["message"].as_str().unwrap().contains("stands by")
    });
    assert_eq!(world.value("a"), "2");
    world.drift("a", "theirs");
    second.hear_kind("healed");
    assert_eq!(first.metric(r#"k8s_sync_drifts_total{application="app"}"#), 0);
}

#[test]
fn a_call_that_reaches_the_wrong_replica_is_passed_on() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let lease = format!("{}/k8s-sync", world.namespace);
    let url = world.url();
    let words = ["app", "--sync-policy", "automated", "--repo", &url, "--poll", "3600", "--lease", &lease];
    let secret = [("K8S_SYNC_WEBHOOK_SECRET", "a-secret")];
    let mut first = world.watch(&words, &secret);
    first.until_synced();
    let mut second = world.watch(&words, &secret);
    second.hear_kind("role");
    world.config_map("a", "2");
    world.commit("Two");
    let push = serde_json::json!({ "repository": { "clone_url": url } }).to_string();
    let answer = second.request("POST", "/webhook", &[("x-gitlab-token", "a-secret")], push.as_bytes());
    assert_eq!(answer.status, 202);
    first.until_synced();
    assert_eq!(world.value("a"), "2");
}

#[test]
fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let network = Network::start(&cluster()["KUBECONFIG"], world.home.path());
    let mut first = replica_behind(&world, &network);
    first.until_synced();
    let mut second = replica(&world);
    second.hear_kind("role");
    // Nothing arrives any more, and nobody says so.
    network.becomes(Weather::Silent);
    first.hear("it stops", |event| event["message"].as_str().unwrap_or_default().contains("stops applying"));
    assert_eq!(first.metric("k8s_sync_leader"), 0);
    second.hear("it leads", |event| event["kind"] == "role" && event["message"] == "this replica leads");
    second.until_synced();
    world.drift("a", "theirs");
    second.hear_kind("healed");
    assert_eq!(world.value("a"), "1");
    network.becomes(Weather::Fair);
    first.hear("it stands by", |event| {
        event["kind"] == "role" && event["message"].as_str().unwrap_or_default().contains("leads")
    });
    assert_eq!((first.metric("k8s_sync_leader"), second.metric("k8s_sync_leader")), (0, 1));
}

#[test]
fn connections_that_a_router_has_forgotten_are_noticed() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let network = Network::start(&cluster()["KUBECONFIG"], world.home.path());
    let mut operator = replica_behind(&world, &network);
    operator.until_synced();
    network.becomes(Weather::Forgetful);
    world.drift("a", "theirs");
    // The watch is given up after 24 s, then the other connection after 16 s. The lease has less time, and is kept.
    let healed = operator.hear_within(Duration::from_mins(1), "it is healed", |event| {
        assert_ne!(event["kind"], "role", "{event}");
        event["kind"] == "healed"
    });
    assert_eq!(healed["name"], "a");
    assert_eq!(world.value("a"), "1");
    assert_eq!(operator.metric("k8s_sync_leader"), 1);
}
