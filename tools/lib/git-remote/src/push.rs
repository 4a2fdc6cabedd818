//! Pushing one ref: the command, the options, a pack, and what the server makes of it.

use std::io::{self, Read};

use git2::Oid;

use crate::RemoteError;
use crate::advertisement::Greeting;
use crate::packet::{self, Band, MAX_PAYLOAD, Packet};
use crate::transport::{Service, Transport, explain};

/// One ref to be moved, exactly from where it is known to be.
#[derive(Debug)]
pub struct PushRequest<'a> {
    /// The full name of the ref.
    pub reference: &'a str,
    /// What the ref points to now, or zero if it must not exist; the server refuses if it moved.
    pub old: Oid,
    /// What it will point to; the same as `old` moves nothing, but the server's hooks see the options.
    pub new: Oid,
    /// Push options, each at most 65,516 bytes without newlines.
    pub options: &'a [String],
    /// The objects that the server lacks.
    pub pack: &'a [u8],
}

/// What the server made of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Why the ref was not moved, in the server's words; `None` if it was.
    pub rejection: Option<String>,
    /// Everything it said besides, as bytes, whole.
    pub messages: Vec<u8>,
}

pub(crate) fn push(
    transport: &mut dyn Transport,
    greeting: &Greeting,
    request: &PushRequest<'_>,
) -> Result<Pushed, RemoteError> {
    let server = transport.server().to_owned();
    let refuse = |reason: &str| RemoteError::Refused { server: server.clone(), reason: reason.to_owned() };
    let capabilities = &greeting.capabilities;
    for needed in ["report-status", "side-band-64k"] {
        if !capabilities.has(needed) {
            return Err(refuse(&format!("it lacks the capability {needed}")));
        }
    }
    if !request.options.is_empty() && !capabilities.has("push-options") {
        return Err(refuse("it does not take push options (receive.advertisePushOptions is off)"));
    }
    if let Some(long) = request.options.iter().find(|option| option.len() > MAX_PAYLOAD) {
        let name = long.split('=').next().unwrap_or_default();
        return Err(refuse(&format!("the push option {name} is over Git's limit of {MAX_PAYLOAD} bytes")));
    }
    let body = body(request, capabilities.has("ofs-delta"));
    let answer = transport.ask(Service::ReceivePack, &body)?;
    match read_answer(answer, request.reference) {
        Ok(pushed) => Ok(pushed),
        Err(error) => Err(explain(transport, Service::ReceivePack, error)),
    }
}

fn body(request: &PushRequest<'_>, ofs_delta: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(request.pack.len() + 1024);
    let mut features = "report-status side-band-64k".to_owned();
    if ofs_delta {
        features.push_str(" ofs-delta");
    }
    if !request.options.is_empty() {
        features.push_str(" push-options");
    }
    let agent = concat!("agent=gitops-steps/", env!("CARGO_PKG_VERSION"));
    let command = format!("{} {} {}\0 {features} {agent}", request.old, request.new, request.reference);
    packet::append(&mut body, command);
    packet::append_flush(&mut body);
    if !request.options.is_empty() {
        for option in request.options {
            packet::append(&mut body, option);
        }
        packet::append_flush(&mut body);
    }
    body.extend_from_slice(request.pack);
    body
}

/// Both bands to their ends; the report comes in packets of its own inside the first. What ends before its end mark has
/// been cut off: the ref may have moved, and the hook that makes a merge request may not have run.
fn read_answer(mut answer: Box<dyn Read + '_>, reference: &str) -> io::Result<Pushed> {
    let (mut report, mut messages) = (Vec::new(), Vec::new());
    let mut fatal = None;
    loop {
        match packet::read(&mut answer)? {
            Some(Packet::Data(payload)) => match packet::band(&payload) {
                Some((Band::Data, part)) => report.extend_from_slice(part),
                Some((Band::Message, part)) => messages.extend_from_slice(part),
                Some((Band::Fatal, words)) => fatal = Some(String::from_utf8_lossy(words).trim().to_owned()),
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without sideband")),
            },
            None if fatal.is_none() => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => break,
        }
    }
    if let Some(words) = fatal {
        return Ok(Pushed { rejection: Some(words), messages });
    }
    Ok(Pushed { rejection: rejection(&report, reference)?, messages })
}

/// `unpack ok`, then `ok REF` or `ng REF REASON`. Nothing about the ref is not a success.
fn rejection(mut report: &[u8], reference: &str) -> io::Result<Option<String>> {
    let mut unpacked = None;
    while let Some(packet) = packet::read(&mut report)? {
        let Packet::Data(payload) = packet else { break };
        let text = String::from_utf8_lossy(packet::line(&payload)).into_owned();
        if let Some(result) = text.strip_prefix("unpack ") {
            unpacked = Some(result.to_owned());
        } else if text.strip_prefix("ok ") == Some(reference) {
            return Ok(None);
        } else if let Some(rest) = text.strip_prefix("ng ").and_then(|rest| rest.strip_prefix(reference)) {
            return Ok(Some(rest.trim().to_owned()));
        }
    }
    let reason = unpacked.filter(|result| result != "ok");
    Ok(Some(reason.unwrap_or_else(|| "the server reports nothing about it".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Vec<u8> {
        let mut report = Vec::new();
        for line in lines {
            packet::append(&mut report, line);
        }
        packet::append_flush(&mut report);
        report
    }

    #[test]
    fn only_an_ok_for_the_ref_is_one() {
        let read = |lines: &[&str]| rejection(&report(lines), "refs/heads/b").unwrap();
        assert_eq!(read(&["unpack ok\n", "ok refs/heads/b\n"]), None);
        let declined = "pre-receive hook declined".to_owned();
        assert_eq!(read(&["unpack ok\n", "ng refs/heads/b pre-receive hook declined\n"]), Some(declined));
        assert!(read(&["unpack ok\n", "ok refs/heads/bb\n"]).is_some());
        assert_eq!(read(&["unpack index-pack failed\n"]), Some("index-pack failed".to_owned()));
    }

    #[test]
    fn messages_are_joined_across_packets() {
        let mut answer = Vec::new();
        packet::append(&mut answer, b"\x02View merge requ");
        packet::append(&mut answer, b"\x02est\n");
        let mut carried = vec![1];
        carried.extend(report(&["unpack ok\n", "ok refs/heads/b\n"]));
        packet::append(&mut answer, carried);
        packet::append_flush(&mut answer);
        let pushed = read_answer(Box::new(answer.as_slice()), "refs/heads/b").unwrap();
        assert_eq!(pushed, Pushed { rejection: None, messages: b"View merge request\n".to_vec() });
        // Without the end mark.
        let cut_off = &answer[..answer.len() - 4];
        assert!(read_answer(Box::new(cut_off), "refs/heads/b").is_err());
    }
}
