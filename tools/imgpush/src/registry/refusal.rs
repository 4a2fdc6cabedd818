//! What a registry's no stands for.

use reqwest::{Response, StatusCode};

use super::{Repository, retry};
use crate::error::PushError;

impl Repository {
    /// The error that an answer stands for.
    pub(super) async fn refused(&self, doing: &str, answer: Response) -> PushError {
        let status = answer.status();
        let said = self.body(answer).await.map(|body| words(&body)).unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(&said),
            status if retry::may_pass(status) => {
                PushError::unreachable(&self.registry, format!("answers {status}"))
            }
            status => PushError::Refused {
                registry: self.registry.clone(),
                repository: self.path.clone(),
                message: format!("{doing}: {status} {said}").trim_end().to_owned(),
            },
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
