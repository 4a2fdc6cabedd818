//! What an image is, where the engine does not name its configuration.
//!
//! The containerd store's id is the digest of the manifest or index that it keeps. The same image may stand in the
//! registry under another one: compressed otherwise, or alone instead of with its other platforms. What it runs and
//! what it consists of is in the configuration, which the engine tells in parts.

use bollard::models::{ImageConfig, ImageInspect};
use serde::Deserialize;
use serde_json::Value;

/// An image's configuration, as far as the engine tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    diff_ids: Vec<String>,
    facts: [Option<String>; 6],
    run: Value,
}

/// The OCI image configuration.
#[derive(Deserialize)]
struct Configuration {
    created: Option<String>,
    author: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    os: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    config: Option<ImageConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

impl Description {
    /// As the engine tells it.
    pub(super) fn of(image: &ImageInspect) -> Self {
        Self {
            diff_ids: image.root_fs.clone().and_then(|root| root.layers).unwrap_or_default(),
            facts: facts([
                &image.created,
                &image.author,
                &image.architecture,
                &image.variant,
                &image.os,
                &image.os_version,
            ]),
            run: run(image.config.as_ref()),
        }
    }

    /// Whether a configuration says the same.
    pub fn is_of(&self, configuration: &[u8]) -> bool {
        let Ok(told) = serde_json::from_slice::<Configuration>(configuration) else { return false };
        let facts = facts([
            &told.created,
            &told.author,
            &told.architecture,
            &told.variant,
            &told.os,
            &told.os_version,
        ]);
        *self
            == Self {
                diff_ids: told.rootfs.diff_ids.unwrap_or_default(),
                facts,
                run: run(told.config.as_ref()),
            }
    }
}

/// What is empty is not told.
fn facts(told: [&Option<String>; 6]) -> [Option<String>; 6] {
    told.map(|fact| fact.clone().filter(|fact| !fact.is_empty()))
}

fn run(config: Option<&ImageConfig>) -> Value {
    let mut run = serde_json::to_value(config).unwrap_or_default();
    if let Some(fields) = run.as_object_mut() {
        fields.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(entries) => !entries.is_empty(),
            _ => true,
        });
    }
    run
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_is_what_its_configuration_says_and_nothing_else() {
        let told = json!({
            "Id": "sha256:00", "Created": "2026-01-02T03:04:05Z", "Architecture": "amd64", "Os": "linux", "Author": "",
            "RootFS": {"Type": "layers", "Layers": ["sha256:aa"]},
            "Config": {"Env": ["A=1"], "Cmd": ["/app"], "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Labels": null},
        });
        let description = Description::of(&serde_json::from_value(told).unwrap());
        let config = json!({
            "created": "2026-01-02T03:04:05Z", "architecture": "amd64", "os": "linux", "history": [{}],
            "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]},
            "config": {"Hostname": "", "Env": ["A=1"], "Cmd": ["/app"], "ExposedPorts": {"81/tcp": {}, "80/tcp": {}}, "User": ""},
        });
        assert!(description.is_of(config.to_string().as_bytes()));
        for (place, value) in [
            ("/created", json!("2026-01-02T03:04:06Z")),
            ("/architecture", json!("arm64")),
            ("/config/Env", json!(["A=2"])),
            ("/config/ExposedPorts", json!({"80/tcp": {}})),
            ("/rootfs/diff_ids", json!(["sha256:aa", "sha256:aa"])),
        ] {
            let mut other = config.clone();
            *other.pointer_mut(place).unwrap() = value;
            assert!(!description.is_of(other.to_string().as_bytes()), "{place}");
        }
        assert!(!description.is_of(b"{}") && !description.is_of(b"nothing"));
    }
}
