//! What we may do at the registry: the rights that we ask for, and what proves them.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use step::Secret;

use super::login::{Authorization, Challenge, TokenAnswer};
use super::request::chain;
use super::{Repository, TRIES, lock, retry};
use crate::error::PushError;
use crate::words::shown;

/// What the registry wants of us, and what we have for it.
#[derive(Default)]
pub(super) struct Access {
    challenge: Option<Challenge>,
    authorization: Option<Authorization>,
    /// Other repositories of the registry that blobs are mounted from.
    sources: Vec<String>,
}

impl Repository {
    /// Asks for the right to read another repository too, to mount blobs from there.
    pub fn mount_from(&self, path: &str) {
        let mut access = lock(&self.access);
        if path != self.path && !access.sources.iter().any(|source| source == path) {
            access.sources.push(path.to_owned());
            access.authorization = None;
        }
    }

    /// Asks for it no more: a token server may refuse all of a request for a part of it.
    pub fn mount_no_more_from(&self, path: &str) {
        let mut access = lock(&self.access);
        access.sources.retain(|source| source != path);
        access.authorization = None;
    }

    /// Whether this is the registry itself, by scheme, host and port. Only that may ask for its credentials: where a
    /// storage service could, it would name the server that they go to.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        url.origin() == lock(&self.base).origin()
    }

    /// What to send as `Authorization` there: nothing to another host, as after a redirect to a storage service.
    pub(super) async fn authorization(&self, url: &Url) -> Result<Option<Secret>, PushError> {
        if !self.is_ours(url) {
            return Ok(None);
        }
        let (challenge, current) = {
            let access = lock(&self.access);
            (access.challenge.clone(), access.authorization.clone())
        };
        if let Some(current) = current.filter(|current| !current.is_old()) {
            return Ok(Some(current.header));
        }
        let fresh = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                Authorization::basic(self.credentials.as_ref().ok_or_else(|| self.unauthorized(""))?)
            }
            Some(Challenge::Bearer { realm, service }) => self.token(realm, service.as_deref()).await?,
        };
        let header = fresh.header.clone();
        lock(&self.access).authorization = Some(fresh);
        Ok(Some(header))
    }

    /// Remembers what the registry asks for; an old token is forgotten.
    pub(super) fn challenged(&self, headers: &HeaderMap) -> Result<(), PushError> {
        let mut access = lock(&self.access);
        let challenge = Challenge::from_headers(headers).ok_or_else(|| self.unauthorized(""))?;
        // A password that was refused once is refused again.
        if challenge == Challenge::Basic && access.authorization.is_some() {
            return Err(self.unauthorized(""));
        }
        *access = Access {
            challenge: Some(challenge),
            authorization: None,
            sources: std::mem::take(&mut access.sources),
        };
        Ok(())
    }

    /// A token for this repository, and for those that blobs are mounted from.
    async fn token(&self, realm: Url, service: Option<&str>) -> Result<Authorization, PushError> {
        let mut scopes = vec![format!("repository:{}:pull,push", self.path)];
        scopes.extend(lock(&self.access).sources.iter().map(|path| format!("repository:{path}:pull")));
        let mut tries = 0;
        loop {
            let from = shown(realm.as_str());
            self.console.debug(format!("a token for {} from {from}", scopes.join(" ")));
            let request = match &self.credentials {
                Some(credentials) if credentials.is_identity_token => {
                    let scope = scopes.join(" ");
                    let mut form = vec![
                        ("grant_type", "refresh_token"),
                        ("client_id", "imgpush"),
                        ("scope", &scope),
                        ("refresh_token", credentials.password.expose()),
                    ];
                    form.extend(service.map(|service| ("service", service)));
                    let body = Url::parse_with_params("form:", form)
                        .map(|url| url.query().unwrap_or_default().to_owned());
                    let body = body.map_err(|_| self.protocol("a token realm that is no URL"))?;
                    self.client
                        .post(realm.clone())
                        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                        .body(body)
                }
                credentials => {
                    let mut url = realm.clone();
                    url.query_pairs_mut()
                        .extend_pairs(scopes.iter().map(|scope| ("scope", scope)))
                        .extend_pairs(service.map(|service| ("service", service)));
                    let request = self.client.get(url);
                    match credentials {
                        Some(known) => {
                            request.header(AUTHORIZATION, Authorization::basic(known).header.expose())
                        }
                        None => request,
                    }
                }
            };
            let answer = tokio::time::timeout(self.reach.timeout, request.send()).await;
            let (reason, asked) = match answer {
                Ok(Ok(answer)) if answer.status().is_success() => match self.body(answer).await {
                    Some(body) => {
                        let answer = serde_json::from_slice::<TokenAnswer>(&body).ok();
                        return answer
                            .and_then(Authorization::token)
                            .ok_or_else(|| self.unauthorized("the token server answers without a token"));
                    }
                    None => ("the token server breaks off".to_owned(), None),
                },
                Ok(Ok(answer)) if retry::may_pass(answer.status()) => (
                    format!("the token server answers {}", answer.status()),
                    retry::retry_after(answer.headers()),
                ),
                Ok(Ok(answer)) => {
                    let said = format!("the token server answers {}", answer.status());
                    return Err(self.unauthorized(&said));
                }
                Ok(Err(error)) => {
                    let reason = chain(error);
                    let error = PushError::unreachable(&self.registry, &reason);
                    if error.is_about_certificates() {
                        return Err(error);
                    }
                    (reason, None)
                }
                Err(_) => ("the token server says nothing".to_owned(), None),
            };
            tries += 1;
            if tries >= TRIES {
                return Err(PushError::unreachable(&self.registry, reason));
            }
            self.wait(tries, asked, &reason).await;
        }
    }
}
