//! When a request is made again, and after how long.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often a request is made before its failure counts.
pub const TRIES: u32 = 6;

/// No registry is waited for longer than this between two tries.
const LONGEST: Duration = Duration::from_mins(1);

/// 408, 429 and 5xx may be gone at the next try; 501 and 505 say what the server never does.
pub(super) fn may_pass(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED
        | StatusCode::INSUFFICIENT_STORAGE => false,
        // nginx closes with 499, Cloudflare answers 52x.
        status => status.is_server_error() || status.as_u16() == 499,
    }
}

/// How long to wait after the `tries`th failure: what the server asks for, or twice as long each time,
/// give or take a quarter so that many jobs don't come back at once.
pub fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let base = Duration::from_millis(200 * 2_u64.pow(tries.saturating_sub(1).min(8)));
    let jitter = f64::from(clock_noise()) / 1000.0 * 0.5 + 0.75;
    asked.map_or_else(|| base.mul_f64(jitter), |asked| asked + base / 10).min(LONGEST)
}

/// The `Retry-After` of an answer: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok())
}

/// 0 to 999, from the clock: enough to spread retries.
fn clock_noise() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_micros() % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert!(pause(1, None) < Duration::from_millis(300));
        assert!(pause(4, None) > pause(1, None));
        assert_eq!(pause(1, Some(Duration::from_hours(1))), LONGEST);
    }

    #[test]
    fn what_is_asked_for_is_seconds_or_a_date() {
        let asked = |value: &str| {
            let value = value.parse().unwrap();
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
        assert!(asked(&soon).is_some_and(|asked| asked <= Duration::from_secs(30)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(asked("soon"), None);
    }
}
