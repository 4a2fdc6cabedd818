//! SIGINT and SIGTERM: end at once, with nothing half written.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

type Task = Box<dyn FnOnce() + Send>;

static WATCHING: Mutex<bool> = Mutex::new(false);
static TASKS: Mutex<(u64, BTreeMap<u64, Task>)> = Mutex::new((0, BTreeMap::new()));
/// Whom a signal is told to, in place of ending the process.
static TOLD: Mutex<Option<Task>> = Mutex::new(None);
/// The signal that was told; 0 until there is one.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// A process and its group may be sent the same signal, one right after the other: it takes a later one to be impatient.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Something that must not stay behind: a temporary file, a half-made directory.
///
/// The task runs when this value is dropped, and also when a signal or a panic ends the process.
#[must_use = "the task runs when this value is dropped"]
#[derive(Debug)]
pub struct Cleanup(u64);

impl Cleanup {
    /// Registers a task; tasks run in reverse order of registration.
    pub fn new(task: impl FnOnce() + Send + 'static) -> Self {
        // Where there is no thread to be had, a signal ends the process as it does by default.
        let _ = watch();
        let mut tasks = lock();
        tasks.0 += 1;
        let id = tasks.0;
        tasks.1.insert(id, Box::new(task));
        Self(id)
    }

    /// The thing is where it belongs: nothing is left to clean.
    pub fn disarm(self) {
        lock().1.remove(&self.0);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // A signal waits meanwhile: what is half cleaned would stay.
        let mut tasks = lock();
        if let Some(task) = tasks.1.remove(&self.0) {
            task();
        }
    }
}

/// The way of a step that has much to take back: while this value lives, the first signal is told to the step, which ends
/// by itself, and the process dies of the signal then. Another signal ends it at once.
#[must_use = "signals end the process again when this value is dropped"]
#[derive(Debug)]
pub struct Interruption(());

impl Interruption {
    /// Tells of a signal by calling this; there is one step, so it takes the place of who was told before.
    pub fn told(tell: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        watch()?;
        *whom() = Some(Box::new(tell));
        Ok(Self(()))
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        *whom() = None;
    }
}

fn whom() -> MutexGuard<'static, Option<Task>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process by the signal that its step was told of, if there was one.
pub(crate) fn end() {
    let signal = SIGNAL.load(Ordering::SeqCst);
    if signal != 0 {
        die(signal);
    }
}

fn die(signal: i32) {
    let _others_wait = clean_up();
    // Dying of the signal itself tells a calling shell to stop its loop as well. Process 1 of a container can't, and would
    // be aborted for the attempt: there the status alone says it.
    if !is_shielded() {
        let _ = low_level::emulate_default_handler(signal);
    }
    low_level::exit(128 + signal);
}

type Tasks = MutexGuard<'static, (u64, BTreeMap<u64, Task>)>;

fn lock() -> Tasks {
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs every registered task. As long as the returned value lives, whoever else registers a task or ends one waits:
/// what the tasks took away must not look like a failure to the step that used it.
#[must_use = "other threads go on when this value is dropped"]
pub(crate) fn clean_up() -> impl Sized {
    let mut tasks = lock();
    while let Some((_, task)) = tasks.1.pop_last() {
        task();
    }
    tasks
}

/// Whether the kernel keeps from the process what it does not handle, as it does for process 1 of a container.
pub(crate) fn is_shielded() -> bool {
    std::process::id() == 1
}

/// Watches for SIGINT and SIGTERM, on a thread of its own.
pub(crate) fn watch() -> io::Result<()> {
    let mut watching = WATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    if *watching {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        let Some(mut signal) = signals.next() else { return };
        let whom = whom().take();
        if let Some(tell) = whom {
            SIGNAL.store(signal, Ordering::SeqCst);
            tell();
            let since = Instant::now();
            let Some(another) = signals.find(|_| since.elapsed() > IMPATIENCE) else { return };
            signal = another;
        }
        die(signal);
    })?;
    *watching = true;
    Ok(())
}
