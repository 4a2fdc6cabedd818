//! Push webhooks, as the forges call them, and one of a real forge.

use hermetic::{Variables, service, variables};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{Operator, World, http, until};

const SECRET: &str = "a-secret";

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// An operator that only a webhook wakes.
fn sleeper(world: &World, url: &str) -> Operator {
    let words = ["app", "--sync-policy", "automated", "--repo", url, "--poll", "3600"];
    world.watch(&words, &[("K8S_SYNC_WEBHOOK_SECRET", SECRET)])
}

fn calls(operator: &Operator, result: &str) -> i64 {
    operator.metric(&format!(r#"k8s_sync_webhooks_total{{result="{result}"}}"#))
}

#[test]
fn each_forge_is_understood_and_a_wrong_secret_refused() {
    let world = World::new();
    world.config_map("a", "0");
    world.commit("Begin");
    let url = world.url();
    let mut operator = sleeper(&world, &url);
    operator.until_synced();
    let push = json!({ "ref": "refs/heads/main", "repository": { "clone_url": url } }).to_string();
    // GitHub sends a form unless it is told not to.
    let form: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &push).finish();
    let gitlab = json!({ "object_kind": "push", "project": { "git_http_url": url } }).to_string();
    let signed = |secret: &str, body: &str| signature(secret, body.as_bytes());
    let github = |secret: &str, body: &str| format!("sha256={}", signed(secret, body));
    let genuine = [
        ("x-gitlab-token", SECRET.to_owned(), &gitlab),
        ("x-hub-signature-256", github(SECRET, &push), &push),
        ("x-hub-signature-256", github(SECRET, &form), &form),
        ("x-gitea-signature", signed(SECRET, &push), &push),
    ];
    let call = |header: &str, value: &str, body: &str| {
        operator.request("POST", "/webhook", &[(header, value)], body.as_bytes()).status
    };
    let wrong = [
        ("x-gitlab-token", "another-secret".to_owned(), &gitlab),
        ("x-hub-signature-256", github("another-secret", &push), &push),
        ("x-hub-signature-256", github(SECRET, &form), &push),
        ("x-hub-signature-256", signed(SECRET, &push), &push),
        ("x-gitea-signature", signed(SECRET, &gitlab), &push),
        ("x-gitea-signature", String::new(), &push),
        ("x-hub-signature", github(SECRET, &push), &push),
    ];
    for (count, (header, value, body)) in (1..).zip(&wrong) {
        assert_eq!(call(header, value, body), 401, "{header}: {value}");
        assert_eq!(calls(&operator, "refused"), count);
    }
    for (count, (header, value, body)) in (1..).zip(&genuine) {
        world.config_map("a", &count.to_string());
        world.commit("Another");
        assert_eq!(
            operator.request("POST", "/webhook", &[(*header, value.as_str())], body.as_bytes()).status,
            202
        );
        operator.until_synced();
        assert_eq!((world.value("a"), calls(&operator, "accepted")), (count.to_string(), count));
    }
    let elsewhere = json!({ "repository": { "clone_url": "https://git.test/other.git" } }).to_string();
    let answer = operator.request("POST", "/webhook", &[("x-gitlab-token", SECRET)], elsewhere.as_bytes());
    assert!(answer.body.starts_with("0 applications"), "{}", answer.body);
    assert_eq!((calls(&operator, "unrelated"), calls(&operator, "refused")), (1, 7));
}

/// A repository on a Gitea that calls its webhook itself.
struct Gitea {
    variables: Variables,
    repository: String,
}

impl Gitea {
    fn start(world: &World) -> Self {
        let variables = variables(service("forge").arg("up"));
        let gitea = Self { variables, repository: format!("bot/{}", world.namespace) };
        gitea.api("POST", "/user/repos", &json!({ "name": world.namespace, "default_branch": "main" }));
        gitea
    }

    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = self.variables["FORGE_URL"].trim_start_matches("http://");
        let token = format!("token {}", self.variables["FORGE_BOT_TOKEN"]);
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let answer = http(address, method, &format!("/api/v1{path}"), &headers, body.to_string().as_bytes());
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("{}/{}.git", self.variables["FORGE_URL"], self.repository)
    }

    fn push(&self, world: &World) {
        let token = &self.variables["FORGE_BOT_TOKEN"];
        let url = self.url().replace("http://", &format!("http://bot:{token}@"));
        world.git(&["push", "--quiet", &url, "main"]);
    }

    /// A webhook of the repository; returns where it is in the API.
    fn hook(&self, operator: &Operator, secret: &str) -> String {
        let target = format!("http://{}/webhook", operator.address);
        let hook = json!({
            "type": "gitea", "active": true, "events": ["push"],
            "config": { "url": target, "content_type": "json", "secret": secret },
        });
        let hooks = format!("/repos/{}/hooks", self.repository);
        let made = self.api("POST", &hooks, &hook);
        format!("{hooks}/{}", made["id"])
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.api("DELETE", &format!("/repos/{}", self.repository), &Value::Null);
        }
    }
}

#[test]
fn a_push_to_a_real_forge_is_in_the_cluster_at_once() {
    let world = World::new();
    let gitea = Gitea::start(&world);
    world.config_map("a", "1");
    world.commit("Begin");
    gitea.push(&world);
    let mut operator = sleeper(&world, &gitea.url());
    operator.until_synced();
    let hook = gitea.hook(&operator, SECRET);
    world.config_map("a", "2");
    world.commit("Two");
    gitea.push(&world);
    operator.until_synced();
    assert_eq!(world.value("a"), "2");
    // Somebody who does not know the secret calls in vain.
    gitea.api("DELETE", &hook, &Value::Null);
    gitea.hook(&operator, "another-secret");
    world.config_map("a", "3");
    world.commit("Three");
    gitea.push(&world);
    until("it is refused", || calls(&operator, "refused") == 1);
    // Gitea may have told of the first push, too, after the webhook was there.
    assert!((1..=2).contains(&calls(&operator, "accepted")));
    assert_eq!(world.value("a"), "2");
}
