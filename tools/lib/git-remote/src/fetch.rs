//! Fetching: a ref list, and one pack of exactly what is asked for.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;

use git2::{Oid, Repository};

use crate::RemoteError;
use crate::advertisement::{Capabilities, Greeting, RefList};
use crate::packet::{self, Band, Packet};
use crate::transport::{Service, Transport, explain};

const AGENT: &str = concat!("agent=gitops-steps/", env!("CARGO_PKG_VERSION"));

/// How little to fetch; what a server can't leave out, it sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// The commits asked for without their history.
    pub shallow: bool,
    /// Commits and trees without files' content.
    pub blobless: bool,
}

/// What a fetch has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// What the server really left out.
    pub narrowing: Narrowing,
    /// The size of the pack, in bytes.
    pub bytes: u64,
}

/// Whether objects may be asked for that no ref points to.
pub(crate) fn allows_any_object(greeting: &Greeting) -> bool {
    greeting.version == 2 || greeting.capabilities.has("allow-reachable-sha1-in-want")
}

/// The server's features for fetching, in the words of version 0.
fn offers(greeting: &Greeting, feature: &str) -> bool {
    let capabilities: &Capabilities = &greeting.capabilities;
    match greeting.version {
        2 => capabilities
            .value("fetch")
            .is_some_and(|list| list.split_ascii_whitespace().any(|word| word == feature)),
        _ => capabilities.has(feature),
    }
}

/// Refuses what libgit2 can't store.
pub(crate) fn check_object_format(greeting: &Greeting, server: &str) -> Result<(), RemoteError> {
    match greeting.capabilities.value("object-format") {
        None | Some("sha1") => Ok(()),
        Some(format) => Err(RemoteError::Refused {
            server: server.to_owned(),
            reason: format!("its objects are named by {format}, and only sha1 is supported"),
        }),
    }
}

/// Asks a server that speaks version 2 for the refs whose names begin with one of the prefixes.
pub(crate) fn refs_request(prefixes: &[&str]) -> Vec<u8> {
    let mut request = Vec::new();
    packet::append(&mut request, "command=ls-refs\n");
    packet::append(&mut request, AGENT);
    packet::append_delimiter(&mut request);
    packet::append(&mut request, "peel\n");
    packet::append(&mut request, "symrefs\n");
    for prefix in prefixes {
        packet::append(&mut request, format!("ref-prefix {prefix}\n"));
    }
    packet::append_flush(&mut request);
    request
}

/// The refs that the request asks for, or the answer to one sent before where it is empty; version 0 has told all refs
/// already.
pub(crate) fn list_refs(
    transport: &mut dyn Transport,
    greeting: &Greeting,
    request: &[u8],
) -> Result<RefList, RemoteError> {
    if greeting.version != 2 {
        return Ok(greeting.refs.clone());
    }
    let answer = transport.ask(Service::UploadPack, request)?;
    let read = read_refs(answer);
    read.map_err(|error| explain(transport, Service::UploadPack, error))
}

/// `OID NAME[ symref-target:NAME][ peeled:OID]`, one a line.
fn read_refs(mut answer: Box<dyn Read + '_>) -> io::Result<RefList> {
    let mut refs = RefList::default();
    while let Some(payload) = data(packet::read(&mut answer)?)? {
        let text = String::from_utf8_lossy(packet::line(&payload)).into_owned();
        let mut words = text.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else { continue };
        // An unborn HEAD has no object.
        let oid = Oid::from_str(id).ok();
        for word in words {
            if let Some(target) = word.strip_prefix("symref-target:").filter(|_| name == "HEAD") {
                refs.set_head(target);
            } else if let Some(peeled) = word.strip_prefix("peeled:").and_then(|id| Oid::from_str(id).ok()) {
                refs.add(&format!("{name}^{{}}"), peeled);
            }
        }
        if let Some(oid) = oid {
            refs.add(name, oid);
        }
    }
    Ok(refs)
}

/// Fetches the objects, and those they need, into the repository.
pub(crate) fn fetch(
    transport: &mut dyn Transport,
    greeting: &Greeting,
    into: &Repository,
    wants: &[Oid],
    asked: Narrowing,
) -> Result<Fetched, RemoteError> {
    let narrowing = Narrowing {
        shallow: asked.shallow && offers(greeting, "shallow"),
        blobless: asked.blobless && offers(greeting, "filter"),
    };
    let request = match greeting.version {
        2 => request_v2(wants, narrowing),
        _ => request_v0(&greeting.capabilities, wants, narrowing),
    };
    let answer = transport.ask(Service::UploadPack, &request)?;
    let bytes = match receive(answer, into, greeting.version == 2, narrowing.shallow) {
        Ok(bytes) => bytes,
        Err(Interrupted::Reading(error)) => return Err(explain(transport, Service::UploadPack, error)),
        Err(Interrupted::Server(reason)) => {
            return Err(RemoteError::Refused { server: transport.server().to_owned(), reason });
        }
        Err(Interrupted::Storing(error)) => return Err(error.into()),
    };
    Ok(Fetched { narrowing, bytes })
}

fn request_v2(wants: &[Oid], narrowing: Narrowing) -> Vec<u8> {
    let mut request = Vec::new();
    packet::append(&mut request, "command=fetch\n");
    packet::append(&mut request, AGENT);
    packet::append_delimiter(&mut request);
    packet::append(&mut request, "ofs-delta\n");
    packet::append(&mut request, "no-progress\n");
    if narrowing.shallow {
        packet::append(&mut request, "deepen 1\n");
    }
    if narrowing.blobless {
        packet::append(&mut request, "filter blob:none\n");
    }
    for want in wants {
        packet::append(&mut request, format!("want {want}\n"));
    }
    packet::append(&mut request, "done\n");
    packet::append_flush(&mut request);
    request
}

fn request_v0(capabilities: &Capabilities, wants: &[Oid], narrowing: Narrowing) -> Vec<u8> {
    let mut features: Vec<&str> = ["side-band-64k", "ofs-delta", "no-progress"].into();
    features.retain(|feature| capabilities.has(feature));
    features.extend(narrowing.shallow.then_some("shallow"));
    features.extend(narrowing.blobless.then_some("filter"));
    features.push(AGENT);
    let mut features = Some(features.join(" "));
    let mut request = Vec::new();
    for want in wants {
        let features = features.take().map(|list| format!(" {list}")).unwrap_or_default();
        packet::append(&mut request, format!("want {want}{features}\n"));
    }
    if narrowing.shallow {
        packet::append(&mut request, "deepen 1\n");
    }
    if narrowing.blobless {
        packet::append(&mut request, "filter blob:none\n");
    }
    packet::append_flush(&mut request);
    packet::append(&mut request, "done\n");
    request
}

enum Interrupted {
    Reading(io::Error),
    Server(String),
    Storing(git2::Error),
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

impl From<git2::Error> for Interrupted {
    fn from(error: git2::Error) -> Self {
        Self::Storing(error)
    }
}

/// Reads everything in front of the pack, then the pack.
fn receive(
    mut answer: Box<dyn Read + '_>,
    into: &Repository,
    version_2: bool,
    mut shallow_info_comes: bool,
) -> Result<u64, Interrupted> {
    let mut shallow = Vec::new();
    loop {
        let payload = match packet::read(&mut answer)? {
            Some(Packet::Data(payload)) => payload,
            // In version 0 the list of shallow commits ends with a flush, in version 2 with a delimiter.
            Some(Packet::Flush) if !version_2 && shallow_info_comes => {
                shallow_info_comes = false;
                continue;
            }
            Some(Packet::Delimiter) => continue,
            _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        };
        let text = String::from_utf8_lossy(packet::line(&payload)).into_owned();
        match text.split_once(' ') {
            Some(("shallow", id)) => shallow.push(id.to_owned()),
            _ if text == "packfile" || text == "NAK" => break,
            _ if matches!(text.as_str(), "shallow-info" | "acknowledgments" | "wanted-refs") => {}
            _ => {
                let start: String = text.chars().take(40).collect();
                let error = io::Error::new(io::ErrorKind::InvalidData, format!("unexpected `{start}`"));
                return Err(error.into());
            }
        }
    }
    let bytes = store_pack(&mut answer, into)?;
    remember_shallow(into.path(), &shallow)?;
    Ok(bytes)
}

fn store_pack(answer: &mut dyn Read, into: &Repository) -> Result<u64, Interrupted> {
    let odb = into.odb()?;
    let mut pack = odb.packwriter()?;
    let mut bytes = 0;
    while let Some(payload) = data(packet::read(answer)?)? {
        match packet::band(&payload) {
            Some((Band::Data, part)) => {
                // libgit2's own words are kept where `io::Error` would hide them.
                pack.write_all(part).map_err(|error| git2::Error::from_str(&error.to_string()))?;
                bytes += part.len() as u64;
            }
            Some((Band::Message, _)) => {}
            Some((Band::Fatal, words)) => {
                return Err(Interrupted::Server(String::from_utf8_lossy(words).trim().to_owned()));
            }
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "a pack without sideband").into()),
        }
    }
    pack.commit()?;
    Ok(bytes)
}

/// Marks commits whose parents are not there, as git does, besides those that are marked already.
fn remember_shallow(git_dir: &Path, commits: &[String]) -> Result<(), Interrupted> {
    if commits.is_empty() {
        return Ok(());
    }
    let (file, new) = (git_dir.join("shallow"), git_dir.join("shallow.new"));
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let marked: BTreeSet<&str> = known.lines().chain(commits.iter().map(String::as_str)).collect();
    let text: String = marked.into_iter().flat_map(|commit| [commit, "\n"]).collect();
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &file));
    written.map_err(|error| Interrupted::Storing(git2::Error::from_str(&error.to_string())))
}

/// The payload, or `None` at the end of a section.
fn data(packet: Option<Packet>) -> io::Result<Option<Vec<u8>>> {
    match packet {
        Some(Packet::Data(payload)) => Ok(Some(payload)),
        Some(_) => Ok(None),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
