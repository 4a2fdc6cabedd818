//! Who we are to a registry, in docker's order after our own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use step::Secret;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::PushError;

/// A user name and a password, and where they were found.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Secret,
    /// Whether the password is a refresh token (docker's "identity token") to be exchanged at the token server.
    pub is_identity_token: bool,
    /// Where they come from, for messages.
    pub source: String,
}

/// Where credentials may come from; the first that has some for a registry decides.
#[derive(Debug, Default)]
pub struct Sources {
    /// From options or variables of our own: for every registry.
    pub given: Option<Credentials>,
    /// GitLab's, for GitLab's registry alone.
    pub gitlab: Option<(String, Credentials)>,
    /// The text of `DOCKER_AUTH_CONFIG`.
    pub auth_config: Option<Secret>,
    /// Docker's `config.json`, if there may be one.
    pub config_file: Option<PathBuf>,
    /// A Google service account's key, for Google's registries.
    pub google_key: Option<Secret>,
    /// How long a credential helper may take; some refresh a token over the network.
    pub patience: Duration,
}

/// docker's `config.json`, as far as it concerns credentials. docker reads it in Go, where null is the same as nothing at
/// all, and a helper without a name is none.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    #[serde(deserialize_with = "or_default")]
    auths: BTreeMap<String, Option<AuthEntry>>,
    #[serde(deserialize_with = "or_default")]
    cred_helpers: BTreeMap<String, Option<String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    #[serde(deserialize_with = "or_default")]
    auth: String,
    #[serde(deserialize_with = "or_default")]
    username: String,
    #[serde(deserialize_with = "or_default")]
    password: String,
    #[serde(deserialize_with = "or_default")]
    identitytoken: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl Sources {
    /// The credentials for a registry, or none: it may be open to everybody.
    pub async fn for_registry(&self, registry: &str) -> Result<Option<Credentials>, PushError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        if let Some((host, credentials)) = &self.gitlab
            && host == registry
        {
            return Ok(Some(credentials.clone()));
        }
        if let Some(key) = &self.google_key
            && (registry == "gcr.io"
                || registry.ends_with(".gcr.io")
                || registry.ends_with("-docker.pkg.dev"))
        {
            let username = "_json_key".to_owned();
            return Ok(Some(Credentials {
                username,
                password: key.clone(),
                is_identity_token: false,
                source: "SERVICE_ACCOUNT_KEY".to_owned(),
            }));
        }
        if let Some(text) = &self.auth_config {
            let config = parse(text.expose(), "DOCKER_AUTH_CONFIG")?;
            if let Some(found) = config.find(registry, "DOCKER_AUTH_CONFIG", self.patience).await? {
                return Ok(Some(found));
            }
        }
        let Some(file) = self.config_file.as_ref().filter(|file| file.exists()) else { return Ok(None) };
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|cause| PushError::File { path: shown.clone(), cause: cause.to_string() })?;
        parse(&text, &shown)?.find(registry, &shown, self.patience).await
    }
}

fn parse(text: &str, path: &str) -> Result<DockerConfig, PushError> {
    // serde_json's message names line and column, never the content.
    serde_json::from_str(text)
        .map_err(|cause| PushError::File { path: path.to_owned(), cause: cause.to_string() })
}

impl DockerConfig {
    /// docker's order: the registry's helper, the store for all, then what stands in the file.
    async fn find(
        &self,
        registry: &str,
        source: &str,
        patience: Duration,
    ) -> Result<Option<Credentials>, PushError> {
        // An entry without a name says that the store for all is not for this registry.
        let helper = match entry_of(&self.cred_helpers, registry) {
            Some(helper) => helper.as_ref(),
            None => self.creds_store.as_ref(),
        };
        if let Some(helper) = helper.filter(|helper| !helper.is_empty())
            && let Some(found) = ask_helper(helper, registry, patience).await?
        {
            return Ok(Some(found));
        }
        let entry = entry_of(&self.auths, registry).and_then(Option::as_ref);
        Ok(entry.and_then(|entry| entry.credentials(source)))
    }
}

/// A registry's entry: under its very name, or under an address of it, as `docker login` once wrote them.
fn entry_of<'a, T>(entries: &'a BTreeMap<String, T>, registry: &str) -> Option<&'a T> {
    let host_of = |key: &str| {
        let address = key.split_once("://").map_or(key, |(_, address)| address);
        address.split('/').next().unwrap_or_default().to_owned()
    };
    let is_it = |host: &str| {
        host == registry || (registry == image_reference::DEFAULT_REGISTRY && host == "index.docker.io")
    };
    let by_address = || entries.iter().find(|(key, _)| is_it(&host_of(key))).map(|(_, entry)| entry);
    entries.get(registry).or_else(by_address)
}

impl AuthEntry {
    fn credentials(&self, source: &str) -> Option<Credentials> {
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((username, password)) => (username.to_owned(), password.trim_end_matches('\0').to_owned()),
            None => (self.username.clone(), self.password.clone()),
        };
        let is_identity_token = !self.identitytoken.is_empty();
        let password = if is_identity_token { self.identitytoken.clone() } else { password };
        let known = !username.is_empty() || !password.is_empty();
        known.then(|| Credentials {
            username,
            password: Secret::new(password),
            is_identity_token,
            source: source.to_owned(),
        })
    }
}

/// Asks `docker-credential-NAME get`, the protocol of docker's credential helpers.
async fn ask_helper(
    name: &str,
    registry: &str,
    patience: Duration,
) -> Result<Option<Credentials>, PushError> {
    let program = format!("docker-credential-{name}");
    let failed = |problem: String| PushError::Helper { program: program.clone(), problem, is_silent: false };
    let silent = || PushError::Helper {
        program: program.clone(),
        problem: format!("did not answer within {} s", patience.as_secs()),
        is_silent: true,
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("can't be started: {error}; is it installed and on PATH?")))?;
    // docker hub stands under the address of its first API.
    let key =
        if registry == image_reference::DEFAULT_REGISTRY { "https://index.docker.io/v1/" } else { registry };
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input has answered already.
        let _ = stdin.write_all(key.as_bytes()).await;
    }
    let output = tokio::time::timeout(patience, child.wait_with_output())
        .await
        .map_err(|_| silent())?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = reason(&output.stdout, &output.stderr);
        return match said {
            Some(said) if said.contains("credentials not found") => Ok(None),
            Some(said) => Err(failed(format!("failed: {said}"))),
            None => Err(failed(format!("failed without a word ({})", output.status))),
        };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("did not answer with JSON".to_owned()))?;
    Ok(Some(Credentials {
        // Instead of a user some helpers name the kind of their secret.
        is_identity_token: answer.username == "<token>",
        username: answer.username,
        password: Secret::new(answer.secret),
        source: program,
    }))
}

/// Why a helper failed. By docker's protocol it says so on stdout; some forget that, and say it at the end of much else. An
/// answer may stand on stdout too, and is never shown: it is JSON, or a part of it.
fn reason(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let (out, err) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    let is_answer = out.contains('{') || out.to_lowercase().contains("secret");
    let last = |text: &str| {
        text.trim_end().lines().last().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
    };
    Some(out).filter(|_| !is_answer).and_then(|out| last(&out)).or_else(|| last(&err))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(config: &str) -> Sources {
        Sources { auth_config: Some(Secret::new(config)), ..Sources::default() }
    }

    #[tokio::test]
    async fn a_password_may_have_colons() {
        let auth = STANDARD.encode("robot:pass:word~?>");
        let config = format!(r#"{{"auths": {{"https://registry.test": {{"auth": "{auth}"}}}}}}"#);
        let found = sources(&config).for_registry("registry.test").await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.expose()), ("robot", "pass:word~?>"));
        assert!(sources(&config).for_registry("other.test").await.unwrap().is_none());
        let config = config.replace("registry.test", "registry.test/v1/");
        assert!(sources(&config).for_registry("registry.test").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn gitlabs_are_for_gitlabs_registry_alone() {
        let credentials = Credentials {
            username: "ci".into(),
            password: Secret::new("job-token"),
            is_identity_token: false,
            source: "CI_REGISTRY".into(),
        };
        let sources = Sources { gitlab: Some(("registry.test".into(), credentials)), ..Sources::default() };
        assert!(sources.for_registry("registry.test").await.unwrap().is_some());
        assert!(sources.for_registry("elsewhere.test").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn googles_key_is_for_googles_registries_alone() {
        let sources = Sources { google_key: Some(Secret::new("{}")), ..Sources::default() };
        for registry in ["gcr.io", "eu.gcr.io", "europe-docker.pkg.dev"] {
            assert_eq!(sources.for_registry(registry).await.unwrap().unwrap().username, "_json_key");
        }
        for registry in ["notgcr.io", "gcr.io.test", "pkg.dev.test"] {
            assert!(sources.for_registry(registry).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_broken_file_is_named_without_its_content() {
        let error =
            sources(r#"{"auths": {"x": {"auth": "c2VjcmV0"#).for_registry("x").await.unwrap_err().to_string();
        assert!(error.contains("DOCKER_AUTH_CONFIG") && !error.contains("c2VjcmV0"), "{error}");
    }
}
