//! From `argv` to the exit status: what every tool's `main` does.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;
use clap::error::ErrorKind;

use crate::manual::Page;
use crate::{
    Console, ExitStatus, Failure, FailureKind, Records, Verbosity, document, environment, interrupt,
};

/// A tool: its arguments, and what it does with them.
pub trait Program: clap::Parser {
    /// The name that messages begin with and that the JSON schema carries.
    const NAME: &'static str;

    /// Whether the step takes milliseconds. It is then ended by signals as the system does it, and spared a thread that
    /// watches for them, until there is something that must not stay behind.
    const IS_BRIEF: bool = false;

    /// How the user wants to be talked to.
    fn preferences(&self) -> Preferences;

    /// What a call without arguments comes to, where that is known without parsing: it must be what parsing gives.
    fn without_arguments() -> Option<Self> {
        None
    }

    /// Does the step. `ExitStatus::No` is an answer; trouble is a [`Failure`].
    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure>;
}

/// How the user wants to be talked to.
#[derive(Debug, Clone, Copy)]
pub struct Preferences {
    /// How much to say on stderr.
    pub verbosity: Verbosity,
    /// Whether a failure is also told as JSON on stdout.
    pub json: bool,
}

/// The two streams a tool talks through.
pub struct Io {
    /// Results, on stdout.
    pub out: Records,
    /// Words for people, on stderr.
    pub console: Console,
}

/// Runs a tool and turns its result into the process's exit status.
pub fn main<P: Program>() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    report_panics(P::NAME);
    let mut io = Io { out: Records::stdout(), console: Console::new(P::NAME, Verbosity::Normal) };
    let mut wants_json = asks_for_json(&argv);
    let watched = if P::IS_BRIEF && !interrupt::is_shielded() { Ok(()) } else { interrupt::watch() };
    let result = watched
        .map_err(|error| Failure::new(FailureKind::Internal, error).context("can't watch for signals"))
        .and_then(|()| parse_and_run::<P>(&argv, &mut wants_json, &mut io));
    let status = finish::<P>(result, wants_json, &mut io);
    interrupt::end();
    status.into()
}

fn parse_and_run<P: Program>(
    argv: &[OsString],
    wants_json: &mut bool,
    io: &mut Io,
) -> Result<ExitStatus, Failure> {
    if argv.len() == 1
        && let Some(program) = P::without_arguments()
    {
        return program.run(io);
    }
    let command = without_empty_variables(P::command());
    if let Some(name) = page_asked_for(argv) {
        Page::named(&name)?.print(command, &mut io.out)?;
        return Ok(ExitStatus::Done);
    }
    let parsed =
        command.try_get_matches_from(argv).and_then(|mut matches| P::from_arg_matches_mut(&mut matches));
    let program = match parsed {
        Ok(program) => program,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            io.out.bytes(error.render().to_string().as_bytes())?;
            return Ok(ExitStatus::Done);
        }
        Err(error) => return Err(usage_failure(P::NAME, &error)),
    };
    let preferences = program.preferences();
    // A variable may ask for it, too.
    *wants_json |= preferences.json;
    io.console = Console::new(P::NAME, preferences.verbosity);
    program.run(io)
}

fn finish<P: Program>(result: Result<ExitStatus, Failure>, wants_json: bool, io: &mut Io) -> ExitStatus {
    let flushed = io.out.flush();
    match (result, flushed) {
        (Ok(status), Ok(())) => status,
        (Ok(_), Err(failure)) => {
            io.console.failure(&failure);
            failure.status()
        }
        (Err(failure), _) => {
            io.console.failure(&failure);
            let status = failure.status();
            if wants_json {
                // The message is on stderr already; a stdout that fails too changes nothing.
                let _ = io.out.line(document(P::NAME, failure.into_fields()));
                let _ = io.out.flush();
            }
            status
        }
    }
}

/// clap takes an empty variable as a value; here it is an unset one. `--help` shows no values.
fn without_empty_variables(command: Command) -> Command {
    command.mut_subcommands(without_empty_variables).mut_args(|arg| {
        let arg = arg.hide_env_values(true);
        if arg.get_env().is_some_and(environment::is_empty) { arg.env(None::<&'static str>) } else { arg }
    })
}

/// clap's message in the form that every error has: what, then a hint.
fn usage_failure(tool: &str, error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let body = text.strip_prefix("error: ").unwrap_or(&text);
    let mut message = String::new();
    let mut hints = Vec::new();
    for line in body.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        match line.trim_start() {
            "For more information, try '--help'." => {}
            usage if usage.starts_with("Usage:") => hints.push(usage.to_owned()),
            tip if tip.starts_with("tip: ") => hints.push(tip["tip: ".len()..].to_owned()),
            _ if !hints.is_empty() => {}
            part if message.is_empty() => part.clone_into(&mut message),
            part => {
                message.push(' ');
                message.push_str(part);
            }
        }
    }
    hints.push(format!("`{tool} --help` shows all options and examples"));
    Failure::message(FailureKind::Usage, message).hint(hints.join("; "))
}

/// `--generate PAGE`, which works without the arguments that the step itself requires.
fn page_asked_for(argv: &[OsString]) -> Option<String> {
    let [_, option, rest @ ..] = argv else { return None };
    match option.to_str()?.strip_prefix("--generate")? {
        "" => Some(rest.first().and_then(|page| page.to_str()).unwrap_or_default().to_owned()),
        value => value.strip_prefix('=').map(ToOwned::to_owned),
    }
}

/// Whether `--output json` stands in `argv`, where that can't be parsed.
fn asks_for_json(argv: &[OsString]) -> bool {
    let words: Vec<&str> =
        argv.iter().skip(1).map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    words.iter().any(|word| matches!(*word, "-ojson" | "-o=json" | "--output=json"))
        || words.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "json"]))
}

/// A panic is a fault of ours: it is told as an error, and never ends with 101.
fn report_panics(tool: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map(|place| format!(" at {}:{}", place.file(), place.line()))
            .unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a panic");
        let failure = Failure::message(FailureKind::Internal, format!("internal error{place}: {what}"))
            .hint("please report this, with the command that led to it");
        Console::new(tool, Verbosity::Quiet).failure(&failure);
        let _others_wait = interrupt::clean_up();
        #[expect(clippy::exit, reason = "a panic of any thread ends the step")]
        std::process::exit(i32::from(ExitStatus::Trouble.code()));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn json_is_seen_in_a_broken_command_line() {
        assert!(asks_for_json(&words("imgtag --nonsense -o json")));
        assert!(asks_for_json(&words("imgtag --output=json HEAD")));
        assert!(!asks_for_json(&words("mr-push repo -- tool -o json")));
    }

    #[test]
    fn generate_needs_no_other_argument() {
        assert_eq!(page_asked_for(&words("imgpush --generate man")).as_deref(), Some("man"));
        assert_eq!(page_asked_for(&words("imgpush --generate=man")).as_deref(), Some("man"));
        assert_eq!(page_asked_for(&words("imgpush ref --generate man")), None);
    }
}
