//! What a run has come to, in the forms that `--output` names.

use git2::Oid;
use serde_json::{Map, Value, json};
use step::{Dotenv, Failure, Format, Records, document};

/// The result of a run that did not fail.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The merge request's page.
    pub url: Option<String>,
    /// The repository, without credentials.
    pub repository: String,
    /// The branch with the change.
    pub branch: String,
    /// The commit at its tip; none where there was nothing to change.
    pub commit: Option<Oid>,
    /// The branch to merge into.
    pub target: String,
    /// Whether the branch was moved.
    pub changed: bool,
    /// The changed files.
    pub files: Vec<String>,
    /// Which forge it is.
    pub forge: &'static str,
    /// How little was fetched: `blobless`, `shallow` or `full`.
    pub transfer: &'static str,
    /// How often the target had to be looked at.
    pub attempts: u32,
    /// Whether nothing was sent.
    pub dry_run: bool,
}

impl Outcome {
    /// Writes the result.
    pub fn print(&self, format: Format, out: &mut Records) -> Result<(), Failure> {
        match format {
            Format::Text => match (&self.url, self.commit) {
                (Some(url), _) => out.line(url),
                (None, Some(commit)) => out.line(format!("{} {} {commit}", self.repository, self.branch)),
                (None, None) => Ok(()),
            },
            Format::Json => out.line(document("mr-push", self.fields())),
            Format::Dotenv => {
                let mut report = Dotenv::new();
                report.set("MR_URL", self.url.as_deref().unwrap_or_default())?;
                report.set("MR_BRANCH", &self.branch)?;
                report.set("MR_COMMIT", &self.commit_text().unwrap_or_default())?;
                out.bytes(report.text().as_bytes())
            }
        }
    }

    fn commit_text(&self) -> Option<String> {
        self.commit.map(|commit| commit.to_string())
    }

    fn fields(&self) -> Map<String, Value> {
        let fields = [
            ("url", json!(self.url)),
            ("repository", json!(self.repository)),
            ("branch", json!(self.branch)),
            ("commit", json!(self.commit_text())),
            ("target", json!(self.target)),
            ("changed", json!(self.changed)),
            ("files", json!(self.files)),
            ("forge", json!(self.forge)),
            ("transfer", json!(self.transfer)),
            ("attempts", json!(self.attempts)),
            ("dryRun", json!(self.dry_run)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
