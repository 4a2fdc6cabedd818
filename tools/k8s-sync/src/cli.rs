//! The command line of k8s-sync, and the only place that reads the environment.

use step::{ExitStatus, Failure, FailureKind, Io, Preferences, Program, Talk};

/// Manifests in Git to cluster
#[derive(Debug, clap::Parser)]
#[command(name = "k8s-sync", version)]
pub struct Cli {
    #[command(flatten)]
    talk: Talk,
}

impl Program for Cli {
    const NAME: &'static str = "k8s-sync";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: false }
    }

    fn run(self, _io: &mut Io) -> Result<ExitStatus, Failure> {
        Err(Failure::message(FailureKind::Internal, "not there yet"))
    }
}
