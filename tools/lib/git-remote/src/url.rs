//! Where a repository is: `ssh://`, `host:path`, `http(s)://`, `file://` or a path, as git reads them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use step::{Secret, split_userinfo, url_without_credentials};

use crate::RemoteError;

/// A repository's URL, taken apart. `Display` shows it without password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    text: String,
    scheme: Scheme,
}

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// An SSH server.
    Ssh {
        /// The account there, `git` where the URL names none.
        user: String,
        /// Host name or address, without brackets.
        host: String,
        /// TCP port.
        port: u16,
        /// The path that the server's Git is given.
        path: String,
    },
    /// An HTTP server.
    Http {
        /// The URL without userinfo and without a slash at the end.
        base: String,
        /// Host name or address as the URL has it.
        host: String,
        /// Port, where the URL has one.
        port: Option<u16>,
        /// Whether it is HTTPS.
        encrypted: bool,
        /// The user in the URL.
        user: Option<String>,
        /// The password in the URL.
        password: Option<Secret>,
    },
    /// A repository on this machine.
    Local(PathBuf),
}

impl RemoteUrl {
    /// How the repository is reached.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The server's host name; none for a local path.
    pub fn host(&self) -> Option<&str> {
        match &self.scheme {
            Scheme::Ssh { host, .. } | Scheme::Http { host, .. } => Some(host),
            Scheme::Local(_) => None,
        }
    }

    /// Where an HTTP server's pages begin: the URL without its path.
    pub fn pages(&self) -> Option<String> {
        match &self.scheme {
            Scheme::Http { base, .. } => Some(url::Url::parse(base).ok()?.origin().ascii_serialization()),
            Scheme::Ssh { .. } | Scheme::Local(_) => None,
        }
    }

    /// The repository's path on its server, without slashes around it and without `.git`.
    pub fn project(&self) -> Option<String> {
        let path = match &self.scheme {
            Scheme::Ssh { path, .. } => path.clone(),
            Scheme::Http { base, .. } => url::Url::parse(base).ok()?.path().to_owned(),
            Scheme::Local(_) => return None,
        };
        let path = path.trim_matches('/');
        Some(path.strip_suffix(".git").unwrap_or(path).to_owned())
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let shown = shown(text);
        let wrong = |reason| RemoteError::Url { url: shown.clone(), reason };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.contains(['\n', '\r', '\0']) {
            return Err(wrong("it has a control character"));
        }
        let scheme = match text.split_once("://") {
            Some(("file", path)) => Scheme::Local(PathBuf::from(path)),
            Some(_) => with_scheme(text).map_err(wrong)?,
            None if shown != text => return Err(wrong("it has a password, and no https:// in front")),
            None => match scp_like(text) {
                Some((user, host, path)) => ssh(user, host, 22, path).map_err(wrong)?,
                None => Scheme::Local(PathBuf::from(text)),
            },
        };
        Ok(Self { text: shown, scheme })
    }
}

/// The URL as it may be printed: an SSH user is part of the name, a password is not.
fn shown(text: &str) -> String {
    match text.split_once("://") {
        Some(("ssh" | "git+ssh" | "ssh+git", rest)) => {
            let (userinfo, behind) = split_userinfo(rest);
            let user = userinfo.split(':').next().unwrap_or_default();
            let at = if user.is_empty() { "" } else { "@" };
            format!("ssh://{user}{at}{behind}")
        }
        _ => url_without_credentials(text),
    }
}

fn with_scheme(text: &str) -> Result<Scheme, &'static str> {
    let url = url::Url::parse(text).map_err(|_| "it can't be parsed")?;
    let host = url.host_str().ok_or("it has no host")?.to_owned();
    let decode = |part: &str| percent_decoded(part);
    match url.scheme() {
        "ssh" | "git+ssh" | "ssh+git" => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let path = decode(url.path());
            // `ssh://host/~user/repo` is the one form whose slash is not part of the path.
            let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
            ssh(Some(&decode(url.username())), host, url.port().unwrap_or(22), &path)
        }
        "http" | "https" => {
            let mut base = url.clone();
            base.set_username("").map_err(|()| "it can't carry a user")?;
            base.set_password(None).map_err(|()| "it can't carry a password")?;
            base.set_fragment(None);
            Ok(Scheme::Http {
                base: base.as_str().trim_end_matches('/').to_owned(),
                host,
                port: url.port(),
                encrypted: url.scheme() == "https",
                user: Some(decode(url.username())).filter(|user| !user.is_empty()),
                password: url.password().map(|password| Secret::new(decode(password))),
            })
        }
        "git" => Err("git:// has neither encryption nor authentication; use SSH or HTTPS"),
        _ => Err("its scheme is none of ssh, https, http and file"),
    }
}

/// `[user@]host:path`, where no slash stands before the colon.
fn scp_like(text: &str) -> Option<(Option<&str>, &str, &str)> {
    let after_host = if let Some(bracket) = text.find("]:") { bracket + 1 } else { text.find(':')? };
    let (authority, path) = (&text[..after_host], &text[after_host + 1..]);
    if authority.contains('/') || authority.is_empty() {
        return None;
    }
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    Some((user, host.trim_start_matches('[').trim_end_matches(']'), path))
}

fn ssh(user: Option<&str>, host: &str, port: u16, path: &str) -> Result<Scheme, &'static str> {
    if host.is_empty() || host.starts_with('-') {
        return Err("it has no host");
    }
    if path.trim_matches('/').is_empty() || path.starts_with('-') {
        return Err("it has no path");
    }
    let user = user.filter(|user| !user.is_empty()).unwrap_or("git");
    Ok(Scheme::Ssh { user: user.to_owned(), host: host.to_owned(), port, path: path.to_owned() })
}

fn percent_decoded(text: &str) -> String {
    let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', Some(byte)) = (first, tail.get(..2).and_then(hex)) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> RemoteUrl {
        text.parse().unwrap()
    }

    fn ssh_parts(text: &str) -> (String, String, u16, String) {
        match parse(text).scheme() {
            Scheme::Ssh { user, host, port, path } => (user.clone(), host.clone(), *port, path.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ssh_in_both_spellings() {
        let parts = |user: &str, host: &str, port, path: &str| (user.into(), host.into(), port, path.into());
        assert_eq!(ssh_parts("git@h.test:g/p.git"), parts("git", "h.test", 22, "g/p.git"));
        assert_eq!(ssh_parts("h.test:/abs"), parts("git", "h.test", 22, "/abs"));
        assert_eq!(ssh_parts("ssh://bot@h.test:2222/g/p.git"), parts("bot", "h.test", 2222, "/g/p.git"));
        assert_eq!(ssh_parts("ssh://[::1]:22/~bot/p"), parts("git", "::1", 22, "~bot/p"));
        assert_eq!(ssh_parts("[::1]:p"), parts("git", "::1", 22, "p"));
    }

    #[test]
    fn paths_are_local() {
        assert_eq!(parse("./a:b").scheme(), &Scheme::Local("./a:b".into()));
        assert_eq!(parse("file:///srv/p.git").scheme(), &Scheme::Local("/srv/p.git".into()));
        assert_eq!(parse("/srv/p.git").scheme(), &Scheme::Local("/srv/p.git".into()));
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = parse("https://oauth2:s3cr%40t@h.test/g/p.git/");
        assert_eq!(url.to_string(), "https://h.test/g/p.git/");
        assert_eq!(url.project().as_deref(), Some("g/p"));
        let Scheme::Http { base, password, .. } = url.scheme() else { panic!() };
        assert_eq!(base, "https://h.test/g/p.git");
        assert_eq!(password.as_ref().unwrap().expose(), "s3cr@t");
        assert_eq!(parse("ssh://git:pw@h.test/p").to_string(), "ssh://git@h.test/p");
        for meant in [
            "https://u:SE/CRET@h.test/p",
            "u:SECRET@h.test/p",
            "ssh://u:SE/CRET@h.test/p",
            "https://u:SE CRET@h.test/p",
        ] {
            let told =
                meant.parse::<RemoteUrl>().map_or_else(|error| error.to_string(), |url| url.to_string());
            assert!(!told.contains("CRET") && told.contains("h.test/p"), "{told}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["", "git://h.test/p", "ftp://h.test/p", "ssh://h.test", "-oProxyCommand=x:p", "a\nb"] {
            assert!(bad.parse::<RemoteUrl>().is_err(), "{bad}");
        }
    }
}
