//! What a registry's no stands for.

use reqwest::{Response, StatusCode, Url};

use super::{Repository, retry};
use crate::error::PushError;

impl Repository {
    /// The error that an answer stands for.
    pub(super) async fn refused(&self, doing: &str, answer: Response) -> PushError {
        let status = answer.status();
        let host = |url: &Url| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", url.host_str().unwrap_or_default())
        };
        let elsewhere = Some(answer.url()).filter(|url| !self.is_ours(url)).map(host);
        let said = self.body(answer).await.map(|body| words(&body)).unwrap_or_default();
        let refused = |message: String| PushError::Refused {
            registry: self.registry.clone(),
            repository: self.path.clone(),
            message: message.trim_end().to_owned(),
        };
        match (status, elsewhere) {
            // Our credentials were not sent there, so that others would not help.
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(host)) => {
                refused(format!("{doing}: {host}, where it sent us, answers {status} {said}"))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => self.unauthorized(&said),
            (status, _) if retry::may_pass(status) => {
                PushError::unreachable(&self.registry, format!("answers {status}"))
            }
            (status, _) => refused(format!("{doing}: {status} {said}")),
        }
    }

    /// The error for credentials that were refused, or were not there.
    pub fn unauthorized(&self, said: &str) -> PushError {
        let tried = self.credentials.as_ref().map_or_else(
            || "a request without credentials".to_owned(),
            |credentials| {
                let user =
                    if credentials.is_identity_token { "an identity token" } else { &credentials.username };
                format!("the user {user} (from {})", credentials.source)
            },
        );
        PushError::Unauthorized {
            registry: self.registry.clone(),
            repository: self.path.clone(),
            tried,
            said: if said.is_empty() { String::new() } else { format!(": {said}") },
        }
    }

    /// The error for an answer that no registry should give.
    pub(super) fn protocol(&self, what: &str) -> PushError {
        PushError::Refused {
            registry: self.registry.clone(),
            repository: self.path.clone(),
            message: format!("the registry gave {what}"),
        }
    }
}

/// The message of a registry's error document, or the start of what it said instead, on one line.
fn words(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|document| {
        let error = document.get("errors")?.get(0)?;
        let text = |key| error.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        Some(format!("{} {}", text("code"), text("message")))
    });
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
