//! imgtag: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::main::<imgtag::cli::Cli>()
}
