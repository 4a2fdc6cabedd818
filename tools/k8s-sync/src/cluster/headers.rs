//! What an answer's headers say.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

/// The words of `299 - "words"` (RFC 7234, 5.5, of which Kubernetes uses this form alone).
pub(super) fn warning(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.strip_prefix("299 ")?;
    let words = text.split_once('"')?.1.strip_suffix('"')?;
    Some(words.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// When to come back, in whole seconds; a date is not waited for.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_warning_are_unquoted() {
        let said = |text: &'static str| warning(&HeaderValue::from_static(text));
        assert_eq!(said(r#"299 - "v1 \"X\" is old""#).as_deref(), Some(r#"v1 "X" is old"#));
        assert_eq!(said("199 - \"other\""), None);
    }

    #[test]
    fn no_server_is_waited_for_without_end() {
        let asked = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("18446744073709551615"), None);
    }
}
