//! Errors of libraries in one line, with what caused them.

use std::error::Error;

/// An error and its causes; what an outer one has said is not said again.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Caused(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn causes_are_told_once() {
        let caused = |words, by| Caused(words, Some(Box::new(by)));
        let error = caused("can't connect: timed out", caused("timed out", Caused("no route", None)));
        assert_eq!(with_causes(&error), "can't connect: timed out: no route");
    }
}
