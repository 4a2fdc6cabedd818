//! Which forge a server is: by its name, its Git, its greeting, or its API.

use git_remote::{HttpClient, Remote, RemoteUrl, Scheme, Settings};
use step::{Failure, FailureKind};

use super::Forge;

/// The forge as far as it can be told without logging in. A path on this machine has none.
pub fn before_login(url: &RemoteUrl, settings: &Settings, gitlab_host: Option<&str>) -> Option<Forge> {
    match url.scheme() {
        Scheme::Local(_) => Some(Forge::None),
        Scheme::Ssh { host, .. } => by_name(host, gitlab_host),
        Scheme::Http { base, host, encrypted, .. } => {
            by_name(host, gitlab_host).or_else(|| by_api(settings, base, host, *encrypted))
        }
    }
}

/// The forge, from the server's Git or its greeting. A server that can't be told is refused: a push
/// without a merge request would look done.
pub fn after_login(url: &RemoteUrl, remote: &mut Remote) -> Result<Forge, Failure> {
    let (_, capabilities) = remote.push_side()?;
    // GitLab runs a Git of its own, whose version says so: `git/2.47.0.gl1`.
    if capabilities.value("agent").is_some_and(|agent| agent.contains(".gl")) {
        return Ok(Forge::Gitlab);
    }
    let found = remote.login_words().as_deref().and_then(by_greeting);
    found.ok_or_else(|| {
        let host = url.host().unwrap_or_default();
        Failure::message(FailureKind::Usage, format!("can't tell which forge {host} is"))
            .hint("--forge gitlab, gitea, github, or none to push a branch without a merge request")
    })
}

fn by_name(host: &str, gitlab_host: Option<&str>) -> Option<Forge> {
    let host = host.to_lowercase();
    let has_label = |name: &str| host.split('.').any(|label| label == name);
    if gitlab_host.is_some_and(|gitlab| gitlab.eq_ignore_ascii_case(&host)) || has_label("gitlab") {
        Some(Forge::Gitlab)
    } else if has_label("github") {
        Some(Forge::Github)
    } else if host == "codeberg.org" || has_label("gitea") || has_label("forgejo") {
        Some(Forge::Gitea)
    } else {
        None
    }
}

/// What forges tell a user who logs in over SSH without a command.
fn by_greeting(words: &str) -> Option<Forge> {
    let says = |name: &str| words.contains(name);
    if says("Gitea") || says("Forgejo") {
        Some(Forge::Gitea)
    } else if says("GitLab") {
        Some(Forge::Gitlab)
    } else if says("GitHub") {
        Some(Forge::Github)
    } else {
        None
    }
}

/// Each forge's API has a version at a place of its own; no token is needed to see which is there.
fn by_api(settings: &Settings, base: &str, host: &str, encrypted: bool) -> Option<Forge> {
    let origin = url::Url::parse(base).ok()?.origin().ascii_serialization();
    let client = HttpClient::to(settings, host, encrypted).ok()?;
    let is_json = |path: &str, statuses: &[u16]| {
        let reply = client.send("GET", &format!("{origin}{path}"), &[("Accept", "application/json")], &[]);
        reply.is_ok_and(|reply| statuses.contains(&reply.status) && reply.body.trim_start().starts_with('{'))
    };
    if is_json("/api/v1/version", &[200]) {
        Some(Forge::Gitea)
    } else if is_json("/api/v4/version", &[200, 401]) {
        Some(Forge::Gitlab)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_greetings() {
        assert_eq!(by_name("gitlab.com", None), Some(Forge::Gitlab));
        assert_eq!(by_name("code.corp.test", Some("code.corp.test")), Some(Forge::Gitlab));
        assert_eq!(by_name("github.com", None), Some(Forge::Github));
        assert_eq!(by_name("code.corp.test", None), None);
        assert_eq!(by_name("notgitlab.test", None), None);
        assert_eq!(by_greeting("Welcome to GitLab, @ann!"), Some(Forge::Gitlab));
        assert_eq!(
            by_greeting(
                "Hi there, bot! You've successfully authenticated, but Gitea does not provide shell access."
            ),
            Some(Forge::Gitea)
        );
        assert_eq!(by_greeting("fatal: Interactive git shell is not enabled."), None);
    }
}
