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
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| "/?#'\"`<>".contains(c) || c.is_whitespace()).unwrap_or(tail.len());
        let authority = &tail[..end];
        out.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
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
    fn a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
