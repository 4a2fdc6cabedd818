//! The command line of mr-push; it and the options that git-remote declares alone read the environment.

use std::path::{Component, Path, PathBuf};

use git_remote::{RemoteOptions, token_in};
use git2::{Oid, Repository};
use step::{
    ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt, Secret, Talk, environment,
};

use crate::commit::{self, Identity};
use crate::delivery::deliver;
use crate::forge::{Forge, Wishes};
use crate::job::{Job, Lease, Source, Tokens};
use crate::local_clone::LocalClone;
use crate::signing::Signer;

const EXAMPLES: &str = "\
Examples:
  # What the image is goes into the manifest, and a person merges it.
  echo registry.test/app:4b1c9e2 |
    mr-push --target demo --branch argocd/4b1c9e2 --title 'Runner: 4b1c9e2' --path manifests \\
      git@gitlab.test:team/manifests.git -- \\
      manifest-patch --image - --container app -i manifests/deployment.yml

  # A clone that is there already; its work tree is the change.
  mr-push --branch tidy --message 'Tidy up' .

  # The link for a later job.
  mr-push -o dotenv --branch bump git@gitlab.test:team/manifests.git -- ./bump.sh >mr.env

Secrets come from variables or files:
  SSH_PRIVATE_KEY, SSH_PRIVATE_KEY_PASSPHRASE, SSH_KNOWN_HOSTS   the text, or a file's path
  MR_PUSH_SIGN_KEY, MR_PUSH_SIGN_KEY_PASSPHRASE                  the text, or a file's path
  MR_PUSH_TOKEN                                                 for whatever forge it is
  GITLAB_TOKEN, GITEA_TOKEN, GITHUB_TOKEN                       for that forge only";

/// Change to branch, commit and merge request
///
/// Runs COMMAND in a temporary checkout of the target branch and turns what it changed into one commit
/// on a branch, pushed, with a merge request. Without COMMAND, REPOSITORY is a local clone, and the change
/// is what its work tree holds. Prints the request's URL.
#[derive(Debug, clap::Parser)]
#[command(name = "mr-push", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// URL of the repository, or path of a local clone where there is no COMMAND
    #[arg(value_name = "REPOSITORY", env = "MR_PUSH_REPOSITORY")]
    repository: String,
    /// Makes the change, in a checkout of the target branch; has this program's stdin
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// Branch to merge into [default: the repository's default branch]
    #[arg(long, value_name = "BRANCH", env = "MR_PUSH_TARGET")]
    target: Option<String>,
    /// Branch for the change [default: mr-push/ and the commit's id]
    #[arg(long, value_name = "BRANCH", env = "MR_PUSH_BRANCH")]
    branch: Option<String>,
    /// Directory to check out and commit, instead of everything
    #[arg(long, value_name = "DIR", env = "MR_PUSH_PATH")]
    path: Option<PathBuf>,
    /// Commit message [default: the title, or a list of the files]
    #[arg(short, long, value_name = "TEXT", env = "MR_PUSH_MESSAGE")]
    message: Option<String>,
    /// Who made the change, as 'Name <address>' [default: `GIT_AUTHOR_*`, `GITLAB_USER_*`, git's user.*]
    #[arg(long, value_name = "WHO", env = "MR_PUSH_AUTHOR")]
    author: Option<String>,
    /// Add a line `KEY: VALUE` to the end of the message
    #[arg(long, value_name = "KEY=VALUE", value_parser = trailer)]
    trailer: Vec<(String, String)>,
    /// Leave out the trailers Source-Commit, Source-Pipeline and Source-Job that a CI job adds (the last two never
    /// go with a push to Gitea's `refs/for/`)
    #[arg(long)]
    no_trailers: bool,
    /// Sign the commit with this SSH key (Ed25519 or ECDSA P-256), besides `MR_PUSH_SIGN_KEY`, its text or path
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Replace a branch that has other content, if it is where this run has seen it, or at COMMIT
    #[arg(long, value_name = "COMMIT", num_args = 0..=1, require_equals = true, default_missing_value = "seen")]
    force_with_lease: Option<String>,
    /// Do everything but the push
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How often to start again where the target or the branch moves, or the network fails
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=20))]
    attempts: u32,

    #[command(flatten)]
    request: RequestOptions,
    #[command(flatten)]
    remote: RemoteOptions,
    /// What the result looks like
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        help_heading = "Output",
        env = "MR_PUSH_OUTPUT"
    )]
    output: Format,
    #[command(flatten)]
    talk: Talk,
}

/// What the merge request is to be like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Merge request")]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
struct RequestOptions {
    /// Title [default: the message's first line]
    #[arg(long, value_name = "TEXT", env = "MR_PUSH_TITLE")]
    title: Option<String>,
    /// Description; may have several lines
    #[arg(long, value_name = "TEXT", env = "MR_PUSH_DESCRIPTION")]
    description: Option<String>,
    /// Label; may be repeated
    #[arg(long, value_name = "NAME")]
    label: Vec<String>,
    /// User to assign; may be repeated
    #[arg(long, value_name = "USER")]
    assignee: Vec<String>,
    /// User to ask for a review, through the API; may be repeated
    #[arg(long, value_name = "USER")]
    reviewer: Vec<String>,
    /// Milestone's title
    #[arg(long, value_name = "TITLE")]
    milestone: Option<String>,
    /// Not to be merged yet
    #[arg(long)]
    draft: bool,
    /// Merge when its pipeline succeeds
    #[arg(long)]
    auto_merge: bool,
    /// Remove the branch when it is merged
    #[arg(long)]
    remove_source_branch: bool,
    /// Make one commit of it when it is merged
    #[arg(long)]
    squash: bool,
    /// Project to merge into, where it is not this one
    #[arg(long, value_name = "PATH")]
    target_project: Option<String>,
    /// Push option to send as it is, for example ci.skip; may be repeated
    #[arg(long, value_name = "K=V")]
    push_option: Vec<String>,
    /// How the server makes requests [default: told from the server]
    #[arg(long, value_enum, value_name = "FORGE", env = "MR_PUSH_FORGE")]
    forge: Option<Forge>,
    /// The forge's API [default: told from the server]
    #[arg(long, value_name = "URL", env = "MR_PUSH_API_URL")]
    api_url: Option<String>,
}

impl Program for Cli {
    const NAME: &'static str = "mr-push";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: self.output == Format::Json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        let format = self.output;
        let outcome = deliver(self.job()?, &io.console)?;
        outcome.print(format, &mut io.out)?;
        Ok(ExitStatus::Done)
    }
}

impl Cli {
    fn job(self) -> Result<Job, Failure> {
        let clone = if self.command.is_empty() { Some(LocalClone::open(&self.repository)?) } else { None };
        let url = match &clone {
            Some(clone) => clone.push_url("origin")?,
            None => self.repository.clone(),
        };
        let config = match &clone {
            Some(clone) => clone.config(),
            None => git2::Config::open_default().ok(),
        };
        let author = self.author(config.as_ref())?;
        let committer =
            identity_in("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL").unwrap_or_else(|| author.clone());
        let source_time = match &clone {
            Some(clone) => clone.head_time(),
            None => working_directory_time(),
        };
        let epoch = environment::var("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok());
        let url: git_remote::RemoteUrl = url.parse()?;
        let clone_config = clone.as_ref().map(LocalClone::config_file);
        let settings = self.remote.settings(&url, &["MR_PUSH_TOKEN"], clone_config.as_deref())?;
        let gitlab_host = environment::var("CI_SERVER_HOST");
        let tokens = Tokens {
            any: settings.http.token.clone(),
            gitlab: token_in(&["GITLAB_TOKEN"])?,
            gitea: token_in(&["GITEA_TOKEN", "FORGEJO_TOKEN"])?,
            github: token_in(&["GITHUB_TOKEN", "GH_TOKEN"])?,
        };
        let on_own_gitlab = gitlab_host.as_deref().is_some_and(|host| url.host() == Some(host));
        let own_api = environment::var("CI_API_V4_URL").filter(|_| on_own_gitlab);
        let given_title = not_blank(self.request.title.as_ref());
        let message = not_blank(self.message.as_ref()).or_else(|| given_title.clone());
        let title = given_title.or_else(|| {
            let first = message.as_ref()?.lines().find(|line| !line.trim().is_empty())?;
            Some(first.trim().to_owned())
        });
        Ok(Job {
            target: self.target.clone(),
            branch: self.branch.clone(),
            path: limit(self.path.as_deref().unwrap_or(Path::new("")))?,
            message,
            trailers: self.trailers(),
            author,
            committer,
            time: epoch.or(source_time),
            signer: self.signer()?,
            lease: lease(self.force_with_lease.as_deref())?,
            dry_run: self.dry_run,
            attempts: self.attempts,
            forge: self.request.forge,
            api_url: self.request.api_url.clone().or(own_api),
            wishes: self.request.wishes(title)?,
            source: clone.map_or_else(|| Source::Command(self.command.clone()), Source::Clone),
            url,
            settings,
            gitlab_host,
            tokens,
        })
    }

    fn author(&self, config: Option<&git2::Config>) -> Result<Identity, Failure> {
        if let Some(text) = &self.author {
            return Identity::parse(text).ok_or_else(|| {
                Failure::message(FailureKind::Usage, format!("`{text}` is not an author"))
                    .hint("--author 'Name <address>'")
            });
        }
        // As with git, each of the two may come from either place.
        let either = |variable: &str, key: &str| {
            let configured = || config?.get_string(key).ok().filter(|value| !value.is_empty());
            environment::var(variable).or_else(configured)
        };
        let configured = || {
            let name = either("GIT_AUTHOR_NAME", "user.name")?;
            Some(Identity { name, email: either("GIT_AUTHOR_EMAIL", "user.email")? })
        };
        let on_github = || {
            let name = environment::var("GITHUB_ACTOR")?;
            let email = format!("{name}@users.noreply.github.com");
            Some(Identity { name, email })
        };
        identity_in("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
            .or_else(|| identity_in("GITLAB_USER_NAME", "GITLAB_USER_EMAIL"))
            .or_else(configured)
            .or_else(on_github)
            .ok_or_else(|| {
                Failure::message(FailureKind::Usage, "the commit has no author")
                    .hint("--author 'Name <address>', or GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL, or git's user.name and user.email")
            })
    }

    fn signer(&self) -> Result<Option<Signer>, Failure> {
        let key = match &self.sign_key {
            Some(path) => Some(Secret::new(
                std::fs::read_to_string(path)
                    .or_fail_with(FailureKind::Input, || format!("can't read {}", path.display()))?,
            )),
            None => environment::secret(&["MR_PUSH_SIGN_KEY"])?,
        };
        let passphrase = environment::secret(&["MR_PUSH_SIGN_KEY_PASSPHRASE"])?;
        let passphrase = passphrase.as_ref().map(Secret::expose);
        Ok(key.map(|key| Signer::new(key.expose(), passphrase)).transpose()?)
    }

    /// Where the change comes from, for whoever reads the history later.
    fn trailers(&self) -> Vec<(String, String)> {
        let of_job = [
            (commit::SOURCE_COMMIT, ["CI_COMMIT_SHA", "GITHUB_SHA"]),
            (commit::SOURCE_PIPELINE, ["CI_PIPELINE_URL", "CI_PIPELINE_ID"]),
            (commit::SOURCE_JOB, ["CI_JOB_URL", "CI_JOB_ID"]),
        ];
        let found = of_job
            .into_iter()
            .filter(|_| !self.no_trailers)
            .filter_map(|(key, variables)| Some((key.to_owned(), environment::first_of(&variables)?)));
        self.trailer.iter().cloned().chain(found).collect()
    }
}

impl RequestOptions {
    fn wishes(&self, title: Option<String>) -> Result<Wishes, Failure> {
        if let Some(title) = self.title.as_ref().filter(|title| title.contains(['\n', '\r'])) {
            let first = title.lines().next().unwrap_or_default();
            let failure =
                Failure::message(FailureKind::Usage, format!("the title has several lines: `{first}` …"));
            return Err(failure.hint("--description holds the rest"));
        }
        Ok(Wishes {
            title,
            subject: None,
            // GitLab would read nothing as `true`; a variable that is not set is no wish.
            description: not_blank(self.description.as_ref()),
            labels: each_not_blank(&self.label),
            assignees: each_not_blank(&self.assignee),
            reviewers: each_not_blank(&self.reviewer),
            milestone: not_blank(self.milestone.as_ref()),
            draft: self.draft,
            auto_merge: self.auto_merge,
            remove_source_branch: self.remove_source_branch,
            squash: self.squash,
            target_project: self.target_project.clone(),
            push_options: self.push_option.clone(),
        })
    }
}

fn not_blank(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).cloned()
}

fn each_not_blank(texts: &[String]) -> Vec<String> {
    texts.iter().filter_map(|text| not_blank(Some(text))).collect()
}

fn identity_in(name: &str, email: &str) -> Option<Identity> {
    Some(Identity { name: environment::var(name)?, email: environment::var(email)? })
}

/// The commit time of the repository that a CI job runs in, so that its retries make the same commit.
fn working_directory_time() -> Option<i64> {
    let repository = Repository::discover(".").ok()?;
    let commit = repository.head().ok()?.peel_to_commit().ok()?;
    Some(commit.time().seconds())
}

/// A path inside the repository, without `.` and slashes at its ends.
fn limit(path: &Path) -> Result<PathBuf, Failure> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) if name != ".git" => inside.push(name),
            _ => {
                let message = format!("--path {} is not a path inside the repository", path.display());
                return Err(
                    Failure::message(FailureKind::Usage, message).hint("for example --path manifests")
                );
            }
        }
    }
    Ok(inside)
}

fn lease(option: Option<&str>) -> Result<Lease, Failure> {
    match option {
        None => Ok(Lease::Keep),
        Some("seen") => Ok(Lease::Seen),
        Some(text) => match Oid::from_str(text) {
            Ok(id) if text.len() == 40 => Ok(Lease::At(id)),
            _ => Err(Failure::message(FailureKind::Usage, format!("`{text}` is not a full commit id"))
                .hint("--force-with-lease, or --force-with-lease=COMMIT with 40 hex digits")),
        },
    }
}

fn trailer(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed")?;
    let is_key = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if is_key && !value.contains('\n') {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err("a key has letters, digits and hyphens, and a value one line".to_owned())
    }
}
