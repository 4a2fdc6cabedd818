//! How far it is: bars on a terminal, a line every few seconds elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use step::Console;

use crate::words::shown;

/// Between two lines about a layer.
const PACE: Duration = Duration::from_secs(5);

/// Who tells how far it is.
#[derive(Clone)]
pub struct Progress {
    console: Console,
    bars: MultiProgress,
}

/// One layer on its way.
pub struct Layer {
    console: Console,
    name: String,
    size: u64,
    bar: ProgressBar,
    done: AtomicU64,
    begun: Instant,
    told: AtomicU64,
}

impl Progress {
    /// On this console.
    pub fn new(console: Console) -> Self {
        let target =
            if console.may_animate() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { console, bars: MultiProgress::with_draw_target(target) }
    }

    /// A fact about a layer.
    pub fn note(&self, message: &str) {
        self.bars.suspend(|| self.console.detail(shown(message)));
    }

    /// Something to be mended at another time.
    pub fn warn(&self, message: &str) {
        self.bars.suspend(|| self.console.warn(message));
    }

    /// Waits for something that tells nothing, and says so every few seconds.
    pub async fn while_waiting<T>(&self, what: &str, waited: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        tokio::pin!(waited);
        loop {
            if let Ok(done) = tokio::time::timeout(PACE, &mut waited).await {
                return done;
            }
            self.bars
                .suspend(|| self.console.note(format!("{what}, {} s so far", begun.elapsed().as_secs())));
        }
    }

    /// A layer of `size` bytes begins.
    pub fn layer(&self, name: &str, size: u64) -> Layer {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
        let bar = self.bars.add(ProgressBar::new(size).with_prefix(shown(name)));
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Layer {
            console: self.console.clone(),
            name: shown(name),
            size,
            bar,
            done: AtomicU64::new(0),
            begun: Instant::now(),
            told: AtomicU64::new(0),
        }
    }
}

impl Layer {
    /// So many bytes more went by.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.inc(bytes);
        let periods = self.begun.elapsed().as_secs() / PACE.as_secs();
        if self.bar.is_hidden() && self.told.swap(periods, Ordering::Relaxed) != periods {
            // A layer from the engine's storage is some headers larger than its files are.
            let all = self.size.max(done);
            self.console.note(format!("{}: {} of {}", self.name, HumanBytes(done), HumanBytes(all)));
        }
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        let done = HumanBytes(self.done.load(Ordering::Relaxed));
        self.console.detail(format!("{}: {done} in {seconds:.1} s", self.name));
    }
}
