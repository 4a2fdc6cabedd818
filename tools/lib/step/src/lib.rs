//! What makes a program one step of the pipeline.
//!
//! The six tools promise the same things to a shell script and to a CI job: one table of exit
//! statuses, results as records on stdout, words for people on stderr, errors that say what to do,
//! three output formats, an environment where an empty variable is an unset one, and signals that
//! leave nothing half written. This crate is where those promises are kept, once.
//!
//! A tool's `main.rs` is [`main`] applied to its [`Program`]; its `cli.rs` implements the trait.

mod causes;
mod console;
mod dotenv;
pub mod environment;
mod exit_status;
mod failure;
mod interrupt;
mod manual;
mod markdown;
mod output;
mod printable;
mod program;
mod records;
mod secret;

pub use causes::with_causes;
pub use console::{Console, Talk, Verbosity};
pub use dotenv::{Dotenv, DotenvError};
pub use exit_status::ExitStatus;
pub use failure::{Failure, FailureKind, ResultExt};
pub use interrupt::{Cleanup, Interruption};
pub use output::{Format, document};
pub use printable::printable;
pub use program::{Io, Preferences, Program, main};
pub use records::Records;
pub use secret::{
    Secret, split_userinfo, text_or_file, url_without_credentials, with_urls, without_credentials,
};
