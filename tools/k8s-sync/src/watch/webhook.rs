//! Push webhooks of GitLab, Gitea and GitHub: whether a call is genuine, and which repository it is about.

use std::collections::HashSet;

use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use serde_json::Value;
use sha2::Sha256;
use step::Secret;
use subtle::ConstantTimeEq as _;

/// Whether a call carries the secret: GitLab sends it as it is, the others sign the body with it (HMAC-SHA-256).
pub fn is_genuine(headers: &HeaderMap, body: &[u8], secret: &Secret) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = header("x-gitlab-token") {
        // Of two digests, so that not even the length can be found out.
        return sign(token.as_bytes(), secret).ct_eq(&sign(secret.expose().as_bytes(), secret)).into();
    }
    let github = header("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="));
    github
        .or_else(|| header("x-gitea-signature"))
        .and_then(bytes)
        .is_some_and(|signature| bool::from(sign(body, secret).ct_eq(signature.as_slice())))
}

fn sign(text: &[u8], secret: &Secret) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The paths of the repository in a push event.
pub fn repositories(body: &[u8]) -> HashSet<String> {
    const FIELDS: [&str; 8] = [
        "/project/git_http_url",
        "/project/git_ssh_url",
        "/repository/git_http_url",
        "/repository/git_ssh_url",
        "/repository/clone_url",
        "/repository/ssh_url",
        "/repository/html_url",
        "/repository/url",
    ];
    // GitHub sends a form unless it is told not to.
    let mut form = url::form_urlencoded::parse(body);
    let payload = if body.starts_with(b"payload=") { form.next().map(|(_, value)| value) } else { None };
    let body = payload.as_ref().map_or(body, |payload| payload.as_bytes());
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    FIELDS.iter().filter_map(|field| event.pointer(field)?.as_str()).map(path).collect()
}

/// The path of a repository's URL: a forge has several names for itself, and a pod may use yet another.
pub fn path(url: &str) -> String {
    let url = url.trim_end_matches('/').trim_end_matches(".git");
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    path.trim_matches('/').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn only_the_secret_opens() {
        let secret = Secret::new("It's a Secret to Everybody");
        // GitHub's own example of a signature.
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = b"Hello, World!";
        let genuine = |name, value: &str, body: &[u8]| is_genuine(&headers(name, value), body, &secret);
        assert!(genuine("x-hub-signature-256", &format!("sha256={signature}"), body));
        assert!(genuine("x-gitea-signature", signature, body));
        assert!(genuine("x-gitlab-token", "It's a Secret to Everybody", body));
        assert!(!genuine("x-gitlab-token", "It's a Secret", body));
        assert!(!genuine("x-gitea-signature", signature, b"Hello, World?"));
        assert!(!genuine("x-gitea-signature", "", body));
        assert!(!genuine("x-gitea-signature", "é", body));
        assert!(!is_genuine(&HeaderMap::new(), body, &secret));
    }

    #[test]
    fn a_repository_is_known_by_each_of_its_urls() {
        for url in [
            "https://git.test/team/app.git",
            "ssh://git@git.test:2222/team/app",
            "git@git.test:team/App.git",
            "https://git.test/team/app/",
        ] {
            assert_eq!(path(url), "team/app", "{url}");
        }
        let event = br#"{"repository": {"clone_url": "https://git.test/team/app.git"}}"#;
        assert!(repositories(event).contains("team/app"));
        let form = b"payload=%7B%22repository%22%3A+%7B%22html_url%22%3A+%22https%3A%2F%2Fgit.test%2Fteam%2Fapp%22%7D%7D";
        assert!(repositories(form).contains("team/app"));
        assert!(repositories(b"no event").is_empty());
    }
}
