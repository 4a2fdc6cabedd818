//! Whom to trust on the way to a registry.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::PushError;

/// Certificates besides the system's.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// A file with the registry's own CA.
    pub ca_file: Option<PathBuf>,
    /// A client certificate with its key, in PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Folders laid out as docker's `certs.d`: one folder a registry, in it `*.crt`, `*.cert` and `*.key`.
    pub folders: Vec<PathBuf>,
}

impl Trust {
    /// A client for one registry.
    pub fn client(&self, registry: &str) -> Result<reqwest::Client, PushError> {
        let mut authorities: Vec<PathBuf> = self.ca_file.iter().cloned().collect();
        let mut identity = self.client_certificate.clone();
        for folder in self.folders.iter().map(|folder| folder.join(registry)) {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
                .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
                .unwrap_or_default();
            files.sort();
            for file in files {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => authorities.push(file),
                    Some("cert") if identity.is_none() => {
                        let key = file.with_extension("key");
                        identity = Some((file, key));
                    }
                    _ => {}
                }
            }
        }
        let mut certificates = Vec::new();
        for file in &authorities {
            let bundle = reqwest::Certificate::from_pem_bundle(&read(file)?)
                .map_err(|cause| PushError::file(file, cause))?;
            // docker passes over what is no certificate in its own folders; this file was named for its content.
            if bundle.is_empty() && self.ca_file.as_ref() == Some(file) {
                return Err(PushError::file(file, "there is no certificate in PEM in it"));
            }
            certificates.extend(bundle);
        }
        let mut builder = client();
        // No proxy's loopback is this machine's; Go's and so docker's clients leave it out too.
        if is_loopback(registry) {
            builder = builder.no_proxy();
        }
        if !certificates.is_empty() {
            builder = builder.tls_certs_merge(certificates);
        } else if client().build().is_err() {
            // A slim image has no CAs at all. HTTP needs none, and a registry with TLS will be told apart then.
            builder = builder.tls_certs_only([]);
        }
        if let Some((certificate, key)) = &identity {
            let mut pem = read(certificate)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            let identity =
                reqwest::Identity::from_pem(&pem).map_err(|cause| PushError::file(certificate, cause))?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|cause| PushError::Tls(cause.to_string()))
    }
}

/// Redirects are followed where it is known whether the body can be sent again.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("imgpush/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
}

fn read(file: &Path) -> Result<Vec<u8>, PushError> {
    std::fs::read(file).map_err(|cause| PushError::file(file, cause))
}

/// Whether a registry's `host[:port]` is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|c| c.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        assert!(
            ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000"]
                .into_iter()
                .all(is_loopback)
        );
        assert!(
            !["registry.test:5000", "10.0.0.1", "localhost.test", "1270.0.0.1"].into_iter().any(is_loopback)
        );
    }
}
