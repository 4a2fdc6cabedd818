//! Where the container engine is, as the docker client finds it.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::ssh;
use crate::digest;
use crate::error::PushError;

/// Seconds that the engine may take to begin an answer. An engine writes a whole export to its disk before the
/// first byte, so this is long.
pub(super) const PATIENCE: u64 = 1800;

/// What decides where the engine is.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`.
    pub certificates: Option<PathBuf>,
    /// `DOCKER_TLS_CERTDIR`, which images of docker in docker set.
    pub certificates_of_dind: Option<PathBuf>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// docker's own folder, `~/.docker` or `DOCKER_CONFIG`.
    pub folder: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

impl Settings {
    /// A connection, not used yet, and the engine's address.
    pub fn connect(&self) -> Result<(Docker, String), PushError> {
        let (host, certificates) = self.endpoint()?;
        Ok((Self::connection(&host, certificates)?, host))
    }

    fn connection(host: &str, certificates: Option<PathBuf>) -> Result<Docker, PushError> {
        let failed = |error: bollard::errors::Error| PushError::NoEngine(format!("{host}: {error}"));
        if let Some(socket) = host.strip_prefix("unix://") {
            return Docker::connect_with_unix(socket, PATIENCE, API_DEFAULT_VERSION).map_err(failed);
        }
        if host.starts_with("ssh://") {
            return ssh::connect(host);
        }
        if !["tcp://", "http://", "https://"].iter().any(|scheme| host.starts_with(scheme)) {
            let problem = format!("{host}: only unix://, tcp:// and ssh:// are understood");
            return Err(PushError::EngineSettings(problem));
        }
        match certificates {
            Some(folder) => {
                let file = |name: &str| folder.join(name);
                let (key, certificate, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
                // As docker has it: an engine may not ask who we are.
                let identity = (key.exists() || certificate.exists()).then_some((&certificate, &key));
                let needed = identity.into_iter().flat_map(|(certificate, key)| [certificate, key]);
                if let Some(missing) = needed.chain([&ca]).find(|file| !file.exists()) {
                    return Err(PushError::EngineSettings(format!(
                        "{host} wants TLS, and there is no {}",
                        missing.display()
                    )));
                }
                let connector = tls_connector(&ca, identity)?;
                let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
                let address = host.replacen("tcp://", "https://", 1);
                let send = move |request: BollardRequest| {
                    let answer = client.request(request);
                    Box::pin(async move { Ok(answer.await?) }) as Pin<Box<dyn Future<Output = _> + Send>>
                };
                Docker::connect_with_custom_transport(send, Some(address), PATIENCE, API_DEFAULT_VERSION)
                    .map_err(failed)
            }
            None if host.ends_with(":2376") => Err(PushError::EngineSettings(format!(
                "{host} is docker's TLS port, but DOCKER_TLS_VERIFY is not set"
            ))),
            None => Docker::connect_with_http(host, PATIENCE, API_DEFAULT_VERSION).map_err(failed),
        }
    }

    /// The engine's address, and the folder of the certificates where TLS is meant.
    fn endpoint(&self) -> Result<(String, Option<PathBuf>), PushError> {
        if let Some(host) = &self.host {
            let host = address(host, self.tls_verify);
            let dind = self.certificates_of_dind.as_ref().map(|folder| folder.join("client"));
            let certificates = if self.tls_verify {
                self.certificates.clone().or_else(|| self.folder.clone())
            } else {
                dind.filter(|folder| host.ends_with(":2376") && folder.is_dir())
            };
            return Ok((host, certificates));
        }
        let default = (String::from("unix:///var/run/docker.sock"), None);
        let Some(folder) = &self.folder else { return Ok(default) };
        let current = || {
            let text = std::fs::read(folder.join("config.json")).ok()?;
            serde_json::from_slice::<Config>(&text).ok()?.current_context
        };
        match self.context.clone().or_else(current).filter(|name| !name.is_empty() && name != "default") {
            Some(name) => context(folder, &name),
            None => Ok(default),
        }
    }
}

/// The address that `DOCKER_HOST` means: one without a scheme is TCP, one without a port has docker's (docker/cli's
/// `opts/hosts.go`).
fn address(host: &str, tls: bool) -> String {
    let address = match host.split_once("://") {
        None => host,
        Some(("tcp", address)) => address,
        Some(_) => return host.to_owned(),
    };
    let (authority, path) = address.find('/').map_or((address, ""), |slash| address.split_at(slash));
    // An IPv6 address has colons of its own, in brackets.
    let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let port = match (has_port, tls) {
        (true, _) => "",
        (false, true) => ":2376",
        (false, false) => ":2375",
    };
    format!("tcp://{authority}{port}{path}")
}

/// TLS that trusts `ca.pem` alone, as docker's does; bollard's own trusts the system's CAs too.
fn tls_connector(
    ca: &Path,
    identity: Option<(&PathBuf, &PathBuf)>,
) -> Result<HttpsConnector<HttpConnector>, PushError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(ca).map_err(|cause| PushError::file(ca, cause))? {
        let authority = authority.map_err(|cause| PushError::file(ca, cause))?;
        roots.add(authority).map_err(|cause| PushError::file(ca, cause))?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|cause| PushError::file(certificate, cause))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|cause| PushError::file(key, cause))?;
            config.with_client_auth_cert(chain, secret).map_err(|cause| PushError::Tls(cause.to_string()))?
        }
        None => config.with_no_client_auth(),
    };
    // OpenSSL in front of an engine refuses resumed sessions of clients with certificates, unless it is set up for them.
    config.resumption = Resumption::disabled();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build())
}

/// The endpoint that `docker context` keeps under a name.
fn context(folder: &Path, name: &str) -> Result<(String, Option<PathBuf>), PushError> {
    let id = digest::of(name.as_bytes()).replace("sha256:", "");
    let file = folder.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&file).map_err(|cause| {
        PushError::EngineSettings(format!("no docker context `{name}` ({}: {cause})", file.display()))
    })?;
    let context: Context = serde_json::from_slice(&text).map_err(|cause| PushError::file(&file, cause))?;
    let certificates = folder.join("contexts/tls").join(&id).join("docker");
    Ok((context.endpoints.docker.host, Some(certificates).filter(|folder| folder.is_dir())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        for (host, tls, meant) in [
            ("tcp://127.0.0.1", false, "tcp://127.0.0.1:2375"),
            ("tcp://docker", true, "tcp://docker:2376"),
            ("127.0.0.1:1", false, "tcp://127.0.0.1:1"),
            ("docker", false, "tcp://docker:2375"),
            ("tcp://[::1]", false, "tcp://[::1]:2375"),
            ("tcp://[::1]:7/x", true, "tcp://[::1]:7/x"),
            ("tcp://docker/x", false, "tcp://docker:2375/x"),
            ("unix:///run/docker.sock", false, "unix:///run/docker.sock"),
            ("ssh://me@far.test", false, "ssh://me@far.test"),
            ("https://far.test", true, "https://far.test"),
        ] {
            assert_eq!(address(host, tls), meant);
        }
    }

    #[test]
    fn contexts_are_found_under_the_digest_of_their_name() {
        let home = std::env::temp_dir().join(format!("imgpush-context-{}", std::process::id()));
        let meta = home.join("contexts/meta").join(&digest::of(b"far")[7..]);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Endpoints": {"docker": {"Host": "tcp://far.test:2375"}}}"#,
        )
        .unwrap();
        std::fs::write(home.join("config.json"), r#"{"currentContext": "far"}"#).unwrap();
        let mut settings = Settings { folder: Some(home.clone()), ..Settings::default() };
        assert_eq!(settings.endpoint().unwrap().0, "tcp://far.test:2375");
        settings.host = Some("tcp://near.test:2375".into());
        assert_eq!(settings.endpoint().unwrap(), ("tcp://near.test:2375".into(), None));
        settings =
            Settings { context: Some("gone".into()), folder: Some(home.clone()), ..Settings::default() };
        assert!(settings.endpoint().unwrap_err().to_string().contains("no docker context `gone`"));
        std::fs::remove_dir_all(home).unwrap();
    }
}
