//! The man page, the page in Markdown and the shell completions, from the same declaration as `--help`.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::{ExitStatus, Failure, FailureKind, Records, markdown};

/// What `--generate` can print.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Page {
    Man,
    Markdown,
    Completions(Shell),
}

impl Page {
    pub(crate) const NAMES: &str = "man, markdown, complete-bash, complete-zsh, complete-fish";

    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "man" => Ok(Self::Man),
            "markdown" => Ok(Self::Markdown),
            "complete-bash" => Ok(Self::Completions(Shell::Bash)),
            "complete-zsh" => Ok(Self::Completions(Shell::Zsh)),
            "complete-fish" => Ok(Self::Completions(Shell::Fish)),
            _ => Err(Failure::message(FailureKind::Usage, format!("--generate can't make `{name}`"))
                .hint(format!("one of: {}", Self::NAMES))),
        }
    }

    pub(crate) fn print(self, mut command: Command, out: &mut Records) -> Result<(), Failure> {
        let mut text = Vec::new();
        match self {
            Self::Man => man_page(command, &mut text).map_err(|error| {
                Failure::new(FailureKind::Internal, error).context("can't make the man page")
            })?,
            Self::Markdown => text.extend(markdown::page(command).bytes()),
            Self::Completions(shell) => {
                let name = command.get_name().to_owned();
                clap_complete::generate(shell, &mut command, name, &mut text);
            }
        }
        out.bytes(&text)
    }
}

fn man_page(mut command: Command, out: &mut dyn Write) -> io::Result<()> {
    command.build();
    let examples = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let subcommands: Vec<Command> = command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help" && !subcommand.is_hide_set())
        .cloned()
        .collect();
    let mut variables: Vec<(String, String)> = std::iter::once(&command)
        .chain(&subcommands)
        .flat_map(Command::get_arguments)
        .filter_map(|arg| Some((arg.get_env()?.to_str()?.to_owned(), format!("--{}", arg.get_long()?))))
        .collect();
    variables.sort();
    variables.dedup();
    let man = Man::new(command.after_help("").after_long_help(""));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for subcommand in subcommands {
        let mut heading = Roff::new();
        heading.control("SH", [subcommand.get_name().to_uppercase().as_str()]);
        let about = subcommand.get_long_about().or(subcommand.get_about());
        heading.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
        heading.to_writer(out)?;
        // What holds for all subcommands stands above.
        Man::new(subcommand.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg }))
            .render_options_section(out)?;
    }
    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for status in ExitStatus::ALL {
        page.control("TP", []);
        page.text([bold(status.code().to_string())]);
        page.text([roman(status.meaning())]);
    }
    page.control("TP", []).text([bold("130, 143")]);
    page.text([roman("ended by SIGINT or SIGTERM, with nothing half written")]);
    if !variables.is_empty() {
        page.control("SH", ["ENVIRONMENT"]);
        page.text([roman("An option wins over its variable; an empty variable is an unset one.")]);
        for (variable, option) in variables {
            page.control("TP", []).text([bold(variable)]);
            page.text([roman(format!("the value of {option}"))]);
        }
    }
    if let Some(examples) = examples {
        page.control("SH", ["EXAMPLES"]);
        page.control("nf", []);
        for line in examples.lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []);
    }
    page.to_writer(out)
}
