//! k8s-sync: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::main::<k8s_sync::cli::Cli>()
}
