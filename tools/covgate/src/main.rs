//! covgate: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::main::<covgate::cli::Cli>()
}
