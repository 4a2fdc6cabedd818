//! The command line of manifest-patch, and the only place that reads the environment.

use step::{ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk};

/// Image reference to Kubernetes manifest: only the value's bytes change
#[derive(Debug, clap::Parser)]
#[command(name = "manifest-patch", version)]
pub struct Cli {
    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "manifest-patch";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: false }
    }

    fn run(self, _io: &mut Io) -> Result<ExitStatus, Failure> {
        Err(Failure::message(FailureKind::Internal, "not there yet"))
    }
}
