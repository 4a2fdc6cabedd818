//! What a forge says after a push, on the sideband.
//!
//! GitLab (`app/services/post_receive_service.rb`, gitaly's `internal/gitaly/hook/postreceive.go`):
//! alerts are boxed by lines of `=`, their words centred and wrapped; then `View merge request for
//! BRANCH:` with its URL, or `To create a merge request for BRANCH, visit:` with another. The text
//! comes in chunks that end anywhere.

/// The parts that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The merge request's URL.
    pub request: Option<String>,
    /// A page where a person could open one: there is none.
    pub invitation: Option<String>,
    /// The words of a `WARNINGS:` box.
    pub warnings: Option<String>,
    /// The server has the commit already and left everything as it is.
    pub nothing_new: bool,
}

impl Answer {
    /// Reads the whole of what the server said.
    pub fn parse(messages: &[u8]) -> Self {
        let text = String::from_utf8_lossy(messages).replace('\r', "\n");
        let warnings = boxes(&text).into_iter().find(|words| words.starts_with("WARNINGS:"));
        let warnings = warnings.map(|words| words["WARNINGS:".len()..].trim().to_owned());
        let urls: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
        let request = urls.iter().find(|url| is_request(url)).map(|url| (*url).to_owned());
        let invitation = urls.iter().find(|url| is_invitation(url)).map(|url| (*url).to_owned());
        Self { request, invitation, warnings, nothing_new: false }
    }

    /// Where the forge's pages are, as far as the project, told from a URL that it has printed.
    pub fn forge_url(&self, project: &str) -> Option<&str> {
        let url = self.request.as_deref().or(self.invitation.as_deref())?;
        let end = url.find(&format!("/{project}/"))?;
        Some(&url[..end])
    }
}

/// The words of each box, joined.
fn boxes(text: &str) -> Vec<String> {
    let is_border = |line: &str| line.len() >= 20 && line.bytes().all(|c| c == b'=');
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines().map(str::trim) {
        match (&mut open, is_border(line)) {
            (None, true) => open = Some(Vec::new()),
            (Some(words), true) => {
                found.push(words.join(" "));
                open = None;
            }
            (Some(words), false) => words.extend(line.split_whitespace()),
            (None, false) => {}
        }
    }
    found
}

/// GitLab's `/-/merge_requests/N`, Gitea's and GitHub's `/pulls/N` and `/pull/N`.
fn is_request(url: &str) -> bool {
    ["/-/merge_requests/", "/pulls/", "/pull/"].iter().any(|marker| {
        url.rsplit_once(marker).is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    })
}

fn is_invitation(url: &str) -> bool {
    url.contains("/-/merge_requests/new")
        || url.contains("/pulls/new/")
        || url.contains("/compare/")
        || url.contains("/pull/new/")
}

/// What the server said, for an error message: its lines without frames and without empty ones.
pub fn server_words(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages).replace('\r', "\n");
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.bytes().all(|c| c == b'='))
        .collect();
    lines.join(" ")
}

/// What the server said without the values of CI variables: where one option fails, GitLab repeats them all.
pub fn without_variables(messages: &[u8], options: &[String]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(messages).into_owned();
    for option in options.iter().filter_map(|option| option.strip_prefix("ci.variable=")) {
        let Some((name, value)) = option.split_once('=') else { continue };
        // The box breaks lines between words.
        for (at, word) in value.split_whitespace().enumerate() {
            if at == 0 {
                text = text.replace(&format!("{name}={word}"), &format!("{name}=***"));
            } else if word.len() >= 4 {
                text = text.replace(word, "***");
            }
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORDER: &str = "========================================================================";

    #[test]
    fn a_merge_request_is_told_from_an_invitation() {
        let view =
            b"\nView merge request for argocd/4b1c9e2:\n  https://gitlab.test/g/p/-/merge_requests/7\n\n";
        let answer = Answer::parse(view);
        assert_eq!(answer.request.as_deref(), Some("https://gitlab.test/g/p/-/merge_requests/7"));
        assert_eq!(answer.forge_url("g/p"), Some("https://gitlab.test"));
        let create = b"\nTo create a merge request for b, visit:\n  https://gitlab.test/g/p/-/merge_requests/new?merge_request%5Bsource_branch%5D=b\n\n";
        let answer = Answer::parse(create);
        assert_eq!(answer.request, None);
        assert!(answer.invitation.is_some());
    }

    #[test]
    fn a_boxed_warning_is_put_together_again() {
        let text = format!(
            "\n{BORDER}\n\n   WARNINGS: Error encountered with push options 'merge_request.create'\n      'merge_request.target=gone': Target branch g/p:gone does not\n                              exist\n\n{BORDER}\n\n\
             \nTo create a merge request for b, visit:\n  https://gitlab.test/g/p/-/merge_requests/new?x=1\n\n"
        );
        let warnings = Answer::parse(text.as_bytes()).warnings.unwrap();
        assert!(warnings.starts_with("Error encountered with push options"), "{warnings}");
        assert!(warnings.ends_with("Target branch g/p:gone does not exist"), "{warnings}");
    }

    #[test]
    fn a_banner_is_no_warning() {
        let text = format!("\n{BORDER}\n\n        Maintenance on Sunday\n\n{BORDER}\n\n");
        assert_eq!(Answer::parse(text.as_bytes()), Answer::default());
    }

    #[test]
    fn a_variables_value_is_not_repeated() {
        let options = ["merge_request.create", "ci.variable=PASSWORD=open sesame", "ci.variable=N=1"];
        let said = b"WARNINGS: options 'merge_request.create' 'ci.variable=PASSWORD=open\n   sesame' 'ci.variable=N=1': 1 x";
        let shown = without_variables(said, &options.map(ToOwned::to_owned));
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            "WARNINGS: options 'merge_request.create' 'ci.variable=PASSWORD=***\n   ***' 'ci.variable=N=***': 1 x"
        );
    }

    #[test]
    fn gitea_and_github_print_theirs() {
        let gitea = b"Visit the existing pull request:\n  http://127.0.0.1:3000/o/r/pulls/3\n";
        assert_eq!(Answer::parse(gitea).request.as_deref(), Some("http://127.0.0.1:3000/o/r/pulls/3"));
        let plain = b"\nCreate a new pull request for 'b':\n  http://127.0.0.1:3000/o/r/pulls/new/b\n\n";
        let answer = Answer::parse(plain);
        assert_eq!(
            (answer.request.as_deref(), answer.forge_url("o/r")),
            (None, Some("http://127.0.0.1:3000"))
        );
        let github =
            b"Create a pull request for 'b' on GitHub by visiting:\n https://github.com/o/r/pull/new/b\n";
        assert_eq!(Answer::parse(github).request, None);
    }
}
