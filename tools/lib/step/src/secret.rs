//! Secrets, and keeping them out of what is printed.

use std::fmt;
use std::path::Path;

/// A password, token or private key. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, to hand to a server; never to print.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a variable stands for: its text, or the content of the file it names.
///
/// GitLab variables of type *file* hold a path, ordinary ones the text itself. A value that is
/// an absolute path to a file that can be read is taken as the file's content.
pub fn text_or_file(value: &str) -> std::io::Result<String> {
    let path = Path::new(value);
    if !value.contains('\n') && path.is_absolute() && path.is_file() {
        std::fs::read_to_string(path)
    } else {
        Ok(value.to_owned())
    }
}

/// The text with the `user:password@` of every URL in it removed.
pub fn without_credentials(text: &str) -> String {
    with_urls(text, |url, out| out.push_str(url))
}

/// The text with its URLs written anew: `write` is given what follows `://`, without the `user:password@`.
pub fn with_urls(text: &str, write: impl Fn(&str, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| "'\"`<>".contains(c) || c.is_whitespace()).unwrap_or(tail.len());
        let (url, behind) = tail.split_at(end);
        write(split_userinfo(url).1, &mut out);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The same for a text that is one URL, or was meant to be: all of it, blanks and quotes too, may be a password.
pub fn url_without_credentials(url: &str) -> String {
    if let Some((scheme, rest)) = url.split_once("://") {
        return format!("{scheme}://{}", split_userinfo(rest).1);
    }
    // `user:password@host/path`, whose scheme was forgotten; `user@host:path` is SSH's.
    let (authority, path) = url.find('/').map_or((url, ""), |slash| url.split_at(slash));
    match authority.rsplit_once('@') {
        Some((userinfo, host)) if userinfo.contains(':') => format!("{host}{path}"),
        _ => url.to_owned(),
    }
}

/// What stands before the host of a URL, and the rest; `url` is what follows `://`.
///
/// By RFC 3986 (3.2) the userinfo ends before the first `/`, `?` or `#`. People put passwords there as they are: where a
/// colon was begun and an `@` comes later, all before that is taken for one, and a host with a port and such a path for
/// nothing better.
pub fn split_userinfo(url: &str) -> (&str, &str) {
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    let at = match authority.rfind('@') {
        None if authority.contains(':') => url.rfind('@'),
        at => at,
    };
    at.map_or(("", url), |at| (&url[..at], &url[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_every_url() {
        let text = "can't fetch https://u:p%40@host.test/x@y and ssh://git@[::1]:22/r";
        assert_eq!(without_credentials(text), "can't fetch https://host.test/x@y and ssh://[::1]:22/r");
    }

    #[test]
    fn a_password_may_have_any_character() {
        for url in [
            "https://u:SE/CRET@host.test/x",
            "https://u:SE#CRET@host.test/x",
            "https://u:1/SECRET@host.test/x",
        ] {
            assert_eq!(without_credentials(&format!("`{url}` is")), "`https://host.test/x` is");
        }
        for secret in ["SE CRET", "SE\"CRET", "SE`CRET", "SE?CRET"] {
            let url = url_without_credentials(&format!("https://u:{secret}@host.test:1/x"));
            assert_eq!(url, "https://host.test:1/x");
        }
        assert_eq!(url_without_credentials("u:SECRET@host.test/x"), "host.test/x");
        for other in ["git@host.test:g/p", "host.test:g/p", "/srv/a:b@c", "https://host.test:8443/x"] {
            assert_eq!(url_without_credentials(other), other);
        }
    }

    #[test]
    fn a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
