//! The same work on many things, on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most things that a thread takes at once: enough to make taking cheap.
const LARGEST_BATCH: usize = 32;

/// Batches that each thread takes, at least: enough to share evenly what takes longer and what doesn't.
const BATCHES: usize = 16;

/// The results of all things, in their order.
pub fn in_parallel<T: Sync, R: Send>(things: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads <= 1 {
        return things.iter().map(work).collect();
    }
    let size = (things.len() / (threads * BATCHES)).clamp(1, LARGEST_BATCH);
    let next = AtomicUsize::new(0);
    let take_batches = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(size, Ordering::Relaxed);
            let Some(rest) = things.get(start..).filter(|rest| !rest.is_empty()) else { return done };
            let batch = &rest[..rest.len().min(size)];
            done.push((start, batch.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut batches = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take_batches)).collect();
        let mut batches = take_batches();
        for other in others {
            // A panic ends the process before it could be joined.
            batches.extend(other.join().unwrap_or_default());
        }
        batches
    });
    batches.sort_unstable_by_key(|(start, _)| *start);
    batches.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order() {
        for (count, threads) in [(2, 2), (40, 1), (40, 2), (3_007, 5)] {
            let things: Vec<usize> = (0..count).collect();
            let doubled: Vec<usize> = things.iter().map(|thing| thing * 2).collect();
            assert_eq!(in_parallel(&things, threads, |thing| thing * 2), doubled);
        }
    }
}
