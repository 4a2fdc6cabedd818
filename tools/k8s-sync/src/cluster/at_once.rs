//! Many requests at once, their results in order.

use std::collections::BTreeMap;

use futures_util::{Stream, StreamExt as _, stream};

use super::pace::CONCURRENCY;

/// Runs as many as a server is asked at once, and gives what they come to in their order. One that takes its time keeps
/// none from beginning: a server that is waited for has nothing to do.
pub(crate) fn at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> impl Stream<Item = F::Output> {
    let numbered =
        futures.into_iter().enumerate().map(|(number, future)| async move { (number, future.await) });
    let ended = Box::pin(stream::iter(numbered).buffer_unordered(CONCURRENCY));
    stream::unfold((ended, BTreeMap::new(), 0), |(mut ended, mut early, next)| async move {
        loop {
            if let Some(output) = early.remove(&next) {
                return Some((output, (ended, early, next + 1)));
            }
            let (number, output) = ended.next().await?;
            early.insert(number, output);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_that_takes_its_time_holds_none_up() {
        let (begun, notify) = (Cell::new(0), tokio::sync::Notify::new());
        let all = CONCURRENCY * 4;
        let futures = (0..all).map(|number| {
            let (begun, notify) = (&begun, &notify);
            async move {
                begun.set(begun.get() + 1);
                if begun.get() == all {
                    notify.notify_one();
                }
                if number == 0 {
                    notify.notified().await;
                }
                number
            }
        });
        let done = tokio::time::timeout(Duration::from_secs(10), at_once(futures).collect::<Vec<_>>()).await;
        assert_eq!(done.unwrap(), (0..all).collect::<Vec<_>>());
    }
}
