//! Running COMMAND in the checkout.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use step::{Cleanup, Failure, FailureKind, ResultExt};

use crate::store::Input;

/// How long a command may take to end when a signal ends this program.
const GRACE: Duration = Duration::from_secs(5);

/// Why the command did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It can't be started.
    #[error("can't run {program}")]
    Start {
        /// The program's name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It says that it failed.
    #[error("{program} failed ({status}); nothing is pushed")]
    Failed {
        /// The program's name.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Runs the command in the directory. Its stdout goes to stderr: stdout is for the result.
pub fn run(words: &[String], directory: &Path, stdin: Option<&Input>) -> Result<(), Failure> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stdout = stderr.or_fail_with(FailureKind::Output, || "can't give the command our stderr")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env("PWD", directory).stdout(Stdio::from(stdout));
    // With a terminal for its stdin it stays in our group: only the one in the foreground may read there.
    let has_group = stdin.is_some();
    if let Some(input) = stdin {
        let file = input.open().or_fail_with(FailureKind::Output, || "can't read the kept stdin")?;
        command.stdin(Stdio::from(file)).process_group(0);
    }
    let started = command.spawn().map_err(|source| CommandError::Start { program: program.clone(), source });
    let mut child = started.map_err(|error| {
        Failure::new(FailureKind::Usage, error)
            .hint("COMMAND follows `--`; it is looked up in PATH, not by a shell")
    })?;
    let ending = end_with_us(child.id(), has_group);
    let status = child.wait().or_fail_with(FailureKind::Internal, || format!("can't wait for {program}"))?;
    ending.disarm();
    // What it has left running would write into a checkout that is read and then taken away.
    if has_group && let Some(pid) = pid(child.id()) {
        let _ = kill_process_group(pid, Signal::TERM);
    }
    if status.success() {
        return Ok(());
    }
    let error = CommandError::Failed { program: program.clone(), status };
    Err(Failure::new(FailureKind::Input, error).hint("its own messages are above"))
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// A signal that ends this program ends the command too, and what it has started, before its checkout is taken away.
fn end_with_us(id: u32, has_group: bool) -> Cleanup {
    let pid = pid(id);
    Cleanup::new(move || {
        let Some(pid) = pid else { return };
        if !has_group {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
            return;
        }
        let _ = kill_process_group(pid, Signal::TERM);
        let began = Instant::now();
        while test_kill_process_group(pid).is_ok() && began.elapsed() < 2 * GRACE {
            if began.elapsed() > GRACE {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            sleep(Duration::from_millis(10));
        }
    })
}
