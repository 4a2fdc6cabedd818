//! What a registry wants to see before it answers: Basic, or a token from a realm that it names.
//!
//! The "Token Authentication Specification" and its successor with `OAuth2`, of the distribution project.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::Value;
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

/// The answer of a token server. Some leave one of the two names empty, and some write a lifetime that is none.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<Value>,
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

/// The value of one of a challenge's parameters (RFC 9110, 11.2), quoted or not, with blanks around its `=` or without.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_matches(|c: char| c == ',' || c.is_whitespace());
        let after = after.trim_start();
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

/// What stands up to the closing quote, where a backslash takes the next character as it is (RFC 9110, 5.6.4), and what
/// follows it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

impl Authorization {
    /// A user name and a password (RFC 7617).
    pub(super) fn basic(credentials: &Credentials) -> Self {
        let pair = format!("{}:{}", credentials.username, credentials.password.expose());
        Self { header: Secret::new(format!("Basic {}", STANDARD.encode(pair))), renew: None }
    }

    /// A token, to be renewed when two thirds of its life are over; without a lifetime it is a minute, as the specification
    /// says.
    pub(super) fn token(answer: TokenAnswer) -> Option<Self> {
        let token =
            [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty())?;
        let stated = answer.expires_in.and_then(|life| match life {
            Value::Number(seconds) => seconds.as_f64(),
            Value::String(seconds) => seconds.trim().parse().ok(),
            _ => None,
        });
        let life = stated.filter(|seconds| *seconds >= 1.0).unwrap_or(60.0).min(24.0 * 3600.0);
        let life = Duration::from_secs_f64(life);
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
        let text = r#"Bearer realm = "https://auth.test/token" , service="a\"b\\c",scope=x"#;
        let Some(Challenge::Bearer { realm, service }) = Challenge::parse(text) else { panic!() };
        assert_eq!(realm.as_str(), "https://auth.test/token");
        assert_eq!(service.as_deref(), Some(r#"a"b\c"#));
        assert_eq!(Challenge::parse(r#"Bearer realm="https://auth.test/token\"#), None);
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let answer = |expires: u64| TokenAnswer {
            token: Some("t".into()),
            access_token: None,
            expires_in: Some(expires.into()),
        };
        assert!(!Authorization::token(answer(300)).unwrap().is_old());
        let renew = Authorization::token(answer(2)).unwrap().renew.unwrap();
        assert!(renew < Instant::now() + Duration::from_secs(2));
    }
}
