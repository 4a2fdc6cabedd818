//! mr-push: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::main::<mr_push::cli::Cli>()
}
