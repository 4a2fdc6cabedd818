//! A blob that is sent while it is being made.
//!
//! Its digest is known only at its end, and its bytes can't be had twice, so the last ones sent are kept: after
//! a fault the registry says how much it has, and the rest is sent again from there. Only where that is further
//! back than what is kept, the blob must be made anew.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::blob::{Begun, is_spoilt};
use super::request::{chain, is_redirect, under_way};
use super::{Ask, Repository, TRIES, retry};
use crate::digest::{self, Hasher};
use crate::error::PushError;
use crate::words::shown;

/// Bytes that are kept to be sent again.
const KEPT: u64 = 16 << 20;

/// A blob of at most this size is sent in one request, with its digest known.
const SMALL: usize = 4 << 20;

/// The bytes of a blob, as they are made.
pub type Pieces<'a> = Pin<Box<dyn Stream<Item = Result<Bytes, PushError>> + Send + 'a>>;

/// A blob that the registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// How many of them went over the wire.
    pub sent: u64,
}

/// The bytes made so far: hashed, counted, and the last of them kept.
struct Made {
    pieces: Pieces<'static>,
    hasher: Hasher,
    size: u64,
    kept: VecDeque<Bytes>,
    kept_from: u64,
    ended: bool,
    /// Whether they can't be made to their end.
    broken: bool,
}

impl Made {
    /// Makes the next piece; `false` at the end.
    async fn more(&mut self) -> Result<bool, PushError> {
        let Some(piece) = self.pieces.next().await else {
            self.ended = true;
            return Ok(false);
        };
        let piece = piece.inspect_err(|_| self.broken = true)?;
        self.hasher.update(&piece);
        self.size += piece.len() as u64;
        self.kept.push_back(piece);
        while let Some(oldest) = self.kept.front().map(|piece| piece.len() as u64)
            && self.size - self.kept_from - oldest >= KEPT
        {
            self.kept_from += oldest;
            self.kept.pop_front();
        }
        Ok(true)
    }

    /// This offset, if the bytes from there on are kept.
    fn kept_at(&self, offset: u64) -> Result<u64, PushError> {
        if offset >= self.kept_from {
            Ok(offset)
        } else {
            Err(PushError::Interrupted("an upload broke off".to_owned()))
        }
    }

    /// The bytes from an offset to the end of their piece, if they are kept.
    fn at(&self, offset: u64) -> Option<Bytes> {
        let mut start = self.kept_from;
        for piece in &self.kept {
            let end = start + piece.len() as u64;
            if (start..end).contains(&offset) {
                return Some(piece.slice(usize::try_from(offset - start).ok()?..));
            }
            start = end;
        }
        None
    }
}

/// How a PATCH ended.
enum Patched {
    /// The registry took the bytes and goes on here.
    On(Url),
    /// It wants them elsewhere.
    Elsewhere(Url),
    /// It wants a token first.
    Challenge(HeaderMap),
    /// It failed, perhaps not for good.
    Failed(String, Option<Duration>),
    /// The upload is no more.
    Spoilt(String),
    /// It said no.
    Refused(Response),
}

impl Repository {
    /// How large a chunk must be, as some registries say when an upload begins (OCI distribution specification,
    /// "Pushing a blob in chunks").
    pub(super) fn learn_least_chunk(&self, headers: &HeaderMap) {
        let least = headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        self.least_chunk.store(least.unwrap_or(0), Ordering::Relaxed);
    }

    /// Sends a blob as it is made. One that turns out not to have the digest that is stated of it is not kept there; what
    /// comes back has the digest that it has.
    pub async fn upload(&self, pieces: Pieces<'static>, stated: Option<&str>) -> Result<Uploaded, PushError> {
        let mut made = Made {
            pieces,
            hasher: Hasher::new(),
            size: 0,
            kept: VecDeque::new(),
            kept_from: 0,
            ended: false,
            broken: false,
        };
        if self.reach.dry_run {
            while made.more().await? {}
            return Ok(Uploaded { digest: made.hasher.finish(), size: made.size, sent: 0 });
        }
        while usize::try_from(made.size).is_ok_and(|size| size <= SMALL) && made.more().await? {}
        if made.ended {
            let content = made.kept.iter().fold(Vec::new(), |mut all, piece| {
                all.extend_from_slice(piece);
                all
            });
            let content = Bytes::from(content);
            let digest = digest::of(&content);
            if is_another(&digest, stated) {
                return Ok(Uploaded { digest, size: made.size, sent: 0 });
            }
            let sent = if self.put_blob(content).await? { made.size } else { 0 };
            return Ok(Uploaded { digest, size: made.size, sent });
        }
        self.upload_large(made, stated).await
    }

    async fn upload_large(&self, mut made: Made, stated: Option<&str>) -> Result<Uploaded, PushError> {
        let (mut tries, mut offset, mut sent) = (0, 0, 0);
        let mut url = self.begin_anew().await?;
        while !(made.ended && offset == made.size) {
            let before = offset;
            let patched = self.patch(&url, &mut made, &mut offset).await;
            if made.broken {
                self.abandon(url.clone()).await;
            }
            let patched = patched?;
            sent += offset - before;
            let (reason, asked, spoilt) = match patched {
                Patched::On(next) => {
                    url = next;
                    tries = 0;
                    continue;
                }
                Patched::Elsewhere(next) => {
                    url = next;
                    self.again(&mut tries, "sends the upload elsewhere again and again")?;
                    offset = made.kept_at(before)?;
                    continue;
                }
                Patched::Challenge(headers) => {
                    self.challenged(&headers)?;
                    if tries + 1 >= TRIES {
                        return Err(self.unauthorized(""));
                    }
                    self.again(&mut tries, "refuses every token")?;
                    offset = made.kept_at(before)?;
                    continue;
                }
                Patched::Failed(reason, asked) => (reason, asked, false),
                Patched::Spoilt(reason) => (reason, None, true),
                Patched::Refused(answer) => return Err(self.refused("sending a layer", answer).await),
            };
            self.again(&mut tries, &reason)?;
            self.wait(tries, asked, &reason).await;
            (url, offset) = self.resume(url, spoilt).await?;
            if offset > made.size || (offset < made.size && made.at(offset).is_none()) {
                // What the registry says it has is of no use: all of it must still be here.
                offset = made.kept_at(0)?;
                url = self.begin_anew().await?;
            }
        }
        let digest = std::mem::take(&mut made.hasher).finish();
        if is_another(&digest, stated) {
            self.abandon(url).await;
            return Ok(Uploaded { digest, size: made.size, sent });
        }
        let mut end = url.clone();
        end.query_pairs_mut().append_pair("digest", &digest);
        let answer = self.request(Ask::new(Method::PUT, end)).await?;
        if answer.status().is_success() || self.has_blob(&digest).await? {
            return Ok(Uploaded { digest, size: made.size, sent });
        }
        let status = answer.status();
        if !is_spoilt(status) {
            return Err(self.refused("ending a layer", answer).await);
        }
        Err(PushError::Interrupted(format!("{} answers {status} at the end of a layer", self.registry)))
    }

    /// Gives up an upload. Not every registry lets that be done; without its end it is no blob in any.
    async fn abandon(&self, url: Url) {
        let _ = self.request(Ask::new(Method::DELETE, url)).await;
    }

    /// Counts a try that did not bring the upload forward.
    fn again(&self, tries: &mut u32, reason: &str) -> Result<(), PushError> {
        *tries += 1;
        if *tries >= TRIES { Err(PushError::unreachable(&self.registry, reason)) } else { Ok(()) }
    }

    async fn begin_anew(&self) -> Result<Url, PushError> {
        match self.begin(None).await? {
            Begun::At(url) => Ok(url),
            Begun::Mounted => Err(self.protocol("a mount that was not asked for")),
        }
    }

    /// Where an upload goes on after a fault, and from which byte.
    async fn resume(&self, url: Url, spoilt: bool) -> Result<(Url, u64), PushError> {
        if !spoilt {
            let answer = self.request(Ask::new(Method::GET, url.clone())).await?;
            if answer.status().is_success() {
                let next = self.location(&url, answer.headers()).unwrap_or(url);
                return Ok((next, received(answer.headers()).unwrap_or(0)));
            }
        }
        Ok((self.begin_anew().await?, 0))
    }

    /// Sends bytes from `offset` on: all that come, or one chunk; moves `offset` past what was handed over.
    async fn patch(&self, url: &Url, made: &mut Made, offset: &mut u64) -> Result<Patched, PushError> {
        let (pieces, body) = mpsc::channel(1);
        let mut request =
            self.client.request(Method::PATCH, url.clone()).header(CONTENT_TYPE, "application/octet-stream");
        let start = *offset;
        let mut end = u64::MAX;
        if let Some(chunk) = self.reach.chunk_size {
            let chunk = (chunk.max(self.least_chunk.load(Ordering::Relaxed)) as u64).min(KEPT);
            while !made.ended && made.size < start + chunk {
                made.more().await?;
            }
            end = made.size.min(start + chunk);
            request = request
                .header(CONTENT_RANGE, format!("{start}-{}", end.saturating_sub(1)))
                .header(CONTENT_LENGTH, end - start);
        }
        if let Some(header) = self.authorization(url).await? {
            request = request.header(AUTHORIZATION, header.expose());
        }
        self.console.debug(format!("PATCH {} from {start}", shown(url.as_str())));
        let answer = tokio::spawn(request.body(streamed(body)).send());
        tokio::pin!(answer);
        let mut pieces = Some(pieces);
        let answer = loop {
            let room = async {
                match &pieces {
                    Some(pieces) => pieces.reserve().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            // What is handed over whole may be under way yet.
            let rest = if pieces.is_none() { under_way(*offset - start) } else { Duration::ZERO };
            let stalled = tokio::time::sleep(self.reach.timeout + rest);
            tokio::select! {
                answer = &mut answer => break answer,
                open = room => {
                    if !open {
                        // The registry closed before it had everything; its answer tells why.
                        pieces = None;
                        continue;
                    }
                    let mut next = if *offset >= end { None } else { made.at(*offset) };
                    if next.is_none() && *offset < end && !made.ended {
                        match made.more().await {
                            Ok(true) => next = made.at(*offset),
                            Ok(false) => {}
                            Err(error) => {
                                // So that the upload stands still when it is given up.
                                drop(pieces);
                                let _ = tokio::time::timeout(self.reach.timeout, answer).await;
                                return Err(error);
                            }
                        }
                    }
                    match (next, &pieces) {
                        (Some(mut piece), Some(pieces)) => {
                            let room = usize::try_from(end - *offset).unwrap_or(usize::MAX);
                            piece.truncate(room);
                            *offset += piece.len() as u64;
                            // There is room; where the registry closed meanwhile its answer tells.
                            let _ = pieces.try_send(piece);
                        }
                        _ => pieces = None,
                    }
                }
                () = stalled => {
                    let seconds = self.reach.timeout.as_secs();
                    return Ok(Patched::Failed(format!("takes nothing for {seconds} s"), None));
                }
            }
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ok(Patched::Failed(chain(error), None)),
            Err(error) => return Ok(Patched::Failed(error.to_string(), None)),
        };
        let headers = answer.headers();
        Ok(match answer.status() {
            StatusCode::UNAUTHORIZED if self.is_ours(url) => Patched::Challenge(headers.clone()),
            status if is_redirect(status) => Patched::Elsewhere(self.location(url, headers)?),
            status if status.is_success() => {
                let whole = received(headers).is_none_or(|received| received == *offset);
                let next = self.location(url, headers).unwrap_or_else(|_| url.clone());
                if whole {
                    Patched::On(next)
                } else {
                    Patched::Failed("has received less than was sent".to_owned(), None)
                }
            }
            status if retry::may_pass(status) => {
                Patched::Failed(format!("answers {status}"), retry::retry_after(headers))
            }
            status if is_spoilt(status) => Patched::Spoilt(format!("answers {status}")),
            _ => Patched::Refused(answer),
        })
    }
}

fn is_another(digest: &str, stated: Option<&str>) -> bool {
    stated.is_some_and(|stated| stated != digest)
}

/// How many bytes an upload has, from the last one's place in `Range: 0-N`.
fn received(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    // An empty upload is said to be 0-0, which is what one byte would be said to be too.
    Some(if last == 0 { 0 } else { last + 1 })
}

/// A body that is sent as it comes.
fn streamed(pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>) -> Body {
    let stream = futures_util::stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), pieces))
    });
    Body::wrap_stream(stream)
}
