//! What the operator survives.

use crate::world::{SERVER, World, cluster, cluster_script, until};

#[test]
fn a_bad_manifest_changes_nothing_and_the_fix_goes_through() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    world.config_map("a", "2");
    world.write("z.yml", "apiVersion: v1\nkind: Service\nmetadata: {name: z}\nspec: {nonsense: true}\n");
    world.commit("Break it");
    let failure = operator.hear_kind("failure");
    assert!(failure["message"].as_str().unwrap().contains("nonsense"), "{failure}");
    assert_eq!(world.value("a"), "1");
    let page = operator.get("/applications/app").body;
    assert!(page.contains("nonsense") && page.contains("Break it") && page.contains("OutOfSync"), "{page}");
    assert_eq!(operator.metric(r#"k8s_sync_syncs_total{application="app",result="failed"}"#), 1);
    let reasons = ["-n", &world.namespace, "get", "events", "-o", "jsonpath={.items[*].reason}"];
    until("an event", || world.kubectl(&reasons).contains("SyncFailed"));
    // The old state is still healed.
    world.drift("a", "theirs");
    operator.hear_kind("healed");
    assert_eq!(world.value("a"), "1");
    world.write("z.yml", "a: [");
    world.commit("Break it another way");
    operator.hear("the parser's words", |event| {
        event["kind"] == "failure" && event["message"].as_str().unwrap().contains("z.yml")
    });
    std::fs::remove_file(world.repository().join("z.yml")).unwrap();
    world.commit("Fix it");
    operator.until_synced();
    assert_eq!(world.value("a"), "2");
    let page = operator.get("/").body;
    assert!(page.contains("Fix it") && page.contains("Synced") && !page.contains("nonsense"), "{page}");
}

#[test]
fn a_sync_that_failed_is_tried_again() {
    let world = World::new();
    let own = format!("{}-later", world.namespace);
    world.config_map("a", "1");
    world.commit("Begin");
    let mut operator = world.operator(&["--dest-namespace", &own]);
    let failure = operator.hear_kind("failure");
    assert!(failure["message"].as_str().unwrap().contains(&own), "{failure}");
    operator.hear_kind("failure");
    world.kubectl(&["create", "namespace", &own]);
    operator.until_synced();
    assert_eq!(world.kubectl(&["-n", &own, "get", "configmap", "a", "-o", "jsonpath={.data.value}"]), "1");
    world.kubectl(&["delete", "namespace", &own, "--wait=false"]);
}

#[test]
fn the_repository_goes_and_comes_back() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    let away = world.home.path().join("away");
    std::fs::rename(world.repository(), &away).unwrap();
    operator.hear_kind("failure");
    assert_eq!(operator.metric(r#"k8s_sync_sync_state{application="app",state="Unknown"}"#), 1);
    world.drift("a", "theirs");
    operator.hear_kind("healed");
    std::fs::rename(&away, world.repository()).unwrap();
    until("it is seen again", || {
        operator.metric(r#"k8s_sync_sync_state{application="app",state="Synced"}"#) == 1
    });
    world.config_map("a", "2");
    world.commit("Two");
    operator.until_synced();
    assert_eq!(world.value("a"), "2");
}

#[test]
fn a_branch_that_is_forced_or_vanishes() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    world.config_map("a", "2");
    world.commit("Two");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    world.config_map("a", "3");
    world.commit("Another two");
    operator.until_synced();
    assert_eq!(world.value("a"), "3");
    world.git(&["branch", "--quiet", "--move", "main", "other"]);
    let failure = operator.hear_kind("failure");
    assert!(failure["message"].as_str().unwrap().contains("main"), "{failure}");
    assert_eq!(world.value("a"), "3");
    world.drift("a", "theirs");
    operator.hear_kind("healed");
    world.git(&["branch", "--quiet", "--move", "other", "main"]);
    world.config_map("a", "4");
    world.commit("Four");
    operator.until_synced();
    assert_eq!(world.value("a"), "4");
}

#[test]
fn the_api_server_is_restarted() {
    cluster();
    let world = World::alone();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    {
        let _alone = SERVER.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        cluster_script("restart-api");
    }
    world.drift("a", "theirs");
    world.until_value("a", "1");
    world.config_map("a", "2");
    world.commit("Two");
    world.until_value("a", "2");
    operator.until_synced();
}

#[test]
fn a_newer_commit_goes_first_where_an_older_one_waits_for_health() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    // Nothing here runs pods, so that this never becomes healthy, and the wave after it has to wait.
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: d}}\n  \
        template:\n    metadata: {labels: {a: d}}\n    spec: {containers: [{name: c, image: none.invalid/none}]}\n";
    world.write("d.yml", deployment);
    let late = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations: {argocd.argoproj.io/sync-wave: '1'}\n\
        data: {value: '2'}\n";
    world.write("a.yml", late);
    world.commit("Wait for ever");
    operator.hear("the first wave", |event| event["kind"] == "object" && event["name"] == "d");
    assert_eq!(world.value("a"), "1");
    std::fs::remove_file(world.repository().join("d.yml")).unwrap();
    world.config_map("a", "3");
    world.commit("Do without it");
    operator.hear_kind("overtaken");
    operator.until_synced();
    assert_eq!(world.value("a"), "3");
}
