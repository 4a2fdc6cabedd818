//! Words for people, on stderr.

use std::io::{IsTerminal, Write};

use crate::printable::printable_lines;
use crate::{Failure, environment};

/// `-q` and `-v`, as every tool takes them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Talk {
    /// Print nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on stderr; twice for details of each request
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

impl Talk {
    /// How much to say.
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }
}

/// How much a tool says on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Verdicts and warnings too.
    Normal,
    /// What is being done too.
    Verbose,
    /// Each request too.
    Debug,
}

/// The stderr of a tool. Each message is one write, so lines of threads don't mix.
#[derive(Debug, Clone)]
pub struct Console {
    tool: &'static str,
    verbosity: Verbosity,
    terminal: bool,
    colour: bool,
}

impl Console {
    /// The console of `tool`.
    pub fn new(tool: &'static str, verbosity: Verbosity) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal
            && environment::var("NO_COLOR").is_none()
            && environment::var("TERM").is_some_and(|term| term != "dumb");
        Self { tool, verbosity, terminal, colour }
    }

    /// How much is said.
    pub const fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether bars and other moving things may be drawn: a terminal that allows colour, not quiet.
    pub fn may_animate(&self) -> bool {
        self.terminal && self.colour && self.verbosity > Verbosity::Quiet
    }

    /// A line that a person running the tool wants by default: a verdict, a fact worth knowing.
    pub fn note(&self, message: impl AsRef<str>) {
        self.say(Verbosity::Normal, "", "", message.as_ref());
    }

    /// Something that is not an error yet.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.say(Verbosity::Normal, "warning: ", "\x1b[33m", message.as_ref());
    }

    /// What is being done, for `-v`.
    pub fn detail(&self, message: impl AsRef<str>) {
        self.say(Verbosity::Verbose, "", "", message.as_ref());
    }

    /// Each request and decision, for `-vv`.
    pub fn debug(&self, message: impl AsRef<str>) {
        self.say(Verbosity::Debug, "debug: ", "\x1b[2m", message.as_ref());
    }

    /// The error that ends the run, and what to do about it.
    pub fn failure(&self, failure: &Failure) {
        self.say(Verbosity::Quiet, "error: ", "\x1b[1;31m", &failure.to_string());
        if let Some(hint) = failure.hint_text() {
            write(&format!("{}: ", self.paint("\x1b[1m", "hint")), hint);
        }
    }

    fn say(&self, least: Verbosity, label: &str, colour: &str, message: &str) {
        if self.verbosity >= least {
            write(&format!("{}: {}", self.tool, self.paint(colour, label)), message);
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour && !colour.is_empty() { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn write(prefix: &str, message: &str) {
    // Nobody is left to tell when stderr is closed.
    let message = printable_lines(message);
    let _ = std::io::stderr().lock().write_all(format!("{prefix}{message}\n").as_bytes());
}
