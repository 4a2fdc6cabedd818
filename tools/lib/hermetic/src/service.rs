//! The services of `scripts/services`, as a test uses them.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// What a service prints for its clients.
pub type Variables = HashMap<String, String>;

/// A service's script, without arguments.
pub fn service(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts/services").join(name))
}

/// Runs a service's script, and reads the variables that it prints.
///
/// # Panics
/// Where the script fails.
#[expect(clippy::expect_used, reason = "a test that has no service can't go on")]
pub fn variables(script: &mut Command) -> Variables {
    let output = script.output().expect("the script starts");
    assert!(output.status.success(), "{script:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("variables in UTF-8");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect()
}
