//! Unified diffs, as git, Mercurial, Subversion and diff(1) write them: which lines they add.
//!
//! libgit2 reads only git's own, and of those not all (no quoted names beside empty files, and a hunk that
//! is cut off passes); what is needed here is in the file names and the hunks' headers.

use std::io::{self, BufRead};

use crate::diff::ChangedLines;

/// Why a text is no diff.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The system can't read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is neither a file nor a hunk in it.
    #[error("it is not a diff")]
    NoDiff,
    /// A line that has no place in a diff.
    #[error("line {0} is not of a unified diff")]
    Malformed(u64),
    /// The diff of a merge against several parents.
    #[error("line {0}: a combined diff, of a merge with all its parents, says not what one side adds")]
    Combined(u64),
    /// It is cut off.
    #[error("it ends in the middle of a hunk")]
    Truncated,
}

/// The hunk in hand: how many lines of each side are still to come, and the number of the new side's next.
#[derive(Default)]
struct Hunk {
    old: u32,
    new: u32,
    line: u32,
}

/// Reads a diff.
pub fn read(mut text: impl BufRead) -> Result<ChangedLines, PatchError> {
    let mut changed = ChangedLines::new();
    let (mut hunk, mut before, mut path) = (Hunk::default(), String::new(), None);
    let (mut is_diff, mut is_empty, mut number) = (false, true, 0_u64);
    let mut bytes = Vec::new();
    while text.read_until(b'\n', &mut bytes)? > 0 {
        number += 1;
        let line = bytes.trim_ascii_end();
        is_empty &= line.is_empty();
        if hunk.old > 0 || hunk.new > 0 {
            hunk.take(&bytes, path.as_deref(), &mut changed).ok_or(PatchError::Malformed(number))?;
        } else if let Some(name) = line.strip_prefix(b"--- ") {
            before = file_name(name);
        } else if let Some(name) = line.strip_prefix(b"+++ ") {
            path = after(&before, file_name(name));
        } else if line.starts_with(b"@@@") {
            return Err(PatchError::Combined(number));
        } else if line.starts_with(b"@@ ") {
            hunk = Hunk::begun_by(line).ok_or(PatchError::Malformed(number))?;
            is_diff = true;
        }
        is_diff |= line.starts_with(b"diff ") || line.starts_with(b"Index: ");
        bytes.clear();
    }
    if hunk.old > 0 || hunk.new > 0 {
        return Err(PatchError::Truncated);
    }
    if is_diff || is_empty { Ok(changed) } else { Err(PatchError::NoDiff) }
}

impl Hunk {
    /// `@@ -1,2 +3,4 @@`: from where on and how many lines of the old and of the new file.
    fn begun_by(header: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(header.strip_prefix(b"@@ -")?.split(|c| *c == b'@').next()?).ok()?;
        let (old, new) = header.trim_end().split_once(" +")?;
        let lines = |range: &str| -> Option<(u32, u32)> {
            let (from, lines) = range.split_once(',').unwrap_or((range, "1"));
            Some((from.parse().ok()?, lines.parse().ok()?))
        };
        let ((_, old), (line, new)) = (lines(old)?, lines(new)?);
        line.checked_add(new)?;
        Some(Self { old, new, line })
    }

    fn take(&mut self, line: &[u8], path: Option<&str>, changed: &mut ChangedLines) -> Option<()> {
        match line[0] {
            // "\ No newline at end of file"
            b'\\' => return Some(()),
            b'-' => self.old = self.old.checked_sub(1)?,
            b'+' => {
                self.new = self.new.checked_sub(1)?;
                if let Some(path) = path {
                    changed.entry(path.to_owned()).or_default().push(self.line);
                }
                self.line += 1;
            }
            // Mailers take the space off an empty line.
            b' ' | b'\n' | b'\r' => {
                (self.old, self.new) = (self.old.checked_sub(1)?, self.new.checked_sub(1)?);
                self.line += 1;
            }
            _ => return None,
        }
        Some(())
    }
}

/// A name, without the time that diff(1) writes behind it; git quotes those with unusual characters.
fn file_name(text: &[u8]) -> String {
    let name = text.split(|c| *c == b'\t').next().unwrap_or_default();
    let name = match name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) {
        Some(quoted) => unquoted(quoted),
        None => name.to_vec(),
    };
    String::from_utf8_lossy(&name).into_owned()
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let byte = match (byte, byte == b'\\') {
            (_, true) => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(first @ b'0'..=b'7') => {
                    let digits = [first, rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                    digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit & 7))
                }
                other => other.unwrap_or(b'\\'),
            },
            (plain, false) => plain,
        };
        name.push(byte);
    }
    name
}

/// The new file's path, nothing where the file was deleted. git's prefixes (`a/` and `b/`, or `i/`, `w/` …) are no part
/// of it; without them both names begin alike.
fn after(before: &str, after: String) -> Option<String> {
    const NONE: &str = "/dev/null";
    let split = |name: &str| -> Option<(char, String)> {
        let mut letters = name.chars();
        let prefix = letters.next().filter(|letter| "abciow12".contains(*letter))?;
        Some((prefix, letters.as_str().strip_prefix('/')?.to_owned()))
    };
    match (split(before), split(&after)) {
        _ if after == NONE => None,
        (Some((old, _)), Some((new, path))) if old != new => Some(path),
        (None, Some((_, path))) if before == NONE => Some(path),
        _ => Some(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(diff: &str) -> Vec<(String, Vec<u32>)> {
        read(diff.as_bytes()).unwrap().into_iter().collect()
    }

    const HUNK: &str = "@@ -1,2 +1,4 @@ def f():\n one\n+two\n+--- three\n four\n";

    #[test]
    fn names_as_git_diff_and_others_write_them() {
        for (before, after, path) in [
            ("a/src/a.py", "b/src/a.py", "src/a.py"),
            ("i/src/a.py", "w/src/a.py", "src/a.py"),
            ("src/a.py", "src/a.py", "src/a.py"),
            ("a/a.py", "a/a.py", "a/a.py"),
            ("/dev/null", "b/a.py", "a.py"),
            ("old/a.py\t2026-01-01 00:00:00 +0000", "src/a.py\t2026-01-02 00:00:00 +0000", "src/a.py"),
            ("\"a/\\303\\244 \\\"b.py\"", "\"b/\\303\\244 \\\"b.py\"", "\u{e4} \"b.py"),
        ] {
            let diff = format!("--- {before}\n+++ {after}\n{HUNK}");
            assert_eq!(lines(&diff), [(path.to_owned(), vec![2, 3])], "{diff}");
        }
    }

    #[test]
    fn files_without_lines_to_add() {
        let diff = "diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n\
            diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
            diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n\
            diff --git a/i.png b/i.png\nBinary files a/i.png and b/i.png differ\n\
            diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -3 +3 @@\n-x\n\\ No newline at end of file\n+y\n\\ No newline at end of file\n";
        assert_eq!(lines(diff), [("f".to_owned(), vec![3])]);
        assert!(lines("\n").is_empty());
    }

    #[test]
    fn what_is_no_diff() {
        let head = "--- a/a.py\n+++ b/a.py\n";
        assert!(matches!(read(&b"hello\n"[..]), Err(PatchError::NoDiff)));
        let cut = format!("{head}{}", &HUNK[..HUNK.len() - 6]);
        assert!(matches!(read(cut.as_bytes()), Err(PatchError::Truncated)));
        for wrong in ["@@ -1 +x @@\n", "@@ -1,2 +1,2 @@\n one\nodd\n", "@@ -1 +1,4294967295 @@\n"] {
            assert!(
                matches!(read(format!("{head}{wrong}").as_bytes()), Err(PatchError::Malformed(_))),
                "{wrong}"
            );
        }
        assert!(matches!(read(&b"diff --cc a\n@@@ -1 -1 +1 @@@\n++x\n"[..]), Err(PatchError::Combined(2))));
    }
}
