//! A report's file, written whole or not at all: a job that collects it while it is written, or after a signal, finds the old
//! one or the new one.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use step::Cleanup;
use tempfile::Builder;

/// Everybody may read it: the runner that collects a report may be another user. Temporary files are for their owner only.
const MODE: u32 = 0o644;

/// Puts a file with this content in place of what is there; a pipe or a device is written to.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, content);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = Builder::new().prefix(".report-").tempfile_in(folder)?;
    let temporary = file.path().to_owned();
    let cleanup = Cleanup::new(move || drop(std::fs::remove_file(&temporary)));
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    cleanup.disarm();
    // Not every file system can do that; the content itself is on the disk.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_a_device_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.xml");
        for content in ["long, and old", "new"] {
            write(&report, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&report).unwrap(), content);
        }
        assert_eq!(report.metadata().unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        write(&device, b"nothing").unwrap();
        assert!(device.is_symlink());
        assert!(write(&folder.path().join("none/report.xml"), b"").is_err());
    }
}
