//! Paths as reports, diffs and work trees write them, made comparable.

/// The path with `/` between its parts, and without `.` and `..`.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let root = if path.starts_with(['/', '\\']) { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// Whether a normal path begins at a root or a drive.
pub fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

/// The name at the end of a normal path.
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What the longer of two normal paths has before the shorter one, where that is its end.
pub fn beginning<'a>(longer: &'a str, shorter: &str) -> Option<&'a str> {
    let beginning = longer.strip_suffix(shorter)?;
    (beginning.ends_with('/') && !is_absolute(shorter)).then_some(beginning)
}

/// Where the parts of a normal path begin, the first left out if the path is absolute.
pub fn starts(path: &str) -> impl Iterator<Item = usize> + '_ {
    let first = (!is_absolute(path)).then_some(0);
    first.into_iter().chain(memchr::memchr_iter(b'/', path.as_bytes()).map(|at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_the_end_of_another() {
        assert_eq!(normal("./a//b/../c.py"), "a/c.py");
        assert_eq!(normal("C:\\x\\..\\src\\A.cs"), "C:/src/A.cs");
        assert_eq!(normal("/builds/./g"), "/builds/g");
        assert_eq!(normal("../../src/a.c"), "src/a.c");
        assert_eq!(beginning("/w/app/m.py", "app/m.py"), Some("/w/"));
        assert_eq!(beginning("my_app/m.py", "app/m.py"), None);
        assert_eq!(beginning("/x/a.py", "/a.py"), None);
        assert_eq!(starts("/w/app/m.py").collect::<Vec<_>>(), [1, 3, 7]);
        assert_eq!(starts("app/m.py").collect::<Vec<_>>(), [0, 4]);
    }
}
