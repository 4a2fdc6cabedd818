//! Somebody who changes our objects on their way into the cluster is named, and not fought.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::world::{World, until};

/// A webhook of the cluster's that changes the ConfigMap `a` of a world's namespace.
struct Webhook<'a> {
    world: &'a World,
    configuration: String,
    server: Child,
}

impl<'a> Webhook<'a> {
    fn start(world: &'a World, value: &str) -> Self {
        let (certificate, key) =
            (world.home.path().join("webhook.crt"), world.home.path().join("webhook.key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch/mutating_webhook.py");
        let mut server = Command::new("python3")
            .arg("-B")
            .arg(script)
            .args([&certificate, &key])
            .args(["a", value])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let configuration = format!("opinions.{}", world.namespace);
        let webhook = Self { world, configuration, server };
        webhook.configure(port.trim(), &std::fs::read(&certificate).unwrap());
        webhook
    }

    fn configure(&self, port: &str, certificate: &[u8]) {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(certificate);
        let document = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": self.configuration },
            "webhooks": [{
                "name": "value.opinions.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": { "url": format!("https://127.0.0.1:{port}/"), "caBundle": bundle },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.world.namespace } },
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"],
                }],
            }],
        });
        let file = self.world.home.path().join("webhook.json");
        std::fs::write(&file, document.to_string()).unwrap();
        self.world.kubectl(&["create", "-f", file.to_str().unwrap()]);
        // The server asks a new webhook a moment later.
        let namespace = &self.world.namespace;
        let probe = [
            "-n",
            namespace,
            "create",
            "configmap",
            "a",
            "--from-literal=value=?",
            "--dry-run=server",
            "-o",
            "yaml",
        ];
        until("the webhook is asked", || !self.world.kubectl(&probe).contains("value: '?'"));
    }

    fn remove(&self) {
        let words = ["delete", "mutatingwebhookconfiguration", &self.configuration, "--ignore-not-found"];
        self.world.kubectl(&words);
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        self.remove();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_webhook_that_changes_what_is_applied_is_named_and_not_fought() {
    let world = World::new();
    let webhook = Webhook::start(&world, "of the webhook");
    let name =
        format!("the webhook value.opinions.test of MutatingWebhookConfiguration {}", webhook.configuration);
    world.config_map("a", "1");
    world.config_map("b", "1");
    world.commit("Begin");
    let mut operator = world.operator(&[]);
    // At once, and then ever more slowly.
    for pause in ["1 s", "2 s", "4 s"] {
        let fight = operator.hear_kind("fight");
        assert_eq!((fight["by"].as_str(), &fight["fields"]), (Some(&*name), &json!([".data.value"])));
        assert!(fight["message"].as_str().unwrap().ends_with(&format!("next try in {pause}")), "{fight}");
    }
    assert_eq!((world.value("a").as_str(), world.value("b").as_str()), ("of the webhook", "1"));
    assert_eq!(operator.metric(r#"k8s_sync_sync_state{application="app",state="OutOfSync"}"#), 1);
    assert!(operator.metric(r#"k8s_sync_fights_total{application="app"}"#) >= 3);
    let page = operator.get("/applications/app").body;
    let difference = ["-  value: of the webhook", "+  value: "];
    assert!(page.contains(&name) && difference.iter().all(|line| page.contains(line)), "{page}");
    let events = [
        "-n",
        &world.namespace,
        "get",
        "events",
        "-o",
        "jsonpath={range .items[*]}{.reason}: {.message}{end}",
    ];
    until("an event", || {
        world.kubectl(&events).contains(&format!("Fight: ConfigMap {}/a is changed", world.namespace))
    });
    // The others are looked after as ever.
    world.drift("b", "theirs");
    operator.hear("b is healed", |event| event["kind"] == "healed" && event["name"] == "b");
    // Another operator finds it out although nothing is new.
    drop(operator);
    let mut operator = world.operator(&[]);
    assert_eq!(operator.hear_kind("fight")["by"], *name);
    // Once it is gone, the next try succeeds.
    webhook.remove();
    operator.hear("a is healed", |event| event["kind"] == "healed" && event["name"] == "a");
    assert_eq!(world.value("a"), "1");
    until("all is well", || operator.metric(r#"k8s_sync_sync_state{application="app",state="Synced"}"#) == 1);
}
