//! Which characters may stand where.

/// The longest tag, in characters.
pub const MAX_TAG_LENGTH: usize = 128;

/// The longest repository name without its registry, in characters.
const MAX_PATH_LENGTH: usize = 255;

/// Whether the text is a tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= MAX_TAG_LENGTH
        && bytes.first().copied().is_some_and(word)
        && bytes.iter().all(|&c| word(c) || c == b'.' || c == b'-')
}

/// Whether the text is a repository, with or without a registry in front.
pub fn is_repository(text: &str) -> bool {
    let (registry, path) = split_registry(text);
    registry.is_none_or(is_registry) && is_path(path)
}

/// The registry in front of a name, by docker's rule: the part before the first slash is a
/// registry if it has a dot or a colon, is `localhost`, or has an upper-case letter.
pub(crate) fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
pub(crate) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Path components of lower-case letters and digits, joined by `.`, `_`, `__` or hyphens.
pub(crate) fn is_path(text: &str) -> bool {
    text.len() <= MAX_PATH_LENGTH && text.split('/').all(is_path_component)
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends =
        bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let separators =
        text.split(|c: char| c.is_ascii() && alphanumeric(c as u8)).filter(|run| !run.is_empty());
    let separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|c| c == b'-');
    ends && { separators }.all(separator)
}

/// `algorithm:hex`; of the registered algorithms the length is checked too.
pub(crate) fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let lower_hex = |hex: &str| hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    match algorithm {
        "sha256" => hex.len() == 64 && lower_hex(hex),
        "sha512" => hex.len() == 128 && lower_hex(hex),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for good in ["latest", "4b1c9e2", "_x", "v1.2-rc.1", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".x", "-x", "a b", "a/b", "é", "٣", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }

    #[test]
    fn repositories() {
        for good in [
            "app",
            "library/app",
            "localhost/app",
            "127.0.0.1:5000/a/b",
            "[::1]:5000/app",
            "r.test/a__b/c-d.e",
            "a--b",
        ] {
            assert!(is_repository(good), "{good}");
        }
        for bad in ["", "App", "a//b", "a/", "-a", "a___b", "a..b", "r.test:x/app", "[::1/app", "é"] {
            assert!(!is_repository(bad), "{bad}");
        }
    }
}
