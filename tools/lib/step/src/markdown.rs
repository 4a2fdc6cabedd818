//! A tool's page in Markdown, from the same declaration as `--help` and the man page.

use clap::builder::PossibleValue;
use clap::{Arg, Command};

use crate::ExitStatus;

/// The page: what the tool does, its options, its exit statuses, its examples.
pub(crate) fn page(mut command: Command) -> String {
    command.build();
    let mut statuses: Vec<(String, &str)> =
        ExitStatus::ALL.iter().map(|status| (status.code().to_string(), status.meaning())).collect();
    statuses.push(("130, 143".to_owned(), "ended by SIGINT or SIGTERM, with nothing half written"));
    let rows: Vec<String> =
        statuses.iter().map(|(code, meaning)| format!("| {code} | {meaning} |\n")).collect();
    let rows = rows.concat();
    let examples = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let examples = examples.map_or_else(String::new, |text| {
        let text = text.strip_prefix("Examples:\n").unwrap_or(&text);
        format!("\n## Examples\n\n```text\n{}\n```\n", text.trim_end())
    });
    let name = command.get_name().to_owned();
    let body = description(&mut command, "##");
    format!("# {name}\n{body}\n## Exit status\n\n| code | meaning |\n|---|---|\n{rows}{examples}")
}

/// A command's own words, its usage, its options under their headings, and its subcommands; `marks` is the
/// level of the headings.
fn description(command: &mut Command, marks: &str) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let options: Vec<String> = headings(command)
        .into_iter()
        .map(|heading| {
            let items: String =
                visible(command).filter(|arg| arg.get_help_heading() == heading).map(item).collect();
            format!("\n{marks} {}\n\n{items}", heading.unwrap_or("Arguments and options"))
        })
        .collect();
    let deeper = format!("{marks}#");
    let subcommands: Vec<String> = command
        .get_subcommands_mut()
        .filter(|subcommand| subcommand.get_name() != "help" && !subcommand.is_hide_set())
        .map(|subcommand| {
            let name = subcommand.get_name().to_owned();
            format!("\n{marks} {name}\n{}", description(subcommand, &deeper))
        })
        .collect();
    format!("\n{about}\n\n```text\n{usage}\n```\n{}{}", options.concat(), subcommands.concat())
}

fn visible(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
}

/// The headings in the order of their first options; those without one come first.
fn headings(command: &Command) -> Vec<Option<&str>> {
    let mut found = Vec::new();
    for heading in visible(command).map(Arg::get_help_heading) {
        if !found.contains(&heading) {
            found.push(heading);
        }
    }
    found.sort_by_key(Option::is_some);
    found
}

/// One argument: how it is written, what it does, its choices, its default and its variable.
fn item(arg: &Arg) -> String {
    let takes_values = arg.get_action().takes_values();
    let mut names: Vec<String> = arg.get_short().map(|short| format!("-{short}")).into_iter().collect();
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let values = arg.get_value_names().unwrap_or_default().join(" ");
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let values = match (takes_values, optional) {
        (false, _) => String::new(),
        (true, true) => format!("[={values}]"),
        (true, false) => format!(" {values}"),
    };
    let written = format!("{}{values}", names.join(", "));
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![help.trim().replace('\n', "\n  ")];
    let choices = arg.get_possible_values();
    let choices: Vec<String> = choices
        .iter()
        .filter(|choice| !choice.is_hide_set())
        .map(PossibleValue::get_name)
        .map(|name| format!("`{name}`"))
        .collect();
    if takes_values && !choices.is_empty() {
        parts.push(format!("One of {}", choices.join(", ")));
    }
    if let [default] = arg.get_default_values()
        && takes_values
        && !default.is_empty()
    {
        parts.push(format!("Default: `{}`", default.to_string_lossy()));
    }
    parts.extend(arg.get_env().map(|variable| format!("Variable: `{}`", variable.to_string_lossy())));
    format!("- `{}`: {}\n", written.trim(), parts.join(". "))
}
