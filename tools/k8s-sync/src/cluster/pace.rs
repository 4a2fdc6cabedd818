//! How fast a cluster is asked: as many requests at once as the server bears, and again where it may help.
//!
//! A server that has enough says so (429, of Kubernetes' priority and fairness), and when it wants to be asked again
//! (`Retry-After`). Each refusal halves what is under way at once, and success lets it grow again: nothing here knows
//! better than the server how much that is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::error::SyncError;

/// The most requests that are under way at once: a server allows 100 on a connection, and its storage writes more at a
/// time the more there are.
pub(super) const CONCURRENCY: usize = 64;
/// As above, where each of them takes a connection: to a server, or through a proxy, that does not speak HTTP/2.
const CONNECTIONS: usize = 32;
/// So much of bodies is under way at once, in KiB, or one body that is larger: on a slow line more would keep each of them
/// from arriving in the time that a server gives it, and the answer to whether the server is there from being heard.
const ROOM: u32 = 1024;
/// Refusals so close to each other say the same.
const ONE_REFUSAL: Duration = Duration::from_millis(100);

/// Pauses before a request that met no server is sent again; restarting one takes seconds.
const UNREACHABLE: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];
/// How long a server that is busy is asked again.
const BUSY: Duration = Duration::from_mins(1);
/// How long a server is asked again whose webhook, or storage, fails: one that is being started takes a while.
const FAILING: Duration = Duration::from_secs(20);
/// The first pause where the server names none, and the longest; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Who may send now.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    freed: Notify,
    room: Semaphore,
}

#[derive(Debug)]
struct State {
    /// How many requests may be under way; it grows by less than one.
    limit: f64,
    /// What it may grow to.
    most: f64,
    running: usize,
    refused: Option<Instant>,
}

/// The right to send one request, until it is dropped.
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    _room: Option<SemaphorePermit<'a>>,
}

impl Default for Pace {
    fn default() -> Self {
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        let most = CONCURRENCY as f64;
        let state = State { limit: most, most, running: 0, refused: None };
        Self { state: Mutex::new(state), freed: Notify::new(), room: Semaphore::new(ROOM as usize) }
    }
}

impl Pace {
    /// Waits for one's turn to send so many bytes.
    pub(super) async fn turn(&self, bytes: usize) -> Turn<'_> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(ROOM).min(ROOM);
        // Nobody closes it.
        let room = self.room.acquire_many(kib).await.ok();
        loop {
            if self.lock().take() {
                return Turn { pace: self, _room: room };
            }
            // A turn that is given back meanwhile is kept for the next who asks.
            self.freed.notified().await;
        }
    }

    /// The server has done what was asked, in this version of HTTP.
    pub(super) fn served(&self, version: Version) {
        let mut state = self.lock();
        if version < Version::HTTP_2 {
            state.share_nothing();
        }
        state.grow();
    }

    /// The server has enough.
    pub(super) fn refused(&self) {
        self.lock().shrink(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let free = self.pace.lock().give_back();
        // The limit may have grown by one, too.
        for _ in 0..free.min(2) {
            self.pace.freed.notify_one();
        }
    }
}

impl State {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the most")]
    const fn allowed(&self) -> usize {
        self.limit as usize
    }

    const fn take(&mut self) -> bool {
        let free = self.running < self.allowed();
        if free {
            self.running += 1;
        }
        free
    }

    /// How many more may send now.
    const fn give_back(&mut self) -> usize {
        self.running -= 1;
        self.allowed().saturating_sub(self.running)
    }

    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    const fn share_nothing(&mut self) {
        self.most = CONNECTIONS as f64;
    }

    /// By one for as many requests as may be under way.
    const fn grow(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.most);
    }

    fn shrink(&mut self, now: Instant) {
        if self.refused.is_none_or(|before| now.duration_since(before) > ONE_REFUSAL) {
            self.limit = (self.limit / 2.0).max(1.0);
            self.refused = Some(now);
        }
    }
}

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    begin: Instant,
    unreachable: usize,
    pause: Duration,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), unreachable: 0, pause: FIRST }
    }

    /// Waits before the next attempt; gives the error back where that is not worth one. `asked_for` is what the server said.
    pub(super) async fn again(
        &mut self,
        error: SyncError,
        asked_for: Option<Duration>,
    ) -> Result<(), SyncError> {
        let Some(pause) = self.pause(&error, asked_for) else { return Err(error) };
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long to wait before the next attempt; none where it is not worth one.
    fn pause(&mut self, error: &SyncError, asked_for: Option<Duration>) -> Option<Duration> {
        let patience = match error {
            SyncError::Unreachable(_) => {
                self.unreachable += 1;
                return UNREACHABLE.get(self.unreachable - 1).copied().map(apart);
            }
            SyncError::Refused { code: 429 | 503 | 504, .. } => BUSY,
            SyncError::Refused { code: 500 | 502, .. } => FAILING,
            _ => return None,
        };
        let own = self.pause;
        self.pause = (own * 2).min(LONGEST);
        let pause = asked_for.unwrap_or(own);
        let pause = apart(pause);
        (self.begin.elapsed() + pause < patience).then_some(pause)
    }
}

/// All that failed together don't come back together: the first one of them makes the connection for the others.
fn apart(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_slow_down_and_success_speeds_up() {
        let pace = Pace::default();
        let limit = || pace.lock().allowed();
        assert_eq!(limit(), CONCURRENCY);
        for _ in 0..CONCURRENCY {
            pace.refused();
        }
        assert_eq!(limit(), CONCURRENCY / 2, "refusals at one time are one");
        let mut now = Instant::now();
        for _ in 0..10 {
            now += ONE_REFUSAL * 2;
            pace.lock().shrink(now);
        }
        assert_eq!(limit(), 1);
        pace.served(Version::HTTP_2);
        assert_eq!(limit(), 2);
        for _ in 0..CONCURRENCY * CONCURRENCY {
            pace.served(Version::HTTP_2);
        }
        assert_eq!(limit(), CONCURRENCY);
        pace.served(Version::HTTP_11);
        assert_eq!(limit(), CONNECTIONS);
    }

    #[tokio::test]
    async fn a_turn_comes_when_one_is_given_back() {
        let pace = Pace::default();
        pace.lock().limit = 1.0;
        let first = pace.turn(0).await;
        let second = pace.turn(0);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(5), second).await.is_ok());
    }

    #[tokio::test]
    async fn large_bodies_go_one_after_the_other() {
        let pace = Pace::default();
        let small = pace.turn(4096).await;
        let large = pace.turn(5 * 1024 * 1024);
        tokio::pin!(large);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut large).await.is_err());
        drop(small);
        assert!(tokio::time::timeout(Duration::from_secs(5), large).await.is_ok());
    }

    #[test]
    fn what_no_retry_mends_is_not_tried_again() {
        let refused = |code: u16| SyncError::Refused { what: "w".into(), message: "m".into(), code };
        let mut attempts = Attempts::new();
        for code in [400, 403, 404, 409, 422] {
            assert_eq!(attempts.pause(&refused(code), None), None, "{code}");
        }
        let asked_for = attempts.pause(&refused(429), Some(Duration::from_secs(3)));
        assert!(asked_for.is_some_and(|pause| pause >= Duration::from_secs(3)));
        assert_eq!(attempts.pause(&refused(429), Some(BUSY)), None, "longer than anybody waits");
        let away = SyncError::Unreachable("away".into());
        let pauses: Vec<_> = (0..5).map_while(|_| attempts.pause(&away, None)).collect();
        assert_eq!(pauses.len(), UNREACHABLE.len());
        assert!(pauses.iter().zip(UNREACHABLE).all(|(pause, least)| (least..least * 3 / 2).contains(pause)));
    }
}
