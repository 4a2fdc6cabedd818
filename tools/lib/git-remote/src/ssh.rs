//! SSH: one session, a channel for each service.
//!
//! libssh2 waits for the reply to every request. What does not depend on a reply is sent before it here, so that a
//! service costs a round trip for its channel and one for everything else.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};

use crate::RemoteError;
use crate::settings::{Settings, SshSettings};
use crate::transport::{Service, Transport, complaint};

/// In the order of OpenSSH's default.
const HOST_KEY_ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-rsa",
];

/// Error codes of libssh2.h: the server refuses a key.
const AUTHENTICATION_FAILED: [i32; 2] = [-18, -19];

/// Error codes of libssh2.h: no backend knows the key's format, or what is in its file.
const UNREADABLE_KEY: [i32; 2] = [-1, -16];

/// Error codes of libssh2.h: the socket does not send, is disconnected, is silent, does not receive, or is none.
const CONNECTION_LOST: [i32; 6] = [-7, -9, -13, -30, -43, -45];

/// Error code of libssh2.h: a reply has not come yet.
const WOULD_BLOCK: i32 = -37;

const PROTOCOL_VARIABLE: &str = "GIT_PROTOCOL";

pub(crate) struct SshTransport {
    session: Session,
    server: String,
    path: String,
    lines: Vec<Line>,
}

/// A channel, and the service on it.
struct Line {
    service: Service,
    channel: Channel,
    /// What has come of the requests that start the service, until they are waited for.
    starting: Option<Starting>,
    /// Whether nobody has read what it says first.
    begun: bool,
}

/// Replies to the requests on a channel; `None` for one that is still to come.
struct Starting {
    environment: Option<Reply>,
    command: Option<Reply>,
}

type Reply = Result<(), ssh2::Error>;

impl SshTransport {
    /// Connects, checks the host key, and logs in.
    pub(crate) fn connect(
        user: &str,
        host: &str,
        port: u16,
        path: &str,
        settings: &Settings,
    ) -> Result<Self, RemoteError> {
        let server = format!("{host}:{port}");
        let broken = |action, source| RemoteError::Network { server: server.clone(), action, source };
        let stream =
            dial(host, port, settings.connect_timeout).map_err(|error| broken("can't connect", error))?;
        let mut session = Session::new().map_err(|error| broken("can't start SSH", error.into()))?;
        session.set_timeout(milliseconds(settings.connect_timeout));
        let preferred = host_key_order(&settings.ssh.known_hosts.algorithms(host, port));
        let agreed = session.method_pref(MethodType::HostKey, &preferred);
        agreed.map_err(|error| broken("can't start SSH", error.into()))?;
        session.set_tcp_stream(stream);
        // libssh2 says the same of a connection that broke and of a server that is too old for it.
        session.handshake().map_err(|error| broken("SSH handshake", error.into()))?;
        let (key, _) = session
            .host_key()
            .ok_or_else(|| broken("SSH handshake", io::Error::other("the server showed no host key")))?;
        settings.ssh.known_hosts.check(host, port, key, settings.ssh.fingerprint.as_deref())?;
        log_in(&session, user, &server, &settings.ssh)?;
        session.set_timeout(milliseconds(settings.silence_timeout));
        Ok(Self { session, server, path: path.to_owned(), lines: Vec::new() })
    }

    fn line(&mut self, service: Service) -> Result<&mut Line, RemoteError> {
        let found = self.lines.iter_mut().rev().find(|line| line.service == service);
        found.ok_or_else(|| RemoteError::protocol(&self.server, "nothing was started"))
    }

    fn broken(&self, action: &'static str, source: io::Error) -> RemoteError {
        RemoteError::Network { server: self.server.clone(), action, source }
    }

    /// Sends a request on a channel, and waits for nothing; `None` where the reply has not come yet.
    fn send(&self, mut request: impl FnMut() -> Reply) -> Option<Reply> {
        self.session.set_blocking(false);
        let reply = request();
        let half_sent =
            matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        self.session.set_blocking(true);
        match reply {
            // Nothing else may be sent before the rest of it.
            Err(error) if would_block(&error) && half_sent => Some(request()),
            Err(error) if would_block(&error) => None,
            reply => Some(reply),
        }
    }

    fn command(&self, service: Service) -> String {
        format!("{} {}", service.name(), quoted(&self.path))
    }

    /// Waits until the service is started.
    fn finish_starting(&mut self, service: Service) -> Result<(), RemoteError> {
        let command = self.command(service);
        let line = self.line(service)?;
        let Some(Starting { environment, command: started }) = line.starting.take() else { return Ok(()) };
        let channel = &mut line.channel;
        let environment = environment.unwrap_or_else(|| match service.protocol() {
            Some(protocol) => channel.setenv(PROTOCOL_VARIABLE, protocol),
            None => Ok(()),
        });
        let started = started.unwrap_or_else(|| channel.exec(&command));
        // Of two replies libssh2 hands out a success first, whatever it answers. A server that does not accept the
        // variable speaks version 0; one that does not start the service ends the channel, as whoever reads finds.
        let one_of_two = service.protocol().is_some() && environment.is_ok();
        started.or_else(|error| {
            if one_of_two { Ok(()) } else { Err(self.broken("can't start the service", error.into())) }
        })
    }
}

impl Transport for SshTransport {
    fn begin(&mut self, service: Service, first: &[u8]) -> Result<bool, RemoteError> {
        let opened = self.session.channel_session();
        let mut channel = opened.map_err(|error| self.broken("can't open a channel", error.into()))?;
        // libssh2 takes a reply on another channel for a failure, so that only one channel may wait for some. They have
        // come before the one that has just opened this channel.
        for other in [Service::UploadPack, Service::ReceivePack] {
            if self.line(other).is_ok() {
                self.finish_starting(other)?;
            }
        }
        let environment = match service.protocol() {
            Some(protocol) => self.send(|| channel.setenv(PROTOCOL_VARIABLE, protocol)),
            None => Some(Ok(())),
        };
        let command = self.command(service);
        let command = self.send(|| channel.exec(&command));
        // A service that has ended already says why to whoever reads.
        let _ = channel.write_all(first);
        self.lines.push(Line {
            service,
            channel,
            begun: true,
            starting: Some(Starting { environment, command }),
        });
        Ok(true)
    }

    fn greet(&mut self, service: Service) -> Result<Box<dyn Read + '_>, RemoteError> {
        if !self.line(service).is_ok_and(|line| line.begun) {
            self.begin(service, &[])?;
        }
        self.finish_starting(service)?;
        self.line(service)?.begun = false;
        self.ask(service, &[])
    }

    fn ask(&mut self, service: Service, request: &[u8]) -> Result<Box<dyn Read + '_>, RemoteError> {
        if let Err(error) = self.line(service)?.channel.write_all(request) {
            return Err(self.last_words(service, error));
        }
        Ok(Box::new(&mut self.line(service)?.channel))
    }

    fn is_stateless(&self) -> bool {
        false
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn login_words(&mut self) -> Option<String> {
        let mut channel = self.session.channel_session().ok()?;
        channel.shell().ok()?;
        channel.send_eof().ok()?;
        let (mut words, mut errors) = (Vec::new(), Vec::new());
        // Words that stop in the middle are words too.
        let _ = channel.read_to_end(&mut words);
        let _ = channel.stderr().read_to_end(&mut errors);
        words.extend(errors);
        Some(String::from_utf8_lossy(&words).into_owned())
    }

    fn last_words(&mut self, service: Service, error: io::Error) -> RemoteError {
        let mut words = Vec::new();
        // A connection that broke has nothing more to say.
        if let Ok(line) = self.line(service)
            && (error.kind() == io::ErrorKind::UnexpectedEof || line.channel.eof())
        {
            let _ = line.channel.stderr().take(64 * 1024).read_to_end(&mut words);
        }
        let words = String::from_utf8_lossy(&words);
        if words.trim().is_empty() {
            self.broken("the connection broke", error)
        } else {
            complaint(&self.server, &words)
        }
    }
}

impl Drop for SshTransport {
    fn drop(&mut self) {
        // Otherwise every channel waits for the server to agree that it is closed.
        self.session.set_blocking(false);
    }
}

fn dial(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Types that `known_hosts` has first, so that a server with several keys shows one that can be checked.
fn host_key_order(known: &[String]) -> String {
    let is_known = |algorithm: &&str| {
        let listed = if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm };
        known.iter().any(|known| known == listed)
    };
    let (mut first, then): (Vec<&str>, Vec<&str>) = HOST_KEY_ALGORITHMS.into_iter().partition(is_known);
    first.extend(then);
    first.join(",")
}

fn log_in(session: &Session, user: &str, server: &str, settings: &SshSettings) -> Result<(), RemoteError> {
    let mut refused = Vec::new();
    for key in &settings.keys {
        let text = key.normalised()?;
        let passphrase = key.passphrase.as_ref().map(step::Secret::expose);
        match session.userauth_pubkey_memory(user, None, text.expose(), passphrase) {
            Ok(()) => return Ok(()),
            Err(error) if is_lost(&error) => return Err(lost(server, error)),
            Err(error) => match error.code() {
                ErrorCode::Session(code) if AUTHENTICATION_FAILED.contains(&code) => {
                    refused.push(key.origin.clone());
                }
                ErrorCode::Session(code) if UNREADABLE_KEY.contains(&code) => {
                    refused.push(unreadable(&key.origin, text.expose(), passphrase));
                }
                _ => return Err(lost(server, error)),
            },
        }
    }
    if let Some(socket) = &settings.agent
        && let Ok(mut agent) = session.agent()
    {
        agent.set_identity_path(socket).ok();
        let identities =
            agent.connect().and_then(|()| agent.list_identities()).and_then(|()| agent.identities());
        for identity in identities.unwrap_or_default() {
            match agent.userauth(user, &identity) {
                Ok(()) => return Ok(()),
                Err(error) if is_lost(&error) => return Err(lost(server, error)),
                // The server refuses the key, or the agent can't sign with it.
                Err(_) => {}
            }
        }
        refused.push("the agent's keys".to_owned());
    }
    let (reason, hint) = if refused.is_empty() {
        (
            "no SSH key to log in with".to_owned(),
            "set SSH_PRIVATE_KEY (text or path) or --ssh-key-file, or start an agent",
        )
    } else {
        (
            format!("the server accepts none of the keys: {} (as {user})", refused.join(", ")),
            "the public key must be registered with the server, as a deploy key that may write or as a user's",
        )
    };
    Err(RemoteError::Credentials { server: server.to_owned(), reason, hint })
}

fn is_lost(error: &ssh2::Error) -> bool {
    // While it waits for an answer to a key it has the code of a refusal, and only other words.
    matches!(error.code(), ErrorCode::Session(code) if CONNECTION_LOST.contains(&code))
        || error.message().starts_with("Waiting")
}

fn lost(server: &str, error: ssh2::Error) -> RemoteError {
    RemoteError::Network { server: server.to_owned(), action: "SSH authentication", source: error.into() }
}

/// libssh2 calls a wrong passphrase an unsupported format.
fn unreadable(origin: &str, text: &str, passphrase: Option<&str>) -> String {
    let encrypted = text.contains("ENCRYPTED") || openssh_is_encrypted(text);
    match (encrypted, passphrase) {
        (true, None) => format!("{origin} (it is encrypted, and SSH_PRIVATE_KEY_PASSPHRASE is not set)"),
        (true, Some(_)) => format!("{origin} (SSH_PRIVATE_KEY_PASSPHRASE does not decrypt it)"),
        (false, _) => format!("{origin} (it can't be read: damaged, or of an unsupported type)"),
    }
}

/// An OpenSSH key names its cipher behind the magic (openssh's PROTOCOL.key).
fn openssh_is_encrypted(text: &str) -> bool {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).take(1).collect();
    let start = openssl::base64::decode_block(body.get(..(body.len() / 4) * 4).unwrap_or_default());
    let start = start.unwrap_or_default();
    let cipher = start.strip_prefix(b"openssh-key-v1\0").and_then(|rest| rest.get(4..8));
    cipher.is_some_and(|cipher| cipher != b"none")
}

fn would_block(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(WOULD_BLOCK)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// One word of a POSIX shell, which is what the server's account has.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_types_come_first() {
        let order = host_key_order(&["ssh-rsa".to_owned()]);
        assert!(order.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519,"), "{order}");
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted("g/o'brien.git"), r"'g/o'\''brien.git'");
    }
}
