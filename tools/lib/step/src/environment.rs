//! The environment, where an empty variable is an unset one.
//!
//! GitLab and its runners set variables to the empty string freely, so `""` never is a value here.
//! Only a tool's `cli.rs` calls this module; the rest of a tool takes what `cli.rs` read.

use std::ffi::{OsStr, OsString};

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

/// The value of the first of these variables that has one.
pub fn first_of(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| var(name))
}
