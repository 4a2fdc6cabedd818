//! What a registry wants to see before it answers: Basic, or a token from a realm that it names.
//!
//! The "Token Authentication Specification" and its successor with `OAuth2`, of the distribution project.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use step::Secret;

use crate::credentials::Credentials;

/// What stands in `Authorization`, and until when.
#[derive(Clone)]
pub(super) struct Authorization {
    /// The header's value.
    pub header: Secret,
    /// When a new one should be asked for, before the registry says so.
    pub renew: Option<Instant>,
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password.
    Basic,
    /// A token.
    Bearer {
        /// Where to get it.
        realm: Url,
        /// For whom it is.
        service: Option<String>,
    },
}

/// The answer of a token server.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Challenge {
    /// The strongest challenge that we can answer.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(Self::parse).max_by_key(|challenge| matches!(challenge, Self::Bearer { .. }))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let realm = Url::parse(&parameter(parameters, "realm")?).ok()?;
        Some(Self::Bearer { realm, service: parameter(parameters, "service") })
    }
}

/// The value of one of a challenge's parameters (RFC 9110, 11.2), quoted or not.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_matches(|c: char| c == ',' || c.is_whitespace());
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            let (value, next) = quoted.split_once('"')?;
            (value, next)
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim(), &after[end..])
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = next;
    }
}

impl Authorization {
    /// A user name and a password (RFC 7617).
    pub(super) fn basic(credentials: &Credentials) -> Self {
        let pair = format!("{}:{}", credentials.username, credentials.password.expose());
        Self { header: Secret::new(format!("Basic {}", STANDARD.encode(pair))), renew: None }
    }

    /// A token, to be renewed when two thirds of its life are over; without a lifetime it is a minute.
    pub(super) fn token(answer: TokenAnswer) -> Option<Self> {
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
        let life = Duration::from_secs(answer.expires_in.unwrap_or(60).clamp(1, 24 * 3600));
        Some(Self {
            header: Secret::new(format!("Bearer {token}")),
            renew: Some(Instant::now() + life.mul_f64(2.0 / 3.0)),
        })
    }

    /// Whether it is time for a new one.
    pub(super) fn is_old(&self) -> bool {
        self.renew.is_some_and(|renew| renew <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_whatever_their_order() {
        let text = r#"Bearer service="registry.test,a",scope=x,realm="https://auth.test/token?a=b""#;
        let Some(Challenge::Bearer { realm, service }) = Challenge::parse(text) else { panic!() };
        assert_eq!(realm.as_str(), "https://auth.test/token?a=b");
        assert_eq!(service.as_deref(), Some("registry.test,a"));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let answer =
            |expires| TokenAnswer { token: Some("t".into()), access_token: None, expires_in: Some(expires) };
        assert!(!Authorization::token(answer(300)).unwrap().is_old());
        let renew = Authorization::token(answer(2)).unwrap().renew.unwrap();
        assert!(renew < Instant::now() + Duration::from_secs(2));
    }
}
