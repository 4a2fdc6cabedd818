//! HTTP(S): smart Git over one kept-alive connection, and a client for a forge's API.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git2::CredentialHelper;
use openssl::base64::encode_block;
use step::{Secret, url_without_credentials, without_credentials};
use ureq::ResponseExt as _;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Request, Response, StatusCode, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body, BodyReader, Proxy};

use crate::RemoteError;
use crate::http_config::configuration;
use crate::settings::{ClientCertificate, HttpSettings, Settings};
use crate::transport::{Service, Transport};

/// The most of an answer that is kept for an error message or an API's result, in bytes.
const MAX_REPLY: u64 = 8 * 1024 * 1024;

const TOKEN_HINT: &str = "set the token's variable or --token-file; a token needs the right to read the repository, and to write where it is pushed to";

/// A blocking client with the connection's certificates, proxy and time-outs.
#[derive(Debug, Clone)]
pub struct HttpClient {
    agent: Agent,
}

/// A client for each server: whoever asks the same server again finds its connection open.
#[derive(Debug, Clone, Default)]
pub struct HttpClients(Arc<Mutex<BTreeMap<(String, bool), HttpClient>>>);

/// A whole answer.
#[derive(Debug)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

impl HttpClient {
    /// The client for requests to one server.
    pub fn to(settings: &Settings, host: &str, encrypted: bool) -> Result<Self, RemoteError> {
        let mut known = settings.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), encrypted);
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let client = Self::new(settings, host, encrypted)?;
        known.insert(key, client.clone());
        Ok(client)
    }

    fn new(settings: &Settings, host: &str, encrypted: bool) -> Result<Self, RemoteError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("gitops-steps/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy(&settings.http, host, encrypted)?)
            .tls_config(tls(&settings.http)?)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_recv_response(Some(settings.silence_timeout))
            .timeout_per_write(Some(settings.silence_timeout))
            .timeout_per_read(Some(settings.silence_timeout))
            .build();
        Ok(Self { agent: config.new_agent() })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpReply, RemoteError> {
        let response = self.start(method, url, headers, body)?;
        let status = response.status().as_u16();
        let text = response.into_body().into_with_config().limit(MAX_REPLY).lossy_utf8(true).read_to_string();
        let body = text.map_err(|error| network(url, "reading the answer", error))?;
        Ok(HttpReply { status, body })
    }

    fn start(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>, RemoteError> {
        let request =
            headers.iter().fold(Request::builder().method(method).uri(url), |request, (name, value)| {
                request.header(*name, *value)
            });
        let sent = if body.is_empty() && method == "GET" {
            request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
        } else {
            request.body(body).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
        };
        sent.map_err(|error| network(url, "the request failed", error))
    }
}

pub(crate) struct HttpTransport {
    client: HttpClient,
    /// As it is after redirections.
    base: String,
    server: String,
    authorization: Option<Secret>,
    credential_helpers: bool,
    clone_config: Option<PathBuf>,
}

impl HttpTransport {
    pub(crate) fn new(
        base: &str,
        host: &str,
        encrypted: bool,
        credentials: (Option<&str>, Option<&Secret>),
        settings: &Settings,
    ) -> Result<Self, RemoteError> {
        let http = &settings.http;
        let (url_user, url_password) = credentials;
        // Forges take any user beside a token.
        let user = url_user.or(http.username.as_deref()).unwrap_or("oauth2");
        let token = http.token.as_ref().or(url_password);
        Ok(Self {
            client: HttpClient::to(settings, host, encrypted)?,
            base: base.to_owned(),
            server: url_without_credentials(base),
            authorization: token.map(|token| basic(user, token.expose())),
            credential_helpers: http.credential_helpers,
            clone_config: http.clone_config.clone(),
        })
    }

    fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>, RemoteError> {
        let authorization = self.authorization.clone();
        let mut all = headers.to_vec();
        if let Some(secret) = &authorization {
            all.push(("Authorization", secret.expose()));
        }
        let response = self.client.start(method, url, &all, body)?;
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED
            && authorization.is_none()
            && self.credential_helpers
            && let Some(found) = helpers_credentials(&self.base, self.clone_config.as_deref())
        {
            self.authorization = Some(found);
            return self.request(method, url, headers, body);
        }
        Err(self.refusal(response))
    }

    fn refusal(&self, response: Response<Body>) -> RemoteError {
        let status = response.status();
        let body = response.into_body().into_with_config().limit(MAX_REPLY).lossy_utf8(true).read_to_string();
        // An HTML page is for a browser.
        let words = body.unwrap_or_default();
        let words = if words.trim_start().starts_with('<') { "" } else { words.trim() };
        let words: String = words.lines().next().unwrap_or_default().chars().take(300).collect();
        let server = self.server.clone();
        let reason = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
        match status {
            StatusCode::UNAUTHORIZED if self.authorization.is_some() => RemoteError::Credentials {
                server,
                reason: format!("the token is not accepted ({reason})"),
                hint: "the token may have expired, or lack the right to read the repository, or to write where it is pushed to",
            },
            StatusCode::UNAUTHORIZED => RemoteError::Credentials {
                server,
                reason: format!("it wants credentials ({reason})"),
                hint: TOKEN_HINT,
            },
            StatusCode::FORBIDDEN => RemoteError::Forbidden { server, reason },
            StatusCode::NOT_FOUND => {
                RemoteError::Refused { server, reason: format!("the repository is not found ({reason})") }
            }
            status if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {
                RemoteError::Unavailable { server, status: reason }
            }
            _ => RemoteError::Refused { server, reason },
        }
    }
}

impl Transport for HttpTransport {
    fn greet(&mut self, service: Service) -> Result<Box<dyn Read + '_>, RemoteError> {
        let suffix = format!("/info/refs?service={}", service.name());
        let protocol = service.protocol().map(|protocol| ("Git-Protocol", protocol));
        let headers: Vec<_> = protocol.into_iter().chain([("Pragma", "no-cache")]).collect();
        let response = self.request("GET", &format!("{}{suffix}", self.base), &headers, &[])?;
        // Later requests go where the first one was sent on to.
        if let Some(moved) = response.get_uri().to_string().strip_suffix(&suffix) {
            if !may_have_what_was_for(&self.base, moved) {
                self.authorization = None;
            }
            moved.clone_into(&mut self.base);
        }
        let expected = format!("application/x-{}-advertisement", service.name());
        if response.body().mime_type() != Some(expected.as_str()) {
            return Err(RemoteError::protocol(
                &self.server,
                "a page for browsers; is this a repository's URL?",
            ));
        }
        Ok(Box::new(WholeBody(response.into_body().into_reader())))
    }

    fn ask(&mut self, service: Service, request: &[u8]) -> Result<Box<dyn Read + '_>, RemoteError> {
        let url = format!("{}/{}", self.base, service.name());
        let kind = format!("application/x-{}-request", service.name());
        let accept = format!("application/x-{}-result", service.name());
        let protocol = service.protocol().map(|protocol| ("Git-Protocol", protocol));
        let headers: Vec<_> = [("Content-Type", kind.as_str()), ("Accept", accept.as_str())]
            .into_iter()
            .chain(protocol)
            .collect();
        let response = self.request("POST", &url, &headers, request)?;
        Ok(Box::new(WholeBody(response.into_body().into_reader())))
    }

    fn is_stateless(&self) -> bool {
        true
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn last_words(&mut self, _service: Service, error: io::Error) -> RemoteError {
        RemoteError::Network { server: self.server.clone(), action: "the connection broke", source: error }
    }
}

/// A body that is read to its end in any case: only then the connection serves the next request.
struct WholeBody(BodyReader<'static>);

impl Read for WholeBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        // Git's own end mark is read; what follows is HTTP's. More is not worth waiting for.
        let _ = io::copy(&mut self.0.by_ref().take(1024), &mut io::sink());
    }
}

/// Whether a token for one URL may go to another one: on the same server, or to where that encrypts.
fn may_have_what_was_for(meant: &str, other: &str) -> bool {
    let (Ok(meant), Ok(other)) = (meant.parse::<Uri>(), other.parse::<Uri>()) else { return false };
    let same_server = meant.scheme() == other.scheme() && meant.port() == other.port();
    meant.host() == other.host() && (same_server || other.scheme_str() == Some("https"))
}

fn basic(user: &str, password: &str) -> Secret {
    Secret::new(format!("Basic {}", encode_block(format!("{user}:{password}").as_bytes())))
}

/// What `git credential fill` would find without asking anyone.
fn helpers_credentials(url: &str, clone_config: Option<&Path>) -> Option<Secret> {
    let config = configuration(clone_config)?;
    let (user, password) = CredentialHelper::new(url).config(&config).execute()?;
    Some(basic(&user, &password))
}

fn proxy(http: &HttpSettings, host: &str, encrypted: bool) -> Result<Option<Proxy>, RemoteError> {
    let chosen = if encrypted { &http.https_proxy } else { &http.http_proxy };
    let Some(url) = chosen else { return Ok(None) };
    if http.no_proxy.as_deref().is_some_and(|list| is_exempt(list, host)) {
        return Ok(None);
    }
    let wrong = |_| RemoteError::Setting(format!("`{}` is not a proxy's URL", url_without_credentials(url)));
    Proxy::new(url).map(Some).map_err(wrong)
}

/// `NO_PROXY` as curl reads it: `*`, or names that stand for themselves and their subdomains.
fn is_exempt(list: &str, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let name = entry.trim_start_matches("*.").trim_start_matches('.').to_lowercase();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        entry == "*" || host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn tls(http: &HttpSettings) -> Result<TlsConfig, RemoteError> {
    let roots = match &http.certificate_authorities {
        None => RootCerts::PlatformVerifier,
        Some(pem) => RootCerts::new_with_certs(&certificates(pem, "the CA file")?),
    };
    let client = http.client_certificate.as_ref().map(client_certificate).transpose()?;
    Ok(TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).client_cert(client).build())
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<Certificate<'static>>, RemoteError> {
    let found: Vec<_> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(RemoteError::Setting(format!("{what} holds no PEM certificate")));
    }
    Ok(found)
}

fn client_certificate(client: &ClientCertificate) -> Result<ClientCert, RemoteError> {
    let chain = certificates(&client.chain, "the client certificate's file")?;
    let wrong = |_| RemoteError::Setting("the client certificate's key is not a PEM private key".to_owned());
    // The TLS library takes PKCS#8 only; keys also come as PKCS#1 and SEC 1.
    let key = openssl::pkey::PKey::private_key_from_pem(client.key.expose().as_bytes());
    let pem = key.and_then(|key| key.private_key_to_pem_pkcs8()).map_err(wrong)?;
    let key = PrivateKey::from_pem(&pem)
        .map_err(|_| RemoteError::Setting("the client certificate's key can't be used".to_owned()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn network(url: &str, action: &'static str, error: ureq::Error) -> RemoteError {
    let server = url_without_credentials(url);
    let server = server.split('?').next().unwrap_or_default().to_owned();
    let source = match error {
        ureq::Error::Io(source) => source,
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        ureq::Error::HostNotFound => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        ureq::Error::NativeTls(error) => return RemoteError::Tls { server, reason: error.to_string() },
        ureq::Error::Tls(reason) => return RemoteError::Tls { server, reason: reason.to_owned() },
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            return RemoteError::Refused { server, reason: "not a URL that can be asked for".to_owned() };
        }
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
            return RemoteError::Refused { server, reason: "it sends the request on and on".to_owned() };
        }
        other => io::Error::other(without_credentials(&other.to_string())),
    };
    RemoteError::Network { server, action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_with_its_server() {
        let from = |meant: &str, other: &str| may_have_what_was_for(meant, other);
        assert!(from("https://git.test/old", "https://git.test/new.git"));
        assert!(from("http://git.test/x", "https://git.test/x"));
        assert!(!from("https://git.test/x", "http://git.test/x"));
        assert!(!from("https://git.test/x", "https://other.test/x"));
        assert!(!from("http://git.test/x", "http://git.test:8080/x"));
    }

    #[test]
    fn no_proxy_names_hosts_and_their_subdomains() {
        for exempt in ["*", "git.test", ".git.test", "a.test, test", "*.git.test"] {
            assert!(is_exempt(exempt, "x.git.test"), "{exempt}");
        }
        assert!(is_exempt("127.0.0.1,::1", "[::1]"));
        for other in ["", "it.test", "x.git.test.example", "y.git.test"] {
            assert!(!is_exempt(other, "x.git.test"), "{other}");
        }
    }
}
