//! Files as they are found: read, or told apart from what can only be written to.

use std::borrow::Cow;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use step::{Failure, FailureKind, ResultExt, url_without_credentials, without_credentials};

use crate::patch::Source;
use crate::run::{Before, Input};

/// Reads all of it.
pub fn read(input: &Input) -> Result<Vec<Source>, Failure> {
    match input {
        Input::Stdin => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .or_fail_with(FailureKind::Input, || "can't read the manifest from stdin")?;
            Ok(vec![Source { name: "-".to_owned(), bytes }])
        }
        Input::Files(files) => files.iter().map(|file| read_file(file)).collect(),
    }
}

fn read_file(path: &Path) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let bytes = fs::read(path).or_fail_with(FailureKind::Input, || format!("can't read {}", shown(path)))?;
    Ok(Source { name, bytes })
}

/// A path for people. One that isn't there may be a `NAME=REF` whose right side is a URL with a password.
fn shown(path: &Path) -> String {
    let name = path.display().to_string();
    let argument = name.split_once('=').filter(|(_, value)| value.contains('@'));
    let text = match argument {
        Some((name, value)) => format!("{name}={}", url_without_credentials(value)),
        None => without_credentials(&name),
    };
    step::printable(&text).into_owned()
}

/// The files that are replaced, each at the end of its symbolic links. What is not a file of bytes can't be, and reading
/// it may have no end.
pub fn replaceable(files: &[PathBuf]) -> Result<Vec<Cow<'_, Path>>, Failure> {
    let mut replaceable = Vec::with_capacity(files.len());
    for file in files {
        // One question to the system is enough for most of them.
        if fs::symlink_metadata(file).is_ok_and(|there| there.is_file()) {
            replaceable.push(Cow::Borrowed(file.as_path()));
            continue;
        }
        if is_special(file) {
            let message = format!("{} is a pipe or a device, which can't be replaced", shown(file));
            return Err(Failure::message(FailureKind::Input, message).hint(
                "leave out --in-place to read it, or name a file; --to FILE may be a pipe or a device",
            ));
        }
        replaceable.push(end_of(file));
    }
    Ok(replaceable)
}

/// Whether a path leads to a pipe, a device or a socket.
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| is_stream(&there))
}

fn is_stream(there: &fs::Metadata) -> bool {
    !there.is_file() && !there.is_dir()
}

/// The file itself, at the end of symbolic links, if it is there.
pub fn end_of(path: &Path) -> Cow<'_, Path> {
    fs::canonicalize(path).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// What a file holds before it is written.
pub fn what_is_at(to: &Path) -> Result<Before, Failure> {
    match fs::metadata(to) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Before::Nothing),
        Ok(there) if is_stream(&there) => return Ok(Before::Stream),
        _ => {}
    }
    let content = fs::read(to).or_fail_with(FailureKind::Input, || format!("can't read {}", to.display()))?;
    Ok(Before::Other(content))
}
