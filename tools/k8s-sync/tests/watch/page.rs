//! What the operator answers on its port.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::browser::Browser;
use crate::world::{World, until};

/// Prometheus's own reader of OpenMetrics; the version is the peer's, not ours.
const READER: &str = "prometheus-client==0.23.1";
const READ: &str =
    "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
for family in read(sys.stdin.read()): print(family.type, family.name)";

/// What the reader makes of a text: the kind and name of each family, a line each.
fn open_metrics(text: &str) -> String {
    let packages = installed(READER);
    let mut reader = Command::new("python3")
        .args(["-B", "-c", READ])
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "{}\n{text}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8(read.stdout).unwrap()
}

/// The folder of a package of `PyPI`, which is kept in the project's cache.
fn installed(package: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services/supervise.sh");
    let words = "source \"$0\"; need_packages pip3:python3-pip >&2
        install() { python3 -m pip install -q --disable-pip-version-check --target \"$1\" \"$package\" >&2; }
        package=$1; cached \"${1%%==*}\" \"${1##*==}\" install";
    let done = Command::new("bash").args(["-euc", words, script, package]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().into()
}

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
    let families = open_metrics(&metrics.body);
    for (family, kind) in [
        ("k8s_sync_sync_state", "gauge"),
        ("k8s_sync_health_state", "gauge"),
        ("k8s_sync_queue_depth", "gauge"),
        ("k8s_sync_syncs", "counter"),
        ("k8s_sync_drifts", "counter"),
        ("k8s_sync_fights", "counter"),
        ("k8s_sync_webhooks", "counter"),
        ("k8s_sync_heal_duration_seconds", "histogram"),
        ("k8s_sync_sync_duration_seconds", "histogram"),
    ] {
        assert!(families.lines().any(|line| line == format!("{kind} {family}")), "{family}: {families}");
    }
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
fn a_browser_shows_it_live_and_the_keyboard_is_enough() {
    let world = World::new();
    world.config_map("a", "1");
    // What people write is no part of the page's own language.
    world.commit("Begin <script>window.taken = true</script>");
    let url = world.url();
    let mut operator = world.watch(&["app", "--sync-policy", "automated", "--repo", &url], &[]);
    operator.until_synced();
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", operator.address));
    browser.until("document.getElementById('live').textContent === 'live'");
    browser.until("document.querySelector('main').innerText.includes('Synced')");
    assert_eq!(browser.value("window.taken === undefined"), true);
    browser.picture("index");
    // The first thing that the keyboard reaches leads home, the second to the application.
    browser.value("window.before = true");
    let focused = "document.activeElement.innerText";
    browser.press("Tab");
    assert_eq!(browser.value(focused), "k8s-sync");
    browser.press("Tab");
    assert_eq!(browser.value(focused), "app");
    assert_eq!(browser.value("getComputedStyle(document.activeElement).outlineStyle"), "solid");
    browser.press("Enter");
    browser.until("location.pathname === '/applications/app' && document.readyState === 'complete'");
    browser.until("document.getElementById('live').textContent === 'live'");
    // A group of objects is closed by the keyboard, and stays so and focused while the page changes.
    browser.value("window.before = true");
    while browser.value("document.activeElement.tagName") != "SUMMARY" {
        browser.press("Tab");
    }
    browser.press("Enter");
    let closed = "document.querySelectorAll('details:not([open])').length === 1";
    browser.until(closed);
    world.config_map("a", "2");
    world.commit("Change it while somebody looks");
    browser.until("document.querySelector('main').innerText.includes('Change it while somebody looks')");
    assert_eq!(browser.value(closed), true);
    assert_eq!(browser.value("document.activeElement.tagName"), "SUMMARY");
    assert_eq!(browser.value("window.before === true"), true, "it was loaded again");
    // Drift, with what differs; then on a phone.
    world.drift("a", "theirs");
    browser.until("document.querySelector('main').innerText.includes('What differs')");
    browser.until("document.querySelector('main').innerText.includes('kubectl-patch')");
    browser.picture("application");
    browser.darken();
    browser.picture("application-dark");
    for width in [320, 390] {
        browser.resize(width, 800);
        let wide = browser.value("document.scrollingElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} of {width}");
        let size = browser.value("parseFloat(getComputedStyle(document.body).fontSize)");
        assert!(size.as_f64().unwrap() >= 16.0, "{size}");
    }
    browser.picture("application-phone");
    let (complaints, addresses) = browser.complaints_and_addresses();
    assert!(complaints.is_empty(), "{complaints:?}");
    let own = format!("http://{}/", operator.address);
    let foreign: Vec<&String> =
        addresses.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:,")).collect();
    assert!(foreign.is_empty() && !addresses.is_empty(), "{foreign:?}");
    // The operator goes: the page says so, and comes to life again with the next one at that address.
    drop(operator);
    browser.until("document.getElementById('live').textContent === 'not connected'");
}
