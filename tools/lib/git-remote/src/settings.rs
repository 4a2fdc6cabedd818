//! What a connection needs to know besides the URL.

use std::path::PathBuf;
use std::time::Duration;

use step::Secret;

use crate::http::HttpClients;
use crate::known_hosts::KnownHosts;

/// Everything a connection may need; [`Settings::default`] knows no credentials and no host keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For SSH servers.
    pub ssh: SshSettings,
    /// For HTTP servers.
    pub http: HttpSettings,
    /// The longest wait for a connection to be made.
    pub connect_timeout: Duration,
    /// The longest silence of a server in the middle of a conversation.
    pub silence_timeout: Duration,
    /// Connections that are kept alive.
    pub clients: HttpClients,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ssh: SshSettings::default(),
            http: HttpSettings::default(),
            connect_timeout: Duration::from_secs(15),
            silence_timeout: Duration::from_mins(2),
            clients: HttpClients::default(),
        }
    }
}

/// Keys of ours and of servers.
#[derive(Debug, Clone, Default)]
pub struct SshSettings {
    /// Keys to try, in this order, before the agent's.
    pub keys: Vec<PrivateKey>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The host keys that are trusted.
    pub known_hosts: KnownHosts,
    /// The one host key that is trusted, as `SHA256:…` (`ssh-keygen -l` prints it).
    pub fingerprint: Option<String>,
}

/// A private key, in memory.
#[derive(Debug, Clone)]
pub struct PrivateKey {
    /// OpenSSH or PEM text.
    pub text: Secret,
    /// What it is encrypted with.
    pub passphrase: Option<Secret>,
    /// Where it comes from, for messages: a variable's name or a file's path.
    pub origin: String,
}

/// Tokens, certificates and the way out.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// The user that goes with the token, where the URL names none.
    pub username: Option<String>,
    /// A token or password.
    pub token: Option<Secret>,
    /// PEM certificates to trust instead of the system's.
    pub certificate_authorities: Option<Vec<u8>>,
    /// The certificate that proves who we are.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy for `https://` URLs.
    pub https_proxy: Option<String>,
    /// The proxy for `http://` URLs.
    pub http_proxy: Option<String>,
    /// Hosts that are reached without a proxy: the value of `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Whether git's credential helpers are asked where a server wants credentials and none are set.
    pub credential_helpers: bool,
    /// The configuration file of a clone, which counts besides the user's and the machine's.
    pub clone_config: Option<PathBuf>,
}

/// A client certificate for HTTPS.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, and those that vouch for it, as PEM.
    pub chain: Vec<u8>,
    /// Its private key, as PEM.
    pub key: Secret,
}
