//! One commit that is a function of its input: the same change of the same source gets the same id.

use git2::{ObjectType, Oid, Repository, Signature, Time, Tree};
use step::{Failure, FailureKind, ResultExt};

use crate::signing::Signer;

/// Where a change comes from, as trailers.
pub const SOURCE_COMMIT: &str = "Source-Commit";
/// The pipeline that made it; another run of the same change has another one.
pub const SOURCE_PIPELINE: &str = "Source-Pipeline";
/// The job that made it.
pub const SOURCE_JOB: &str = "Source-Job";

/// Who made the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// For example a person's name.
    pub name: String,
    /// The address, without angle brackets.
    pub email: String,
}

impl Identity {
    /// Reads `Name <address>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('<')?;
        let (email, rest) = rest.split_once('>')?;
        let (name, email) = (name.trim(), email.trim());
        let whole = rest.trim().is_empty() && !name.is_empty() && !email.is_empty();
        whole.then(|| Self { name: name.to_owned(), email: email.to_owned() })
    }
}

/// What a commit says besides its tree.
#[derive(Debug, Clone)]
pub struct Words {
    /// The message, without the trailers.
    pub message: String,
    /// `Key: value` lines for its end.
    pub trailers: Vec<(String, String)>,
    /// Who made the change.
    pub author: Identity,
    /// Who made the commit.
    pub committer: Identity,
    /// When, in seconds since 1970; in UTC.
    pub time: i64,
}

impl Words {
    /// The whole message; trailers are a paragraph of their own at its end.
    fn text(&self) -> String {
        let mut text = self.message.trim_start_matches(['\n', '\r']).trim_end().to_owned();
        if !self.trailers.is_empty() {
            let has_trailers = git2::message_trailers_strs(&text).is_ok_and(|found| found.len() > 0);
            text.push_str(if has_trailers { "\n" } else { "\n\n" });
            let lines: Vec<String> =
                self.trailers.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            text.push_str(&lines.join("\n"));
        }
        text.push('\n');
        text
    }
}

/// Makes the commit, signed where there is a signer, and puts it into the store.
pub fn create(
    repository: &Repository,
    words: &Words,
    tree: Oid,
    parent: Oid,
    signer: Option<&Signer>,
) -> Result<Oid, Failure> {
    let time = Time::new(words.time, 0);
    let signature = |who: &Identity| {
        Signature::new(&who.name, &who.email, &time)
            .or_fail_with(FailureKind::Usage, || format!("`{} <{}>` can't be an author", who.name, who.email))
    };
    let (author, committer) = (signature(&words.author)?, signature(&words.committer)?);
    let stored = || "can't make the commit";
    let tree = repository.find_tree(tree).or_fail_with(FailureKind::Internal, stored)?;
    let parent = repository.find_commit(parent).or_fail_with(FailureKind::Internal, stored)?;
    let text = words.text();
    let buffer = repository
        .commit_create_buffer(&author, &committer, &text, &tree, &[&parent])
        .or_fail_with(FailureKind::Internal, stored)?;
    let made = match signer {
        None => repository.odb().and_then(|odb| odb.write(ObjectType::Commit, &buffer)),
        Some(signer) => {
            let content = std::str::from_utf8(&buffer).or_fail_with(FailureKind::Internal, stored)?;
            repository.commit_signed(content, &signer.sign(&buffer)?, Some("gpgsig"))
        }
    };
    made.or_fail_with(FailureKind::Output, stored)
}

/// Whether a commit on the branch says the same as one of ours, so that an earlier run may have made it, on an older target.
pub fn says_the_same(existing: &git2::Commit<'_>, new: &git2::Commit<'_>) -> bool {
    let who = |commit: &git2::Commit<'_>| commit.author().email_bytes().to_vec();
    existing.parent_count() == 1
        && who(existing) == who(new)
        && without_source(existing.message_bytes()) == without_source(new.message_bytes())
}

/// A message without the trailers that tell where the change comes from: another commit may lead to the same change.
fn without_source(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let of_source = |line: &&str| {
        let key = line.split_once(": ").map(|(key, _)| key);
        key.is_some_and(|key| [SOURCE_COMMIT, SOURCE_PIPELINE, SOURCE_JOB].contains(&key))
    };
    text.trim_end().lines().filter(|line| !of_source(line)).map(ToOwned::to_owned).collect()
}

/// The tree of a commit.
pub fn tree_of(repository: &Repository, commit: Oid) -> Result<Tree<'_>, Failure> {
    let tree = repository.find_commit(commit).and_then(|commit| commit.tree());
    tree.or_fail_with(FailureKind::Internal, || format!("commit {commit} was not fetched whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(message: &str) -> Words {
        let who = Identity::parse("A <a@b.test>").unwrap();
        Words {
            message: message.to_owned(),
            trailers: vec![("Source-Commit".to_owned(), "4b1c9e2".to_owned())],
            author: who.clone(),
            committer: who,
            time: 0,
        }
    }

    #[test]
    fn trailers_join_those_that_are_there() {
        assert_eq!(words("Bump\n").text(), "Bump\n\nSource-Commit: 4b1c9e2\n");
        assert_eq!(
            words("Bump\n\nWhy.\n\nRefs: #1").text(),
            "Bump\n\nWhy.\n\nRefs: #1\nSource-Commit: 4b1c9e2\n"
        );
    }

    #[test]
    fn an_identity_has_a_name_and_an_address() {
        let parsed = Identity::parse(" Ann O. <ann@b.test> ").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.email.as_str()), ("Ann O.", "ann@b.test"));
        for bad in ["Ann", "<ann@b.test>", "Ann <>", "Ann <a> b"] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn another_run_of_the_same_change_is_the_same() {
        let one = without_source(b"Bump\n\nSource-Commit: 1\nSource-Job: https://ci.test/1\n");
        let two = without_source(b"Bump\n\nSource-Commit: 2\nSource-Job: https://ci.test/2\n");
        assert_eq!(one, two);
        assert_ne!(one, without_source(b"Bump\n\nRefs: #2\n"));
    }
}
