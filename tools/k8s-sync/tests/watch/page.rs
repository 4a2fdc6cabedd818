//! What the operator answers on its port.

use serde_json::json;

use crate::world::{World, until};

#[test]
fn probes_metrics_and_the_page() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Say <hello> & more");
    let mut operator = world.operator(&[]);
    operator.until_synced();
    assert_eq!(operator.get("/healthz").status, 200);
    until("ready", || operator.get("/readyz").status == 200);
    let metrics = operator.get("/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    assert!(metrics.body.ends_with("# EOF\n"));
    until("healthy", || operator.metric(r#"k8s_sync_health_state{application="app",state="Healthy"}"#) == 1);
    assert_eq!(operator.metric(r#"k8s_sync_sync_state{application="app",state="Synced"}"#), 1);
    assert_eq!(operator.metric(r#"k8s_sync_syncs_total{application="app",result="ok"}"#), 1);
    assert_eq!(operator.metric(r#"k8s_sync_sync_duration_seconds_count{application="app"}"#), 1);
    let page = operator.get("/applications/app");
    assert_eq!(page.status, 200);
    let policy = "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'";
    assert!(page.head.contains(policy), "{}", page.head);
    for shown in
        ["Say &lt;hello&gt; &amp; more", "Test Author", "Synced", "Healthy", "ConfigMap", &world.url()]
    {
        assert!(page.body.contains(shown), "{shown} is not in {}", page.body);
    }
    assert!(!page.body.contains("http://") && !page.body.contains("style="), "{}", page.body);
    assert_eq!(operator.get("/applications/nobody").status, 404);
    assert_eq!(operator.request("POST", "/", &[], b"").status, 405);
    assert_eq!((operator.get("/live.js").status, operator.get("/page.css").status), (200, 200));
}

#[test]
fn a_push_is_synced_at_once_and_a_wrong_secret_refused() {
    let world = World::new();
    world.config_map("a", "1");
    world.commit("Begin");
    let url = world.url();
    let words = ["app", "--sync-policy", "automated", "--repo", &url, "--poll", "3600"];
    let mut operator = world.watch(&words, &[("K8S_SYNC_WEBHOOK_SECRET", "a-secret")]);
    operator.until_synced();
    world.config_map("a", "2");
    world.commit("Two");
    let push = json!({ "repository": { "clone_url": url } }).to_string();
    let call =
        |headers: &[(&str, &str)]| operator.request("POST", "/webhook", headers, push.as_bytes()).status;
    assert_eq!(call(&[("x-gitlab-token", "another-secret")]), 401);
    assert_eq!(call(&[("x-hub-signature-256", "sha256=00")]), 401);
    assert_eq!(call(&[]), 401);
    assert_eq!(operator.metric(r#"k8s_sync_webhooks_total{result="refused"}"#), 3);
    assert_eq!(world.value("a"), "1");
    assert_eq!(call(&[("x-gitlab-token", "a-secret")]), 202);
    operator.until_synced();
    assert_eq!(world.value("a"), "2");
    let elsewhere = json!({ "repository": { "clone_url": "https://git.test/other.git" } }).to_string();
    let answer =
        operator.request("POST", "/webhook", &[("x-gitlab-token", "a-secret")], elsewhere.as_bytes());
    assert!(answer.body.starts_with("0 applications"), "{}", answer.body);
    assert_eq!(operator.metric(r#"k8s_sync_webhooks_total{result="accepted"}"#), 1);
}
