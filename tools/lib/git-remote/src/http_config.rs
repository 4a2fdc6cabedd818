//! git's `http.*` configuration for one URL: of `http.<url>.<key>` the best match counts, else `http.<key>`
//! (git-config(1), section "http.<url>.*").

use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel};
use url::Url;

use crate::url::{RemoteUrl, Scheme};

/// The configuration as it is for one URL.
pub(crate) struct HttpConfig {
    config: Option<Config>,
    url: Option<Url>,
}

/// The user's and the machine's configuration, and that of a clone, whose file this is.
pub(crate) fn configuration(of_clone: Option<&Path>) -> Option<Config> {
    let mut config = Config::open_default().ok()?;
    if let Some(file) = of_clone {
        // One that can't be read says nothing.
        let _ = config.add_file(file, ConfigLevel::Local, false);
    }
    Some(config)
}

impl HttpConfig {
    /// The configuration as it is for a repository, or for the API of an SSH server.
    pub(crate) fn open(repository: &RemoteUrl, of_clone: Option<&Path>) -> Self {
        let url = match repository.scheme() {
            Scheme::Http { base, user, .. } => Url::parse(base).ok().map(|mut url| {
                // A URL that is none of a server's can have no user, and needs none.
                let _ = url.set_username(user.as_deref().unwrap_or_default());
                url
            }),
            Scheme::Ssh { host, .. } => Url::parse(&format!("https://{host}/")).ok(),
            Scheme::Local(_) => None,
        };
        Self { config: configuration(of_clone), url }
    }

    /// The value of `http.<key>`.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        let config = self.config.as_ref()?;
        config.get_string(&self.best_name(config, key)).ok()
    }

    /// The value of `http.<key>`, with `~` as git reads it.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        let config = self.config.as_ref()?;
        config.get_path(&self.best_name(config, key)).ok()
    }

    fn best_name(&self, config: &Config, key: &str) -> String {
        let all = format!("http.{key}");
        let Some(url) = &self.url else { return all };
        let suffix = format!(".{}", key.to_lowercase());
        let mut best: Option<(Closeness, String)> = None;
        let Ok(mut entries) = config.entries(Some(r"^http\..+\.[a-z]+$")) else { return all };
        while let Some(Ok(entry)) = entries.next() {
            let Ok(name) = entry.name() else { continue };
            let pattern = name.strip_prefix("http.").and_then(|rest| rest.strip_suffix(&suffix));
            let Some(closeness) = pattern.and_then(|pattern| closeness(pattern, url)) else { continue };
            if best.as_ref().is_none_or(|(known, _)| closeness >= *known) {
                best = Some((closeness, name.to_owned()));
            }
        }
        best.map_or(all, |(_, name)| name)
    }
}

/// How well a pattern matches, in the order in which git weighs it: host, path, user.
type Closeness = (usize, usize, bool);

fn closeness(pattern: &str, url: &Url) -> Option<Closeness> {
    // A `*` in a host is no character of a URL.
    let parsed = Url::parse(&pattern.replace('*', "wildcard-label")).ok()?;
    let same_place =
        parsed.scheme() == url.scheme() && parsed.port_or_known_default() == url.port_or_known_default();
    let (wanted, host) = (parsed.host_str()?, url.host_str()?);
    let labels: Vec<&str> = wanted.split('.').collect();
    let same_host = labels.len() == host.split('.').count()
        && labels
            .iter()
            .zip(host.split('.'))
            .all(|(wanted, label)| *wanted == "wildcard-label" || *wanted == label);
    let path = parsed.path().trim_end_matches('/');
    let below = url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let user = parsed.username();
    let same_user = user.is_empty() || user == url.username();
    let literal = labels.iter().filter(|label| **label != "wildcard-label").map(|label| label.len()).sum();
    (same_place && same_host && below && same_user).then_some((literal, path.len(), !user.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_host_and_what_is_below_its_path() {
        let url = Url::parse("https://git.corp.test/team/app.git").unwrap();
        for pattern in [
            "https://git.corp.test",
            "https://git.corp.test/",
            "https://git.corp.test:443/team",
            "https://*.corp.test/team/app.git",
        ] {
            assert!(closeness(pattern, &url).is_some(), "{pattern}");
        }
        for pattern in [
            "http://git.corp.test",
            "https://git.corp.test:8443",
            "https://corp.test",
            "https://*.test",
            "https://git.corp.test/tea",
            "https://ann@git.corp.test",
            "nonsense",
        ] {
            assert_eq!(closeness(pattern, &url), None, "{pattern}");
        }
    }

    #[test]
    fn the_longest_match_is_the_best() {
        let url = Url::parse("https://ann@git.corp.test/team/app.git").unwrap();
        let ascending = [
            "https://*.corp.test/team/app.git",
            "https://git.corp.test",
            "https://git.corp.test/team",
            "https://ann@git.corp.test/team",
        ];
        assert!(ascending.map(|pattern| closeness(pattern, &url).unwrap()).is_sorted());
    }
}
