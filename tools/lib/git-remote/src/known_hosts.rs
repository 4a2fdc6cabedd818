//! Host keys, checked against `known_hosts` files as OpenSSH does it (sshd(8), section
//! "`SSH_KNOWN_HOSTS` FILE FORMAT"): hashed names, `[host]:port`, wildcards, negation and `@revoked`.
//!
//! There is no trust on first use: a key that is not in a file is refused.

use openssl::base64::{decode_block, encode_block};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;

const DEFAULT_PORT: u16 = 22;

/// The content of `known_hosts` files, each with the name that messages call it.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    sources: Vec<(String, String)>,
}

/// Why a server's host key is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyProblem {
    /// No file has a key of this host.
    #[error("the host key of {host} is not known ({algorithm} {fingerprint})")]
    Unknown {
        /// As `known_hosts` writes it.
        host: String,
        /// The key's type.
        algorithm: String,
        /// The key's digest.
        fingerprint: String,
    },
    /// A file has another key of this type for the host.
    #[error(
        "the host key of {host} has changed: the server shows {algorithm} {fingerprint}, {place} has another"
    )]
    Changed {
        /// As `known_hosts` writes it.
        host: String,
        /// The key's type.
        algorithm: String,
        /// The key's digest.
        fingerprint: String,
        /// File and line of the other key.
        place: String,
    },
    /// A file says that this key must not be trusted.
    #[error("the host key of {host} is revoked at {place} ({fingerprint})")]
    Revoked {
        /// As `known_hosts` writes it.
        host: String,
        /// The key's digest.
        fingerprint: String,
        /// File and line.
        place: String,
    },
    /// Only a certificate authority is known for the host.
    #[error(
        "{host} is known by a certificate authority only ({place}), and host certificates are not supported"
    )]
    Authority {
        /// As `known_hosts` writes it.
        host: String,
        /// File and line.
        place: String,
    },
    /// Another key than the pinned one.
    #[error("the host key of {host} is {fingerprint}, not the pinned {pinned}")]
    NotPinned {
        /// As `known_hosts` writes it.
        host: String,
        /// The key's digest.
        fingerprint: String,
        /// The digest asked for.
        pinned: String,
    },
}

impl HostKeyProblem {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unknown { host, .. } => {
                let (name, port) = host
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once("]:"))
                    .unwrap_or((host.as_str(), "22"));
                format!(
                    "run `ssh-keyscan -p {port} {name}` once, compare the fingerprint with the one the server's \
                     operator publishes, and put the line into SSH_KNOWN_HOSTS or --known-hosts"
                )
            }
            Self::Changed { .. } | Self::NotPinned { .. } => {
                "either the server has a new key, which its operator can confirm, or someone is in between"
                    .to_owned()
            }
            Self::Revoked { .. } => "the server must be given a new host key".to_owned(),
            Self::Authority { .. } => {
                "add the server's own host key beside the @cert-authority line".to_owned()
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

struct Entry<'a> {
    marker: Marker,
    hosts: &'a str,
    algorithm: &'a str,
    key: Vec<u8>,
    place: String,
}

impl KnownHosts {
    /// Adds the content of one file or variable.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.sources.push((name.into(), text.into()));
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The key types known for the host, so that the server is asked for one of those first.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<String> {
        let name = known_name(host, port);
        let entries = self.entries();
        let usable = entries.filter(|entry| entry.marker == Marker::None && applies(entry.hosts, &name));
        usable.map(|entry| entry.algorithm.to_owned()).collect()
    }

    /// Whether the key that the server has proved to hold is trusted; `pinned` replaces the files'
    /// trust, but not their revocations.
    pub(crate) fn check(
        &self,
        host: &str,
        port: u16,
        key: &[u8],
        pinned: Option<&str>,
    ) -> Result<(), HostKeyProblem> {
        let name = known_name(host, port);
        let fingerprint = fingerprint(key);
        let algorithm = algorithm_of(key);
        let (mut trusted, mut changed, mut authority) = (false, None, None);
        for entry in self.entries().filter(|entry| applies(entry.hosts, &name)) {
            let same = entry.key == key;
            match entry.marker {
                Marker::Revoked if same => {
                    return Err(HostKeyProblem::Revoked { host: name, fingerprint, place: entry.place });
                }
                Marker::Authority => authority = Some(entry.place),
                Marker::None if same => trusted = true,
                Marker::None if entry.algorithm == algorithm => changed = Some(entry.place),
                Marker::Revoked | Marker::None => {}
            }
        }
        if let Some(pinned) = pinned {
            let same = pinned.trim_end_matches('=') == fingerprint;
            let pinned = pinned.to_owned();
            return if same {
                Ok(())
            } else {
                Err(HostKeyProblem::NotPinned { host: name, fingerprint, pinned })
            };
        }
        match (trusted, changed, authority) {
            (true, ..) => Ok(()),
            (_, Some(place), _) => Err(HostKeyProblem::Changed { host: name, algorithm, fingerprint, place }),
            (_, None, Some(place)) => Err(HostKeyProblem::Authority { host: name, place }),
            (_, None, None) => Err(HostKeyProblem::Unknown { host: name, algorithm, fingerprint }),
        }
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.sources.iter().flat_map(|(name, text)| {
            text.lines()
                .enumerate()
                .filter_map(move |(index, line)| parse_line(line, || format!("{name}:{}", index + 1)))
        })
    }
}

/// OpenSSH ignores lines it can't read, and so does this.
fn parse_line(line: &str, place: impl Fn() -> String) -> Option<Entry<'_>> {
    let mut words = line.split_ascii_whitespace().peekable();
    let marker = match words.peek()? {
        word if word.starts_with('#') => return None,
        &"@revoked" => Marker::Revoked,
        &"@cert-authority" => Marker::Authority,
        word if word.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        words.next();
    }
    let (hosts, algorithm, key) = (words.next()?, words.next()?, words.next()?);
    let key = decode_block(key).ok()?;
    (algorithm_of(&key) == algorithm).then(|| Entry { marker, hosts, algorithm, key, place: place() })
}

/// The key's type, which is the first string in its wire format (RFC 4253, section 6.6).
fn algorithm_of(key: &[u8]) -> String {
    let name = key
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

/// `SHA256:…` as `ssh-keygen -l` prints it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", encode_block(&sha256(key)).trim_end_matches('='))
}

/// The name under which a host stands in the file.
fn known_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == DEFAULT_PORT { host } else { format!("[{host}]:{port}") }
}

fn applies(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut matched = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(&negated.to_lowercase(), name) => return false,
            Some(_) => {}
            None => matched |= matches(&pattern.to_lowercase(), name),
        }
    }
    matched
}

/// `salt|HMAC-SHA1(salt, name)`, both in base64.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, digest) = hashed.split_once('|')?;
    let key = PKey::hmac(&decode_block(salt).ok()?).ok()?;
    let mut signer = Signer::new(MessageDigest::sha1(), &key).ok()?;
    let expected = signer.sign_oneshot_to_vec(name.as_bytes()).ok()?;
    Some(expected == decode_block(digest).ok()?)
}

/// `*` stands for any run of characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', pattern @ ..], _) => (0..=name.len()).any(|taken| rest(pattern, &name[taken..])),
            ([b'?', pattern @ ..], [_, name @ ..]) => rest(pattern, name),
            ([p, pattern @ ..], [n, name @ ..]) if p == n => rest(pattern, name),
            _ => false,
        }
    }
    rest(pattern.as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the given type: its name, and a body that differs by `seed`.
    fn key(algorithm: &str, seed: u8) -> Vec<u8> {
        let mut key = u32::try_from(algorithm.len()).unwrap().to_be_bytes().to_vec();
        key.extend_from_slice(algorithm.as_bytes());
        key.extend_from_slice(&[0, 0, 0, 1, seed]);
        key
    }

    fn ed(seed: u8) -> Vec<u8> {
        key("ssh-ed25519", seed)
    }

    fn line(hosts: &str, key: &[u8]) -> String {
        format!("{hosts} {} {} comment\n", algorithm_of(key), encode_block(key))
    }

    fn hosts(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add("file", text);
        known
    }

    fn check(text: &str, host: &str, port: u16, key: &[u8]) -> Result<(), HostKeyProblem> {
        hosts(text).check(host, port, key, None)
    }

    #[test]
    fn a_known_key_is_trusted_for_its_host_and_port_alone() {
        let plain = line("git.test,10.0.0.1", &ed(1));
        assert_eq!(check(&plain, "GIT.test", 22, &ed(1)), Ok(()));
        assert_eq!(check(&plain, "10.0.0.1", 22, &ed(1)), Ok(()));
        assert!(matches!(check(&plain, "git.test", 2222, &ed(1)), Err(HostKeyProblem::Unknown { .. })));
        let port = line("[git.test]:2222", &ed(1));
        assert_eq!(check(&port, "git.test", 2222, &ed(1)), Ok(()));
        assert!(matches!(check(&port, "git.test", 22, &ed(1)), Err(HostKeyProblem::Unknown { .. })));
    }

    #[test]
    fn wildcards_and_negation() {
        let text = line("*.test,!bad.test", &ed(1));
        assert_eq!(check(&text, "git.test", 22, &ed(1)), Ok(()));
        assert!(check(&text, "bad.test", 22, &ed(1)).is_err());
        assert!(check(&text, "git.example", 22, &ed(1)).is_err());
        assert_eq!(check(&line("gi?.test", &ed(1)), "git.test", 22, &ed(1)), Ok(()));
    }

    #[test]
    fn hashed_names() {
        let salt = [7u8; 20];
        let hash = |name: &str| {
            let key = PKey::hmac(&salt).unwrap();
            let digest = Signer::new(MessageDigest::sha1(), &key).unwrap();
            let digest = { digest }.sign_oneshot_to_vec(name.as_bytes()).unwrap();
            format!("|1|{}|{}", encode_block(&salt), encode_block(&digest))
        };
        let text = line(&hash("git.test"), &ed(1)) + &line(&hash("[git.test]:2222"), &ed(2));
        assert_eq!(check(&text, "git.test", 22, &ed(1)), Ok(()));
        assert_eq!(check(&text, "git.test", 2222, &ed(2)), Ok(()));
        assert!(matches!(check(&text, "git.test", 22, &ed(2)), Err(HostKeyProblem::Changed { .. })));
    }

    #[test]
    fn another_key_of_the_same_type_is_a_change_of_another_type_unknown() {
        let text = "# servers\n\n".to_owned() + &line("git.test", &ed(1));
        let changed = check(&text, "git.test", 22, &ed(2)).unwrap_err();
        assert!(changed.to_string().contains("file:3"), "{changed}");
        let other = check(&text, "git.test", 22, &key("ssh-rsa", 1));
        assert!(matches!(other, Err(HostKeyProblem::Unknown { .. })));
    }

    #[test]
    fn a_revoked_key_is_refused_whatever_else_is_written() {
        let text = line("git.test", &ed(1)) + "@revoked " + &line("*", &ed(1));
        assert!(matches!(check(&text, "git.test", 22, &ed(1)), Err(HostKeyProblem::Revoked { .. })));
        let pinned = fingerprint(&ed(1));
        let result = hosts(&text).check("git.test", 22, &ed(1), Some(&pinned));
        assert!(matches!(result, Err(HostKeyProblem::Revoked { .. })));
    }

    #[test]
    fn an_authority_is_no_key() {
        let text = "@cert-authority ".to_owned() + &line("*.test", &ed(1));
        assert!(matches!(check(&text, "git.test", 22, &ed(2)), Err(HostKeyProblem::Authority { .. })));
        assert!(matches!(check(&text, "git.test", 22, &ed(1)), Err(HostKeyProblem::Authority { .. })));
    }

    #[test]
    fn a_pinned_key_needs_no_file() {
        let pinned = fingerprint(&ed(1));
        assert_eq!(hosts("").check("git.test", 22, &ed(1), Some(&pinned)), Ok(()));
        let other = hosts(&line("git.test", &ed(2))).check("git.test", 22, &ed(2), Some(&pinned));
        assert!(matches!(other, Err(HostKeyProblem::NotPinned { .. })));
    }

    #[test]
    fn unreadable_lines_are_skipped() {
        let lying = format!("git.test ssh-rsa {}\n", encode_block(&ed(1)));
        let text = lying + "git.test ssh-ed25519 !!!\n@unknown x y z\ngit.test\n" + &line("git.test", &ed(1));
        assert_eq!(check(&text, "git.test", 22, &ed(1)), Ok(()));
    }

    #[test]
    fn known_types_are_asked_for_first() {
        let text = line("git.test", &key("ecdsa-sha2-nistp256", 1));
        assert_eq!(hosts(&text).algorithms("git.test", 22), ["ecdsa-sha2-nistp256"]);
    }
}
