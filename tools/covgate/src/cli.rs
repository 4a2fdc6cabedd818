//! The command line of covgate, and the only place that reads the environment.

use step::{ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk};

/// Coverage report to verdict: any format, exact, in one pass
#[derive(Debug, clap::Parser)]
#[command(name = "covgate", version)]
pub struct Cli {
    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "covgate";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: false }
    }

    fn run(self, _io: &mut Io) -> Result<ExitStatus, Failure> {
        Err(Failure::message(FailureKind::Internal, "not there yet"))
    }
}
