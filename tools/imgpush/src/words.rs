//! What servers, programs and archives say, as people may be shown it.

/// The text without what could be used or could deceive: URLs without user, password and query, since a storage service's
/// have a signature there that stands for a login; characters that a terminal obeys as escapes.
pub fn shown(text: &str) -> String {
    let mut out = step::with_urls(text, |url, out| match url.find(['?', '#']) {
        Some(query) => {
            out.push_str(&url[..query]);
            out.push_str("?…");
        }
        None => out.push_str(url),
    });
    if out.contains(is_obeyed) {
        out = out.chars().fold(String::new(), |mut all, c| {
            if is_obeyed(c) {
                all.extend(c.escape_default());
            } else {
                all.push(c);
            }
            all
        });
    }
    out
}

/// Programs' messages have several lines at times.
fn is_obeyed(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_passwords_are_left_out_of_urls() {
        let said = "Put \"https://u:p?w@s3.test/b?X-Amz-Signature=abc&x=y\": EOF, see https://a.test/x#y and http://b.test";
        assert_eq!(shown(said), "Put \"https://s3.test/b?…\": EOF, see https://a.test/x?… and http://b.test");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(shown("a\u{1b}[31mb\r\u{7}\n\u{9b}1m é"), "a\\u{1b}[31mb\\r\\u{7}\n\\u{9b}1m é");
    }
}
