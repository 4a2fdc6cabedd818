//! Whether a text, written without quotes, stays the string it is.

/// Whether the text needs no quotes, in block and flow context, under YAML 1.1 and 1.2.
///
/// Only characters that mean nothing to YAML wherever they stand are let through, which is all that
/// image references are made of but for the brackets of an IPv6 registry.
pub fn stays_a_string(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/'))
        && text.chars().all(harmless)
        && !text.ends_with(':')
        && !is_word_of_a_schema(text)
        && !may_be_a_number(text)
}

/// Null and booleans, in any case: more than YAML 1.1 resolves.
fn is_word_of_a_schema(text: &str) -> bool {
    const WORDS: [&str; 12] =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Integers with base prefixes and underscores, floats with exponents, sexagesimal numbers and
/// timestamps; also a few texts that only look like them, such as `1e5x` never but `1_` always.
fn may_be_a_number(text: &str) -> bool {
    let of = |allowed: &str| text.chars().all(|c| c.is_ascii_digit() || allowed.contains(c));
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let lower = text.to_ascii_lowercase();
    let prefixed = |prefix: &str, digit: fn(char) -> bool| {
        lower.strip_prefix(prefix).is_some_and(|rest| rest.chars().all(|c| digit(c) || c == '_'))
    };
    let date = |c: char| c.is_ascii_digit() || "-:.tz+".contains(c);
    starts_with_digit
        && (of("._+-:eE")
            || prefixed("0x", |c| c.is_ascii_hexdigit())
            || prefixed("0o", |c| c.is_ascii_digit())
            || prefixed("0b", |c| c.is_ascii_digit())
            || (lower.matches('-').count() >= 2 && lower.chars().all(date)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_need_no_quotes() {
        for text in [
            "app",
            "app:1",
            "r.test:5000/team/app:v1.2-3_x@sha256:00ff",
            "v1.10",
            "4b1c9e2",
            "127.0.0.1:5000/a",
        ] {
            assert!(stays_a_string(text), "{text}");
        }
    }

    #[test]
    fn what_a_schema_reads_as_something_else_does() {
        for text in [
            "",
            "123",
            "1.10",
            "0755",
            "0x1F",
            "0b11",
            "0o17",
            "1_000",
            "12e03",
            "1e5",
            "1:30",
            "190:20:30",
            "2001-12-14",
            "2001-12-14t21:59:43.10-05:00",
            "true",
            "No",
            "y",
            "NULL",
            "app:",
            "app: 1",
            "app #1",
            "[::1]:5000/app",
            "a,b",
            "{a}",
            "é",
            "-a",
            ".5",
            "~",
            "a\nb",
        ] {
            assert!(!stays_a_string(text), "{text}");
        }
    }
}
