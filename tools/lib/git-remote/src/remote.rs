//! A connection to one repository.

use std::collections::BTreeSet;

use git2::{Oid, Repository};

use crate::RemoteError;
use crate::advertisement::{Capabilities, Greeting, RefList};
use crate::fetch::{self, Fetched, Narrowing};
use crate::http::HttpTransport;
use crate::local::LocalTransport;
use crate::push::{self, PushRequest, Pushed};
use crate::settings::Settings;
use crate::ssh::SshTransport;
use crate::transport::{Service, Transport, explain};
use crate::url::{RemoteUrl, Scheme};

/// One connection, for as many fetches and pushes as are needed.
pub struct Remote {
    transport: Box<dyn Transport>,
    upload: Option<Greeting>,
    receive: Option<Greeting>,
}

/// What a revision's name stands for on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The full name of the ref; none for an object id.
    pub reference: Option<String>,
    /// The commit, tags peeled.
    pub commit: Oid,
}

impl Remote {
    /// Connects: with SSH up to the login, with HTTP nothing is sent yet.
    pub fn connect(url: &RemoteUrl, settings: &Settings) -> Result<Self, RemoteError> {
        let transport: Box<dyn Transport> = match url.scheme() {
            Scheme::Ssh { user, host, port, path } => {
                Box::new(SshTransport::connect(user, host, *port, path, settings)?)
            }
            Scheme::Http { base, host, encrypted, user, password, .. } => {
                let credentials = (user.as_deref(), password.as_ref());
                Box::new(HttpTransport::new(base, host, *encrypted, credentials, settings)?)
            }
            Scheme::Local(path) => Box::new(LocalTransport::new(path)),
        };
        Ok(Self { transport, upload: None, receive: None })
    }

    /// The refs whose names begin with one of the prefixes, and what HEAD points to where the
    /// prefix `HEAD` is among them. Old servers send all refs.
    pub fn refs(&mut self, prefixes: &[&str]) -> Result<RefList, RemoteError> {
        let request = fetch::refs_request(prefixes);
        // Sent before the server has said that it speaks version 2, as nearly all do.
        if self.upload.is_none() && self.transport.begin(Service::UploadPack, &request)? {
            return self.refs_asked_for();
        }
        let greeting = started(&mut *self.transport, &mut self.upload, Service::UploadPack)?;
        fetch::list_refs(&mut *self.transport, greeting, &request)
    }

    /// The same as [`Self::refs`], with the push side started meanwhile: for whoever will need both. `None`, and nothing is
    /// done, where the connection can't do two things at once.
    pub fn refs_ahead(&mut self, prefixes: &[&str]) -> Result<Option<RefList>, RemoteError> {
        if !self.transport.begin(Service::UploadPack, &fetch::refs_request(prefixes))? {
            return Ok(None);
        }
        self.transport.begin(Service::ReceivePack, &[])?;
        self.refs_asked_for().map(Some)
    }

    fn refs_asked_for(&mut self) -> Result<RefList, RemoteError> {
        let greeting = started(&mut *self.transport, &mut self.upload, Service::UploadPack)?;
        let refs = fetch::list_refs(&mut *self.transport, greeting, &[])?;
        if greeting.version != 2 {
            // Version 0 took the request for something else, and has ended.
            self.upload = None;
        }
        Ok(refs)
    }

    /// What the push side of the server says first: all refs that it shows, and what it can do.
    pub fn push_side(&mut self) -> Result<(&RefList, &Capabilities), RemoteError> {
        let greeting = started(&mut *self.transport, &mut self.receive, Service::ReceivePack)?;
        Ok((&greeting.refs, &greeting.capabilities))
    }

    /// Lets [`Self::push_side`] look again, on the same connection.
    pub fn forget_push_side(&mut self) -> Result<(), RemoteError> {
        if self.receive.take().is_some() && !self.transport.is_stateless() {
            // No command: the service ends.
            self.transport.ask(Service::ReceivePack, b"0000")?;
        }
        Ok(())
    }

    /// Finds a branch, a tag, a full ref name, `HEAD` or a full object id, in git's order of
    /// `git clone --branch`: a branch before a tag.
    pub fn resolve(&mut self, revision: &str) -> Result<Revision, RemoteError> {
        if let Some(commit) = object_id(revision) {
            return Ok(Revision { reference: None, commit });
        }
        let candidates = match revision {
            "HEAD" => vec![revision.to_owned()],
            _ if revision.starts_with("refs/") => vec![revision.to_owned()],
            _ => vec![format!("refs/heads/{revision}"), format!("refs/tags/{revision}")],
        };
        let prefixes: Vec<&str> = candidates.iter().map(String::as_str).collect();
        let refs = self.refs(&prefixes)?;
        let found = candidates.into_iter().find_map(|name| {
            let commit = refs.get(&format!("{name}^{{}}")).or_else(|| refs.get(&name))?;
            Some(Revision { reference: Some(name), commit })
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let commit = if is_short_id(revision) { self.abbreviated(revision)? } else { None };
        let commit = commit.ok_or_else(|| RemoteError::NoRevision {
            server: self.transport.server().to_owned(),
            revision: revision.to_owned(),
        })?;
        Ok(Revision { reference: None, commit })
    }

    /// The one commit at the end of a branch, or under a tag, whose id begins so: a server tells no others.
    fn abbreviated(&mut self, start: &str) -> Result<Option<Oid>, RemoteError> {
        let start = start.to_ascii_lowercase();
        let refs = self.refs(&["refs/heads/", "refs/tags/"])?;
        let ids = refs.iter().filter_map(|(name, id)| {
            let peeled = format!("{name}^{{}}");
            (refs.get(&peeled).is_none() && id.to_string().starts_with(&start)).then_some(id)
        });
        let found: BTreeSet<Oid> = ids.collect();
        Ok(found.first().copied().filter(|_| found.len() == 1))
    }

    /// Fetches the objects, and what they need, into the repository. Objects that no ref points to
    /// can be asked for where [`Self::allows_any_object`] says so.
    pub fn fetch(
        &mut self,
        into: &Repository,
        wants: &[Oid],
        narrowing: Narrowing,
    ) -> Result<Fetched, RemoteError> {
        let greeting = started(&mut *self.transport, &mut self.upload, Service::UploadPack)?;
        let fetched = fetch::fetch(&mut *self.transport, greeting, into, wants, narrowing);
        // Version 0 ends with the pack.
        if greeting.version != 2 && !self.transport.is_stateless() {
            self.upload = None;
        }
        fetched
    }

    /// Fetches the commit of a revision, without history, unless the repository has it already.
    pub fn fetch_revision(&mut self, revision: &str, into: &Repository) -> Result<Oid, RemoteError> {
        let commit = self.resolve(revision)?.commit;
        if into.find_commit(commit).is_err() {
            self.fetch(into, &[commit], Narrowing { shallow: true, blobless: false })?;
        }
        Ok(commit)
    }

    /// Whether [`Self::fetch`] may ask for objects that no ref points to, such as single files.
    pub fn allows_any_object(&mut self) -> Result<bool, RemoteError> {
        let greeting = started(&mut *self.transport, &mut self.upload, Service::UploadPack)?;
        Ok(fetch::allows_any_object(greeting))
    }

    /// What an SSH server tells someone who logs in and asks for nothing: forges greet by name.
    pub fn login_words(&mut self) -> Option<String> {
        self.transport.login_words()
    }

    /// Moves one ref. A refusal by the server is not an error here: see [`Pushed::rejection`].
    pub fn push(&mut self, request: &PushRequest<'_>) -> Result<Pushed, RemoteError> {
        started(&mut *self.transport, &mut self.receive, Service::ReceivePack)?;
        // The service ends with its answer.
        let greeting = self.receive.take().unwrap_or_default();
        push::push(&mut *self.transport, &greeting, request)
    }
}

fn started<'a>(
    transport: &mut dyn Transport,
    greeting: &'a mut Option<Greeting>,
    service: Service,
) -> Result<&'a Greeting, RemoteError> {
    let found = if let Some(known) = greeting.take() {
        known
    } else {
        let read = Greeting::read(&mut *transport.greet(service)?);
        let new = read.map_err(|error| explain(transport, service, error))?;
        fetch::check_object_format(&new, transport.server())?;
        new
    };
    Ok(greeting.insert(found))
}

/// As git abbreviates ids by itself.
fn is_short_id(text: &str) -> bool {
    (7..40).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn object_id(text: &str) -> Option<Oid> {
    let full = text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit());
    full.then(|| Oid::from_str(text).ok())?
}
