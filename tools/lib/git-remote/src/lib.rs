//! Git servers reached safely: strict host keys, credentials, private CAs, proxies and time-outs.
//!
//! [`Remote`] is one connection to one repository: over SSH both services share one session, over
//! HTTP one kept-alive connection, and a repository on this machine is served by the `git` program.
//! It reads ref lists, fetches as little as the server allows into a repository of libgit2's, and
//! pushes with push options. Fetching speaks protocol version 2 and falls back to version 0
//! (git's `Documentation/gitprotocol-v2.adoc` and `gitprotocol-pack.adoc`).
//!
//! A tool takes [`RemoteOptions`] into its arguments and gets its [`Settings`] from them.

mod advertisement;
mod error;
mod fetch;
mod http;
mod http_config;
mod known_hosts;
mod local;
mod options;
mod packet;
mod push;
mod remote;
mod settings;
mod ssh;
mod ssh_keys;
mod transport;
mod url;

pub use advertisement::{Capabilities, RefList};
pub use error::RemoteError;
pub use fetch::{Fetched, Narrowing};
pub use http::{HttpClient, HttpClients, HttpReply};
pub use known_hosts::{HostKeyProblem, KnownHosts};
pub use options::{RemoteOptions, token_in};
pub use push::{PushRequest, Pushed};
pub use remote::{Remote, Revision};
pub use settings::{ClientCertificate, HttpSettings, PrivateKey, Settings, SshSettings};
pub use url::{RemoteUrl, Scheme};
