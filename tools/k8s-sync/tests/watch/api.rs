//! The API server over plain HTTP: a kubectl for each request would take longer than what is measured.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::world::{Answer, World, cluster, http, until};

/// The server, by way of `kubectl proxy`.
pub(crate) struct Api {
    proxy: Child,
    address: String,
}

impl Api {
    pub(crate) fn start(world: &World) -> Self {
        let mut command = world.home.program(&cluster()["KUBECTL"]);
        command.args([
            "--kubeconfig",
            &cluster()["KUBECONFIG"],
            "proxy",
            "--port",
            "0",
            "--accept-hosts",
            ".*",
        ]);
        let mut proxy = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { proxy, address }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("content-type", "application/merge-patch+json")];
        http(&self.address, method, path, &headers, body.as_bytes())
    }

    /// What has to be done even if the API server is away for a moment. What is not there needs not be changed.
    pub(crate) fn until_done(&self, method: &str, path: &str, body: &str) {
        until(&format!("{method} {path}"), || matches!(self.ask(method, path, body).status, 200 | 202 | 404));
    }

    /// Changes a ConfigMap's value as somebody would who does not know of Git.
    pub(crate) fn drift(&self, namespace: &str, name: &str, value: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=somebody");
        self.until_done("PATCH", &path, &format!(r#"{{"data": {{"value": "{value}"}}}}"#));
    }

    /// The application's objects and their values, but for those that are on their way out.
    pub(crate) fn values(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let label = "applyset.kubernetes.io/part-of";
        let answer =
            self.ask("GET", &format!("/api/v1/namespaces/{namespace}/configmaps?labelSelector={label}"), "");
        let listed: Value = serde_json::from_str(&answer.body).ok().filter(|_| answer.status == 200)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = listed["items"].as_array()?.iter();
        Some(items.map(|item| (text(&item["metadata"]["name"]), text(&item["data"]["value"]))).collect())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
