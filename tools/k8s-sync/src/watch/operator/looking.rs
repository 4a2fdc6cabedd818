//! The repository, looked at again and again: in the background, at a pace that spares its server.

use std::time::Duration;

use git2::Oid;
use step::Failure;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::{Memory, Operator, told};
use crate::error::SyncError;
use crate::manifest::Manifest;
use crate::report::Tally;
use crate::source::{Checkout, Commit, Reading, Release};
use crate::watch::events::Reason;

/// The longest pause after looks at a source that can't be read, unless it is looked at more seldom anyway: one look costs
/// its server no more than it does in good times.
const LONGEST_BLINDNESS: Duration = Duration::from_secs(30);

/// What a look at the repository found.
pub(super) enum Look {
    /// No other commit.
    Same,
    /// Another one, and what it says.
    Found(Commit, Vec<Manifest>),
    /// Another one, which can't be used.
    Unusable(Commit, SyncError),
}

impl Operator {
    /// Asks the repository, in the background: what is changed meanwhile is healed meanwhile.
    pub(super) fn start_to_look(&self, memory: &mut Memory) {
        let checkout = self.checkout.clone();
        let settled = match memory.failed {
            Some((failed, again)) if Instant::now() < again => Some(failed),
            Some(_) => None,
            None if memory.stale && !self.behaviour.automated => None,
            None => memory.commit,
        };
        let (name, namespace) = (self.application.name.clone(), self.application.namespace.clone());
        let (keys, cluster) = (self.keys.clone(), self.cluster.clone());
        memory.looking = Some(tokio::spawn(async move {
            // Read each time: who changes a key need not restart anything.
            let keys = match keys {
                Some(source) => Some(source.read(&cluster).await?),
                None => None,
            };
            let looked = tokio::task::spawn_blocking(move || {
                let release = Release { name: &name, namespace: &namespace };
                look(&checkout, Reading { release, keys: keys.as_ref() }, settled)
            });
            looked.await.unwrap_or_else(|error| Err(broken(&error)))
        }));
    }

    pub(super) async fn take_in(&self, look: Result<Look, SyncError>, memory: &mut Memory) {
        let name = &self.label;
        match look {
            Err(error) => {
                // The objects stay as they are, and are healed; only the next look waits longer.
                let failure = Failure::from(error);
                let longest = LONGEST_BLINDNESS.max(self.pace());
                memory.next_look = Instant::now() + self.pause(memory).min(longest);
                memory.events.record(Reason::SourceUnreadable, &failure.to_string());
                self.journal.failure(name, &failure);
                self.board.update(name, |view| {
                    view.blind = true;
                    view.error = Some(told(&failure));
                });
            }
            Ok(Look::Same) => {
                if self.board.read(|all| all.get(name).is_some_and(|view| view.blind)) {
                    self.board.update(name, |view| {
                        view.blind = false;
                        view.error = view.syncs.front().and_then(|sync| sync.error.clone());
                    });
                }
                if memory.failed.is_none() {
                    memory.failures = 0;
                }
            }
            Ok(Look::Unusable(commit, error)) => {
                forget_failures_of_others(commit.id, memory);
                self.failed(&commit, &error.into(), Instant::now(), Tally::default(), memory);
            }
            Ok(Look::Found(commit, manifests)) => {
                forget_failures_of_others(commit.id, memory);
                self.board.update(name, |view| view.blind = false);
                if self.behaviour.automated {
                    self.sync_or_newer(commit, manifests, memory).await;
                } else {
                    self.compare(commit, manifests, memory).await;
                }
            }
        }
    }

    /// Returns when the revision is another commit than this one.
    pub(super) async fn newer_than(&self, commit: Oid) {
        loop {
            let call = tokio::select! {
                () = tokio::time::sleep(self.pace()) => None,
                () = self.call.notified() => Some(Unanswered(&self.call)),
            };
            let checkout = self.checkout.clone();
            let newest = tokio::task::spawn_blocking(move || checkout.newest()).await;
            if let Some(call) = call {
                call.answer();
            }
            if matches!(newest, Ok(Ok(newest)) if newest != commit) {
                return;
            }
        }
    }
}

/// A call that is made again where the look that it asked for does not end.
struct Unanswered<'a>(&'a Notify);

impl Unanswered<'_> {
    fn answer(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn forget_failures_of_others(commit: Oid, memory: &mut Memory) {
    if memory.failed.is_none_or(|(failed, _)| failed != commit) {
        memory.failures = 0;
    }
}

/// A look at the repository; `settled` is the commit that need not be read.
fn look(checkout: &Checkout, reading: Reading<'_>, settled: Option<Oid>) -> Result<Look, SyncError> {
    let newest = checkout.newest()?;
    if settled == Some(newest) {
        return Ok(Look::Same);
    }
    match checkout.read(reading) {
        Ok((id, manifests)) => Ok(Look::Found(checkout.describe(id)?, manifests)),
        Err(SyncError::Remote(error)) => Err(error.into()),
        Err(error) => match checkout.describe(newest) {
            Ok(commit) => Ok(Look::Unusable(commit, error)),
            Err(_) => Err(error),
        },
    }
}

/// What a look found, once it has ended; never, where there is none.
pub(super) async fn ended(
    looking: &mut Option<JoinHandle<Result<Look, SyncError>>>,
) -> Result<Look, SyncError> {
    match looking {
        Some(looking) => looking.await.unwrap_or_else(|error| Err(broken(&error))),
        None => std::future::pending().await,
    }
}

fn broken(error: &JoinError) -> SyncError {
    SyncError::Answer { what: "the repository".to_owned(), message: error.to_string() }
}
