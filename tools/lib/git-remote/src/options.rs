//! The arguments and variables that say how to reach a Git server, for every tool that does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use step::{Failure, FailureKind, ResultExt, Secret, environment, text_or_file};

use crate::http::HttpClients;
use crate::http_config::HttpConfig;
use crate::known_hosts::KnownHosts;
use crate::settings::{ClientCertificate, HttpSettings, PrivateKey, Settings, SshSettings};
use crate::url::RemoteUrl;

/// OpenSSH's default identities, in its order of preference.
const IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// How to reach a Git server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Git server")]
pub struct RemoteOptions {
    /// SSH private key, besides `SSH_PRIVATE_KEY` (its text, or the path of a file), whose passphrase is
    /// in `SSH_PRIVATE_KEY_PASSPHRASE`
    #[arg(long, value_name = "FILE", visible_alias = "ssh-private-key-path")]
    pub ssh_key_file: Option<PathBuf>,
    /// Host keys to trust instead of `SSH_KNOWN_HOSTS` (text, or the path of a file) or `~/.ssh/known_hosts`
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// The only host key to trust, as `ssh-keygen -l` prints it: SHA256:…
    #[arg(long, value_name = "SHA256", env = "SSH_HOST_KEY_FINGERPRINT")]
    pub host_key_fingerprint: Option<String>,
    /// Token or password for HTTPS, in place of the tokens in variables
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// User name that goes with the token
    #[arg(long, value_name = "NAME", env = "GIT_USERNAME")]
    pub username: Option<String>,
    /// PEM certificates to trust for HTTPS; git's http.sslCAInfo is honoured
    #[arg(long, value_name = "FILE", env = "GIT_SSL_CAINFO")]
    pub ca_file: Option<PathBuf>,
    /// PEM client certificate for HTTPS; git's http.sslCert is honoured
    #[arg(long, value_name = "FILE", env = "GIT_SSL_CERT", visible_alias = "tls-client-cert-path")]
    pub client_cert: Option<PathBuf>,
    /// Private key of the client certificate; git's http.sslKey is honoured
    #[arg(long, value_name = "FILE", env = "GIT_SSL_KEY", visible_alias = "tls-client-cert-key-path")]
    pub client_key: Option<PathBuf>,
    /// Proxy for HTTPS and HTTP; without it git's http.proxy, then `https_proxy`, `http_proxy` and `NO_PROXY`
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Longest wait for a connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub connect_timeout: u64,
    /// Longest silence of the server, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub silence_timeout: u64,
}

impl RemoteOptions {
    /// The settings that these options, the environment and git's configuration make together for a server. The
    /// token is in the first of the variables that is set. A clone's configuration counts where its file is named.
    pub fn settings(
        &self,
        url: &RemoteUrl,
        token_variables: &[&str],
        clone_config: Option<&Path>,
    ) -> Result<Settings, Failure> {
        Ok(Settings {
            ssh: self.ssh()?,
            http: self.http(url, token_variables, clone_config)?,
            connect_timeout: Duration::from_secs(self.connect_timeout),
            silence_timeout: Duration::from_secs(self.silence_timeout),
            clients: HttpClients::default(),
        })
    }

    fn ssh(&self) -> Result<SshSettings, Failure> {
        let passphrase = environment::secret(&["SSH_PRIVATE_KEY_PASSPHRASE"])?;
        let key = |text: Secret, origin: &str| PrivateKey {
            text,
            passphrase: passphrase.clone(),
            origin: origin.to_owned(),
        };
        let mut keys = Vec::new();
        if let Some(path) = &self.ssh_key_file {
            keys.push(key(Secret::new(text(path)?), &path.display().to_string()));
        } else if let Some(text) = environment::secret(&["SSH_PRIVATE_KEY"])? {
            keys.push(key(text, "SSH_PRIVATE_KEY"));
        } else {
            for path in in_home(IDENTITIES) {
                let text = std::fs::read_to_string(&path).ok();
                keys.extend(text.map(|text| key(Secret::new(text), &path.display().to_string())));
            }
        }
        Ok(SshSettings {
            keys,
            agent: environment::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            known_hosts: self.known_hosts()?,
            fingerprint: self.host_key_fingerprint.clone(),
        })
    }

    /// As `ssh` does, the machine's own files are read whatever the user's are.
    fn known_hosts(&self) -> Result<KnownHosts, Failure> {
        let mut known = KnownHosts::default();
        if let Some(path) = &self.known_hosts {
            known.add(path.display().to_string(), text(path)?);
        } else if let Some(value) = environment::var("SSH_KNOWN_HOSTS") {
            let text = text_or_file(&value)
                .or_fail_with(FailureKind::Input, || "can't read the file that SSH_KNOWN_HOSTS names")?;
            known.add("SSH_KNOWN_HOSTS", text);
        } else {
            add_files(&mut known, in_home(["known_hosts", "known_hosts2"]));
        }
        let machine = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
        add_files(&mut known, machine.map(PathBuf::from));
        Ok(known)
    }

    fn http(
        &self,
        url: &RemoteUrl,
        token_variables: &[&str],
        clone_config: Option<&Path>,
    ) -> Result<HttpSettings, Failure> {
        let config = HttpConfig::open(url, clone_config);
        let file = |option: &Option<PathBuf>, key: &str| option.clone().or_else(|| config.path(key));
        // A GitLab job is told which authority vouches for its own server.
        let jobs_server = environment::var("CI_SERVER_HOST").filter(|host| url.host() == Some(host));
        let jobs_authority =
            || jobs_server.and_then(|_| environment::var_os("CI_SERVER_TLS_CA_FILE")).map(PathBuf::from);
        let token = match &self.token_file {
            Some(path) => Some(Secret::new(text(path)?.trim())),
            None => token_in(token_variables)?,
        };
        let authorities = file(&self.ca_file, "sslCAInfo").or_else(jobs_authority);
        let authorities = authorities.map(|path| bytes(&path)).transpose()?;
        let client_certificate = match file(&self.client_cert, "sslCert") {
            None => None,
            Some(path) => {
                let chain = bytes(&path)?;
                // As with git, one file may hold both.
                let key = file(&self.client_key, "sslKey").unwrap_or(path);
                Some(ClientCertificate { chain, key: Secret::new(text(&key)?) })
            }
        };
        // Set to nothing, git's setting means none, whatever the environment says.
        let proxy = self.proxy.clone().or_else(|| config.string("proxy"));
        let or_environment = |names: &[&str]| match &proxy {
            Some(proxy) => Some(proxy.clone()).filter(|url| !url.is_empty()),
            None => environment::first_of(names),
        };
        Ok(HttpSettings {
            username: self.username.clone(),
            token,
            certificate_authorities: authorities,
            client_certificate,
            https_proxy: or_environment(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            // Upper-case HTTP_PROXY can be set by a CGI request's header, so nobody reads it.
            http_proxy: or_environment(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            no_proxy: environment::first_of(&["no_proxy", "NO_PROXY"]),
            credential_helpers: true,
            clone_config: clone_config.map(Path::to_owned),
        })
    }
}

/// A token, as a variable or the file that it names has it: none has blanks.
pub fn token_in(variables: &[&str]) -> Result<Option<Secret>, Failure> {
    Ok(environment::secret(variables)?.map(|token| Secret::new(token.expose().trim())))
}

fn in_home<const N: usize>(names: [&str; N]) -> Vec<PathBuf> {
    let home = environment::var_os("HOME").map(|home| Path::new(&home).join(".ssh"));
    home.map(|ssh| names.map(|name| ssh.join(name)).into()).unwrap_or_default()
}

/// Files that need not be there.
fn add_files(known: &mut KnownHosts, paths: impl IntoIterator<Item = PathBuf>) {
    for path in paths {
        if let Ok(text) = std::fs::read(&path) {
            known.add(path.display().to_string(), String::from_utf8_lossy(&text));
        }
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&bytes(path)?).into_owned())
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).or_fail_with(FailureKind::Input, || format!("can't read {}", path.display()))
}
