//! The environment, where an empty variable is an unset one.
//!
//! GitLab and its runners set variables to the empty string freely, so `""` never is a value here.
//! Only what declares a command line calls this module: a tool's `cli.rs`, the options that several tools have, the console.
//! The rest takes what they read.

use std::ffi::{OsStr, OsString};

use crate::secret::text_or_file;
use crate::{Failure, FailureKind, ResultExt as _, Secret};

/// The variable's value, if it has one and it is UTF-8.
pub fn var(name: &str) -> Option<String> {
    var_os(name)?.into_string().ok()
}

/// The variable's value as the system has it, if it is not empty.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
pub fn var_os(name: impl AsRef<OsStr>) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether the variable is set, to nothing.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
pub(crate) fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// The secret that the first of these variables with a value stands for: the value itself, or the content of the file that
/// it names, as GitLab's variables of type *file* do. The line end that a file ends with is none of it.
pub fn secret(names: &[&str]) -> Result<Option<Secret>, Failure> {
    let Some((name, value)) = names.iter().find_map(|name| Some((name, var(name)?))) else { return Ok(None) };
    let text = text_or_file(&value)
        .or_fail_with(FailureKind::Input, || format!("can't read the file that {name} names"))?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
}

/// The value of the first of these variables that has one.
pub fn first_of(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| var(name))
}
