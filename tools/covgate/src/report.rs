//! A report's file: found, read, and turned into counts.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::ReportError;
use crate::format::{Format, Totals};

/// What a folder's report may be called.
const NAMES_IN_A_FOLDER: [&str; 2] = ["index.html", "coverage.json"];

/// A report that was read.
#[derive(Debug)]
pub struct Report {
    /// Where it came from, for messages.
    pub path: String,
    /// What it was read as.
    pub format: Format,
    /// What it says.
    pub totals: Totals,
}

/// Reads the report at a path; `-` is stdin, a folder means the report in it.
pub fn read(path: &Path, format: Option<Format>) -> Result<Report, ReportError> {
    let path = locate(path)?;
    let shown = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    let content = content(&path).map_err(|cause| ReportError::Unreadable { path: shown.clone(), cause })?;
    let Some(format) = format.or_else(|| Format::of(&content)) else {
        return Err(ReportError::UnknownFormat(shown));
    };
    match format.read(&content) {
        Ok(totals) => Ok(Report { path: shown, format, totals }),
        Err(reason) => Err(ReportError::Malformed { path: shown, format: format.name(), reason }),
    }
}

fn locate(path: &Path) -> Result<PathBuf, ReportError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    NAMES_IN_A_FOLDER
        .iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| ReportError::EmptyFolder(path.display().to_string()))
}

fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut content = Vec::new();
        std::io::stdin().lock().read_to_end(&mut content)?;
        Ok(content)
    } else {
        std::fs::read(path)
    }
}
