//! pkt-lines (git's `gitprotocol-common.adoc`) and the sideband (`gitprotocol-pack.adoc`).

use std::io::{self, Read};

/// The longest payload: four bytes of the 65520 hold the length.
pub(crate) const MAX_PAYLOAD: usize = 65516;

/// One pkt-line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Data(Vec<u8>),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Appends a payload. The caller keeps it within [`MAX_PAYLOAD`].
pub(crate) fn append(out: &mut Vec<u8>, payload: impl AsRef<[u8]>) {
    let payload = payload.as_ref();
    debug_assert!(payload.len() <= MAX_PAYLOAD, "the length field has four digits");
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

pub(crate) fn append_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

pub(crate) fn append_delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// An `ERR` packet: the server's reason to end the conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ServerError(pub(crate) String);

/// Reads one pkt-line; `None` at the end of the stream. An `ERR` packet is a [`ServerError`].
pub(crate) fn read(reader: &mut dyn Read) -> io::Result<Option<Packet>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let digits = std::str::from_utf8(&length).ok().filter(|text| text.bytes().all(|c| c.is_ascii_hexdigit()));
    let Some(length) = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else {
        let start = String::from_utf8_lossy(&length).into_owned();
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it begins with `{start}`")));
    };
    match length {
        0 => Ok(Some(Packet::Flush)),
        1 => Ok(Some(Packet::Delimiter)),
        2 => Ok(Some(Packet::ResponseEnd)),
        3 => Err(io::Error::new(io::ErrorKind::InvalidData, "a packet of length 3")),
        _ => {
            let mut payload = vec![0; length - 4];
            reader.read_exact(&mut payload)?;
            if let Some(words) = payload.strip_prefix(b"ERR ") {
                return Err(io::Error::other(ServerError(String::from_utf8_lossy(line(words)).into_owned())));
            }
            Ok(Some(Packet::Data(payload)))
        }
    }
}

/// A line of text without its newline.
pub(crate) fn line(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

/// What a multiplexed answer carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Band {
    /// The pack, or the report.
    Data,
    /// Words for the user.
    Message,
    /// The server's last words.
    Fatal,
}

/// Takes the channel off a sideband packet.
pub(crate) fn band(payload: &[u8]) -> Option<(Band, &[u8])> {
    let (channel, rest) = payload.split_first()?;
    let band = match channel {
        1 => Band::Data,
        2 => Band::Message,
        3 => Band::Fatal,
        _ => return None,
    };
    Some((band, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_the_round_trip() {
        let mut bytes = Vec::new();
        append(&mut bytes, "want\n");
        append_delimiter(&mut bytes);
        append(&mut bytes, "");
        append_flush(&mut bytes);
        let mut reader = bytes.as_slice();
        let mut next = || read(&mut reader).unwrap();
        assert_eq!(next(), Some(Packet::Data(b"want\n".to_vec())));
        assert_eq!(next(), Some(Packet::Delimiter));
        assert_eq!(next(), Some(Packet::Data(Vec::new())));
        assert_eq!(next(), Some(Packet::Flush));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        for bad in ["<html>", "0003", "00", "0009abc", "+00a......"] {
            assert!(read(&mut bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
