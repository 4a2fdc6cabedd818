//! The command line of imgpush, and the only place that reads the environment.

use step::{ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk};

/// Image reference to image in the registry, with a digest that is true
#[derive(Debug, clap::Parser)]
#[command(name = "imgpush", version)]
pub struct Cli {
    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "imgpush";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: false }
    }

    fn run(self, _io: &mut Io) -> Result<ExitStatus, Failure> {
        Err(Failure::message(FailureKind::Internal, "not there yet"))
    }
}
