//! The command line of mr-push, and the only place that reads the environment.

use step::{ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk};

/// Change to branch, commit and merge request
#[derive(Debug, clap::Parser)]
#[command(name = "mr-push", version)]
pub struct Cli {
    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "mr-push";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: false }
    }

    fn run(self, _io: &mut Io) -> Result<ExitStatus, Failure> {
        Err(Failure::message(FailureKind::Internal, "not there yet"))
    }
}
