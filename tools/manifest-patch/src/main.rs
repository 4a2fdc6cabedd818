//! manifest-patch: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::main::<manifest_patch::cli::Cli>()
}
