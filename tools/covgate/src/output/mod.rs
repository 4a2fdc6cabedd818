//! What an answer looks like.

mod badge;
pub mod cobertura;
mod fields;
mod junit;
mod markdown;
pub mod ranges;
mod xml;

use step::{Dotenv, Failure, Records, document};

use crate::gate::Answer;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// TOTAL and the percentage
    #[default]
    Text,
    /// One object, by schema/covgate.v1.json
    Json,
    /// A variable for GitLab's artifacts:reports:dotenv
    Dotenv,
    /// A table for a merge request's note
    Markdown,
    /// Test cases for GitLab's artifacts:reports:junit
    Junit,
    /// A picture (SVG) for a page
    Badge,
}

/// Prints an answer.
pub fn print(answer: &Answer, output: Output, out: &mut Records) -> Result<(), Failure> {
    match output {
        Output::Text => out.line(format!("TOTAL {}%", answer.percent())),
        Output::Json => out.line(document("covgate", fields::of(answer))),
        Output::Dotenv => out.bytes(Dotenv::new().set("COVERAGE", &answer.percent())?.text().as_bytes()),
        Output::Markdown => out.bytes(markdown::note(answer).as_bytes()),
        Output::Junit => out.bytes(junit::report(answer).as_bytes()),
        Output::Badge => out.bytes(badge::picture(answer).as_bytes()),
    }
}
