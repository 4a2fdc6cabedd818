//! From the job to the open merge request.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use git_remote::{Narrowing, PushRequest, Pushed, RefList, Remote, RemoteUrl, Settings};
use git2::{Buf, Oid, Repository};
use serde_json::json;
use step::{Console, Failure, FailureKind, ResultExt, Secret};

use crate::commit::{self, Identity, Words, is_same_change, tree_of};
use crate::forge::{self, Answer, Api, Forge, Way, Wishes, server_words};
use crate::local_clone::LocalClone;
use crate::outcome::Outcome;
use crate::preflight::{self, Standing};
use crate::signing::Signer;
use crate::store::{Input, Store};
use crate::tree::{self, Changes, has_all};
use crate::{checkout, command};

/// A ref list older than this is read again before anything is pushed.
const FRESH: Duration = Duration::from_secs(2);

/// The first wait before another try; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// Everything a run is asked to do.
pub struct Job {
    /// The repository to push to.
    pub url: RemoteUrl,
    /// How to reach it.
    pub settings: Settings,
    /// Where the change comes from.
    pub source: Source,
    /// The branch to merge into; the repository's default branch where none is named.
    pub target: Option<String>,
    /// The branch for the change; named after the change where none is given.
    pub branch: Option<String>,
    /// The only directory that is checked out and may change; empty for all.
    pub path: PathBuf,
    /// The commit's message; made from the files where there is none.
    pub message: Option<String>,
    /// Lines for the message's end.
    pub trailers: Vec<(String, String)>,
    /// Who made the change.
    pub author: Identity,
    /// Who commits it.
    pub committer: Identity,
    /// When, in seconds since 1970; the target's time where the source has none.
    pub time: Option<i64>,
    /// Signs the commit.
    pub signer: Option<Signer>,
    /// What the merge request is to be like.
    pub wishes: Wishes,
    /// The forge, where it is not to be told from the server.
    pub forge: Option<Forge>,
    /// The host of the GitLab whose job this is.
    pub gitlab_host: Option<String>,
    /// The forge's API.
    pub api_url: Option<String>,
    /// Tokens by forge.
    pub tokens: Tokens,
    /// What may become of a branch with other content.
    pub lease: Lease,
    /// Do everything but the push.
    pub dry_run: bool,
    /// The most times to start from the server's refs, at least 1.
    pub attempts: u32,
}

/// Where a change comes from.
pub enum Source {
    /// A command that makes it in a checkout of the target.
    Command(Vec<String>),
    /// The work tree of a local clone.
    Clone(LocalClone),
}

/// A token goes to the forge that its variable names, and to no other.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Meant for this program, whatever the forge.
    pub any: Option<Secret>,
    /// For GitLab.
    pub gitlab: Option<Secret>,
    /// For Gitea and Forgejo.
    pub gitea: Option<Secret>,
    /// For GitHub.
    pub github: Option<Secret>,
}

impl Tokens {
    fn for_forge(&self, forge: Forge) -> Option<&Secret> {
        let own = match forge {
            Forge::Gitlab => &self.gitlab,
            Forge::Gitea => &self.gitea,
            Forge::Github => &self.github,
            Forge::None => &None,
        };
        self.any.as_ref().or(own.as_ref())
    }
}

/// What may become of a branch that has other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It stays.
    Keep,
    /// It is replaced if it is still where this run has seen it.
    Seen,
    /// It is replaced if it is at this commit.
    At(Oid),
}

/// A change made on a base.
struct Prepared {
    base: Oid,
    commit: Oid,
    changes: Changes,
    objects: Vec<Oid>,
    transfer: &'static str,
}

enum Step {
    Done(Outcome),
    /// The ref list has become old while the change was made.
    LookAgain,
}

/// Makes the change, pushes it and sees to the merge request.
pub fn deliver(mut job: Job, console: &Console) -> Result<Outcome, Failure> {
    let forge =
        job.forge.or_else(|| forge::before_login(&job.url, &job.settings, job.gitlab_host.as_deref()));
    if job.settings.http.token.is_none() {
        job.settings.http.token = forge.and_then(|forge| job.tokens.for_forge(forge)).cloned();
    }
    let store = Store::new()?;
    let stdin = match &job.source {
        Source::Command(_) => store.keep_stdin()?,
        Source::Clone(_) => None,
    };
    let mut run = Run { job: &job, console, store, stdin, forge, prepared: None };
    let mut wait = FIRST_WAIT;
    for attempt in 1..=job.attempts {
        let last = attempt == job.attempts;
        match run.attempt(attempt) {
            Ok(Step::Done(outcome)) => return Ok(outcome),
            Ok(Step::LookAgain) => {}
            Err(failure) if failure.kind() == FailureKind::Transient && !last => {
                console.note(format!("{failure}; trying again"));
                sleep(wait);
                wait *= 2;
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::message(FailureKind::Internal, "no attempt was made"))
}

struct Run<'a> {
    job: &'a Job,
    console: &'a Console,
    store: Store,
    stdin: Option<Input>,
    forge: Option<Forge>,
    prepared: Option<Prepared>,
}

impl Run<'_> {
    fn attempt(&mut self, attempt: u32) -> Result<Step, Failure> {
        let job = self.job;
        self.console.detail(format!("connecting to {}", job.url));
        let mut remote = Remote::connect(&job.url, &job.settings)?;
        let refs = remote.push_side()?.0.clone();
        let forge = match self.forge {
            Some(forge) => forge,
            None => *self.forge.insert(forge::after_login(&job.url, &mut remote)?),
        };
        let way = self.way(forge)?;
        let target = match &job.target {
            Some(target) => target.clone(),
            None => default_branch(&mut remote)?,
        };
        // Everything that can be refused without the change is refused here.
        let early = Self::standing(&refs, &target, job.branch.as_deref(), way)?;
        let options = self.options(way, &target, job.branch.as_deref().unwrap_or_default())?;
        preflight::check_options(remote.push_side()?.1, &options)?;

        let began = Instant::now();
        let is_new = self.prepared.as_ref().is_none_or(|prepared| prepared.base != early.base);
        if is_new {
            if self.prepared.is_some() {
                self.console.note(format!("`{target}` has moved; making the change again on {}", early.base));
            }
            self.prepared = Some(self.prepare(&mut remote, early)?);
            if began.elapsed() > FRESH && attempt < job.attempts {
                return Ok(Step::LookAgain);
            }
        } else if let Some(existing) = early.existing {
            self.fetch_missing(&mut remote, &[existing])?;
        }
        let Some(prepared) = &self.prepared else { return Ok(Step::LookAgain) };
        let branch = job.branch.clone().unwrap_or_else(|| branch_of(prepared));
        let standing = Self::standing(&refs, &target, Some(&branch), way)?;
        if job.branch.is_none()
            && let Some(existing) = standing.existing
        {
            self.fetch_missing(&mut remote, &[existing])?;
        }
        let mut delivery = Delivery { run: self, prepared, way, forge, target, branch, standing };
        let options = self.options(way, &delivery.target, &delivery.branch)?;
        let outcome = delivery.finish(&mut remote, &options)?;
        Ok(Step::Done(Outcome { attempts: attempt, ..outcome }))
    }

    /// The way this forge makes requests with what there is to ask it with.
    fn way(&self, forge: Forge) -> Result<Way, Failure> {
        let job = self.job;
        let token = job.tokens.for_forge(forge);
        let way = match forge {
            Forge::Gitlab => Way::GitlabOptions,
            Forge::Gitea if token.is_some() => Way::GiteaApi,
            Forge::Gitea => Way::Agit,
            Forge::Github => Way::GithubApi,
            Forge::None => Way::Plain,
        };
        if way == Way::GithubApi && token.is_none() {
            return Err(Failure::message(
                FailureKind::Auth,
                "GitHub opens pull requests through its API only",
            )
            .hint("set GITHUB_TOKEN, or --forge none to push the branch alone"));
        }
        if way == Way::GitlabOptions && !job.wishes.reviewers.is_empty() && token.is_none() {
            return Err(Failure::message(FailureKind::Auth, "GitLab takes reviewers through its API only")
                .hint("set GITLAB_TOKEN (scope api), or leave out --reviewer"));
        }
        let impossible = job.wishes.not_possible(way);
        if impossible.is_empty() {
            return Ok(way);
        }
        let message = format!("{} can't be asked of this server", impossible.join(", "));
        let failure = Failure::message(FailureKind::Usage, message);
        Err(match way {
            Way::Agit => failure.hint("Gitea takes them through its API: set GITEA_TOKEN"),
            Way::Plain => failure.hint("no merge request is made with --forge none"),
            _ => failure.hint("these are settings of the project there"),
        })
    }

    fn options(&self, way: Way, target: &str, branch: &str) -> Result<Vec<String>, Failure> {
        let wishes = &self.job.wishes;
        match way {
            Way::GitlabOptions => forge::gitlab(wishes, target),
            Way::Agit => forge::agit(wishes, branch, self.job.lease != Lease::Keep),
            Way::GiteaApi | Way::GithubApi | Way::Plain => Ok(wishes.push_options.clone()),
        }
    }

    fn standing(refs: &RefList, target: &str, branch: Option<&str>, way: Way) -> Result<Standing, Failure> {
        // Without a name for the branch, any that is not there does.
        let standing = preflight::check(refs, target, branch.unwrap_or("mr-push/new"), way == Way::Plain)?;
        Ok(match way {
            // The branch lives on Gitea's side of the request only.
            Way::Agit => Standing { existing: None, ..standing },
            _ if branch.is_none() => Standing { existing: None, ..standing },
            _ => standing,
        })
    }

    /// Fetches what the change needs, makes it, and makes a commit of it.
    fn prepare(&self, remote: &mut Remote, standing: Standing) -> Result<Prepared, Failure> {
        let job = self.job;
        let repository = &self.store.repository;
        let limited = !job.path.as_os_str().is_empty();
        let blobless = match &job.source {
            Source::Clone(_) => true,
            Source::Command(_) => limited && remote.allows_any_object()?,
        };
        let mut wants = vec![standing.base];
        wants.extend(standing.existing.filter(|existing| *existing != standing.base));
        let fetched = remote.fetch(repository, &wants, Narrowing { shallow: true, blobless })?;
        let transfer = match fetched.narrowing {
            Narrowing { blobless: true, .. } => "blobless",
            Narrowing { shallow: true, .. } => "shallow",
            _ => "full",
        };
        self.console.detail(format!("fetched {} bytes ({transfer})", fetched.bytes));
        let base_tree = tree_of(repository, standing.base)?;
        let changes = match &job.source {
            Source::Clone(clone) => clone.changes(repository, &base_tree, &job.path)?,
            Source::Command(words) => self.run_command(words, remote, &base_tree)?,
        };
        let base_time = repository.find_commit(standing.base).map_or(0, |commit| commit.time().seconds());
        let made = || "can't make the changed tree";
        let new = tree::apply(repository, &base_tree, &changes).or_fail_with(FailureKind::Output, made)?;
        let words = Words {
            message: job.message.clone().unwrap_or_else(|| message_for(&changes)),
            trailers: job.trailers.clone(),
            author: job.author.clone(),
            committer: job.committer.clone(),
            time: job.time.unwrap_or(base_time),
        };
        let commit = commit::create(repository, &words, new.id, standing.base, job.signer.as_ref())?;
        let mut objects = new.objects;
        objects.push(commit);
        Ok(Prepared { base: standing.base, commit, changes, objects, transfer })
    }

    fn run_command(
        &self,
        words: &[String],
        remote: &mut Remote,
        base: &git2::Tree<'_>,
    ) -> Result<Changes, Failure> {
        let repository = &self.store.repository;
        let path = &self.job.path;
        let before = tree::files_below(repository, base, path).or_fail(FailureKind::Internal)?;
        if before.is_empty() && !path.as_os_str().is_empty() {
            self.console.warn(format!("the target has nothing below {}", path.display()));
        }
        let files = before.values().flatten().filter(|file| file.mode != tree::SUBMODULE);
        let mut blobs: Vec<Oid> = files.map(|file| file.blob).collect();
        blobs.sort();
        blobs.dedup();
        self.fetch_missing(remote, &blobs)?;
        let directory = self.store.empty_checkout()?;
        std::fs::create_dir_all(directory.join(path))
            .or_fail_with(FailureKind::Output, || format!("can't make {}", path.display()))?;
        checkout::write(repository, &before, &directory)?;
        command::run(words, &directory, self.stdin.as_ref())?;
        checkout::changes(repository, &before, &directory, path)
    }

    fn fetch_missing(&self, remote: &mut Remote, objects: &[Oid]) -> Result<(), Failure> {
        let repository = &self.store.repository;
        let odb = repository.odb().or_fail(FailureKind::Internal)?;
        let missing: Vec<Oid> = objects.iter().copied().filter(|object| !odb.exists(*object)).collect();
        if !missing.is_empty() {
            remote.fetch(repository, &missing, Narrowing { shallow: true, blobless: false })?;
        }
        Ok(())
    }
}

/// A prepared change on its way to the server.
struct Delivery<'a> {
    run: &'a Run<'a>,
    prepared: &'a Prepared,
    way: Way,
    forge: Forge,
    target: String,
    branch: String,
    standing: Standing,
}

impl Delivery<'_> {
    fn finish(&mut self, remote: &mut Remote, options: &[String]) -> Result<Outcome, Failure> {
        let job = self.run.job;
        if self.prepared.changes.is_empty() {
            self.run.console.note(format!("nothing to change on `{}`", self.target));
            let url = match self.api(None)? {
                Some(api) => api.find(&self.branch, &self.target)?.map(|found| found.url),
                None => None,
            };
            return Ok(Outcome { commit: None, ..self.outcome(url, false) });
        }
        let there = self.is_there()?;
        if job.dry_run {
            self.run.console.note("nothing is pushed: --dry-run");
            return Ok(Outcome {
                commit: Some(there.unwrap_or(self.prepared.commit)),
                ..self.outcome(None, there.is_none())
            });
        }
        let commit = there.unwrap_or(self.prepared.commit);
        // Without a known API, only the server's answer to a push says where its pages are.
        let answer = if there.is_none() || self.way.is_by_push() || self.api_is_unknown() {
            Some(self.push(remote, commit, there.is_some(), options)?)
        } else {
            None
        };
        let known = |failure: Failure| {
            failure
                .with("branch", json!(self.branch))
                .with("commit", json!(commit.to_string()))
                .with("target", json!(self.target))
        };
        let url = self.request(answer.as_ref()).map_err(known)?;
        let moved = there.is_none() && !answer.is_some_and(|answer| answer.nothing_new);
        Ok(Outcome { commit: Some(commit), ..self.outcome(url, moved) })
    }

    /// The commit on the branch, if it is this change already; a branch with anything else is refused
    /// unless there is a lease on it.
    fn is_there(&self) -> Result<Option<Oid>, Failure> {
        let Some(existing) = self.standing.existing else { return Ok(None) };
        let repository = &self.run.store.repository;
        if existing == self.prepared.commit {
            return Ok(Some(existing));
        }
        if existing == self.standing.base {
            return Ok(None);
        }
        let find = |id| repository.find_commit(id).or_fail(FailureKind::Internal);
        let same = is_same_change(&find(existing)?, &find(self.prepared.commit)?)
            && has_all(&tree_of(repository, existing)?, &self.prepared.changes);
        if same {
            return Ok(Some(existing));
        }
        let refuse = |what: String| {
            Err(Failure::message(FailureKind::Refused, what)
                .hint("choose another --branch, or replace its content with --force-with-lease"))
        };
        match self.run.job.lease {
            Lease::Keep => {
                refuse(format!("the branch `{}` exists with other content ({existing})", self.branch))
            }
            Lease::At(expected) if expected != existing => {
                refuse(format!("the branch `{}` is at {existing}, not at {expected}", self.branch))
            }
            Lease::At(_) | Lease::Seen => Ok(None),
        }
    }

    fn push(
        &self,
        remote: &mut Remote,
        commit: Oid,
        is_there: bool,
        options: &[String],
    ) -> Result<Answer, Failure> {
        let repository = &self.run.store.repository;
        let objects: &[Oid] = if is_there { &[] } else { &self.prepared.objects };
        let pack = pack(repository, objects).or_fail_with(FailureKind::Output, || "can't make the pack")?;
        let reference = match self.way {
            Way::Agit => format!("refs/for/{}", self.target),
            _ => preflight::reference(&self.branch),
        };
        let old = self.standing.existing.unwrap_or(Oid::ZERO_SHA1);
        self.run.console.detail(format!("pushing {commit} to {reference}"));
        let request = PushRequest { reference: &reference, old, new: commit, options, pack: &pack };
        let Pushed { rejection, messages } = remote.push(&request)?;
        for line in
            String::from_utf8_lossy(&messages).lines().map(str::trim_end).filter(|line| !line.is_empty())
        {
            self.run.console.detail(format!("remote: {line}"));
        }
        match rejection {
            None => Ok(Answer::parse(&messages)),
            // Gitea refuses to do nothing (`services/agit/agit.go`).
            Some(reason)
                if self.way == Way::Agit && reason.contains("new commit is same with old commit") =>
            {
                Ok(Answer { nothing_new: true, ..Answer::default() })
            }
            Some(reason) => Err(refusal(&reason, &messages, self.way)),
        }
    }

    /// Sees to it that the request is there; its URL, where the server has one.
    fn request(&self, answer: Option<&Answer>) -> Result<Option<String>, Failure> {
        let wishes = &self.run.job.wishes;
        if let Some(words) = answer.and_then(|answer| answer.warnings.as_ref()) {
            let message =
                format!("the branch is pushed, but the server made no merge request as asked: {words}");
            return Err(Failure::message(FailureKind::Refused, message)
                .hint("correct what it names and run the same again: the branch is kept"));
        }
        let printed = answer.and_then(|answer| answer.request.clone());
        match self.way {
            Way::Plain => Ok(printed),
            Way::GiteaApi | Way::GithubApi => {
                let api = self.api(answer)?.ok_or_else(|| {
                    // Gitea prints its address after a push, though not for a repository filled just now.
                    Failure::message(
                        FailureKind::Transient,
                        "the branch is pushed, but the server does not say where its API is",
                    )
                    .hint("--api-url names it, for example https://git.example/api/v1")
                })?;
                let opened = api.ensure(&self.branch, &self.target, wishes)?;
                self.run.console.note(if opened.created {
                    "opened the request"
                } else {
                    "the request is open"
                });
                Ok(Some(opened.url))
            }
            Way::Agit if answer.is_some_and(|answer| answer.nothing_new) => {
                self.run.console.note(
                    "the request is open with this change; with GITEA_TOKEN set, it would be looked up",
                );
                Ok(None)
            }
            Way::Agit => printed.map(Some).ok_or_else(|| no_request(answer)),
            Way::GitlabOptions => {
                let api = self.api(answer)?;
                if let (Some(api), false) = (&api, wishes.reviewers.is_empty()) {
                    api.add_reviewers(&self.branch, &self.target, wishes)?;
                }
                if printed.is_some() {
                    return Ok(printed);
                }
                if let Some(api) = api {
                    let found = api.find(&self.branch, &self.target)?;
                    return found.map(|found| Some(found.url)).ok_or_else(|| no_request(answer));
                }
                if answer.is_some_and(|answer| answer.invitation.is_some()) {
                    return Err(no_request(answer));
                }
                self.run.console.warn(
                    "the server has taken the push options and printed no link; with GITLAB_TOKEN set, the request would be looked up",
                );
                Ok(None)
            }
        }
    }

    fn api_is_unknown(&self) -> bool {
        self.way == Way::GiteaApi && self.api_base(None).is_none()
    }

    /// The API, where there is a token and it is known where.
    fn api(&self, answer: Option<&Answer>) -> Result<Option<Api>, Failure> {
        let job = self.run.job;
        let (Some(token), Some(project)) = (job.tokens.for_forge(self.forge), job.url.project()) else {
            return Ok(None);
        };
        let Some(base) = self.api_base(answer) else { return Ok(None) };
        Api::new(self.forge, &base, &project, token.clone(), &job.settings).map(Some)
    }

    fn api_base(&self, answer: Option<&Answer>) -> Option<String> {
        let job = self.run.job;
        let host = job.url.host()?;
        if let Some(url) = &job.api_url {
            return Some(url.clone());
        }
        let project = job.url.project()?;
        let printed = answer.and_then(|answer| answer.forge_url(&project)).map(ToOwned::to_owned);
        let pages = job.url.pages().or(printed);
        match self.forge {
            Forge::None => None,
            Forge::Github if host == "github.com" => Some("https://api.github.com".to_owned()),
            Forge::Github => Some(format!("https://{host}/api/v3")),
            Forge::Gitlab => Some(format!("{}/api/v4", pages.unwrap_or_else(|| format!("https://{host}")))),
            Forge::Gitea => pages.map(|pages| format!("{pages}/api/v1")),
        }
    }

    fn outcome(&self, url: Option<String>, changed: bool) -> Outcome {
        Outcome {
            url,
            repository: self.run.job.url.to_string(),
            branch: self.branch.clone(),
            commit: None,
            target: self.target.clone(),
            changed,
            files: self.prepared.changes.keys().map(|path| path.display().to_string()).collect(),
            forge: self.forge.name(),
            transfer: self.prepared.transfer,
            attempts: 1,
            dry_run: self.run.job.dry_run,
        }
    }
}

fn default_branch(remote: &mut Remote) -> Result<String, Failure> {
    let refs = remote.refs(&["HEAD"])?;
    let name = refs.default_branch().map(ToOwned::to_owned);
    name.ok_or_else(|| preflight::Obstacle::NoDefault.into())
}

/// The same change always gets the same name.
fn branch_of(prepared: &Prepared) -> String {
    let id = prepared.commit.to_string();
    format!("mr-push/{}", &id[..12])
}

fn message_for(changes: &Changes) -> String {
    let mut paths = changes.keys();
    let first = paths.next().map(|path| path.display().to_string()).unwrap_or_default();
    match paths.count() {
        0 => format!("Update {first}"),
        more => format!("Update {first} and {more} more"),
    }
}

fn pack(repository: &Repository, objects: &[Oid]) -> Result<Vec<u8>, git2::Error> {
    let mut builder = repository.packbuilder()?;
    for object in objects {
        builder.insert_object(*object, None)?;
    }
    let mut bytes = Buf::new();
    builder.write_buf(&mut bytes)?;
    Ok(bytes.to_vec())
}

fn no_request(answer: Option<&Answer>) -> Failure {
    let page = answer.and_then(|answer| answer.invitation.as_deref());
    let failure = Failure::message(
        FailureKind::Refused,
        "the branch is pushed, but the server opened no merge request",
    );
    match page {
        Some(page) => failure.hint(format!("open it by hand at {page}")),
        None => failure.hint("does the account have the right to open one?"),
    }
}

/// Sorts a refusal: a race that another attempt may win, or a decision.
fn refusal(reason: &str, messages: &[u8], way: Way) -> Failure {
    let words = server_words(messages);
    let all = if words.is_empty() { reason.to_owned() } else { format!("{reason}: {words}") };
    let races = [
        "failed to update ref",
        "already exists",
        "cannot lock",
        "stale info",
        "fetch first",
        "incorrect old value",
    ];
    if races.iter().any(|race| reason.contains(race)) {
        let message = format!("the branch moved while this was pushed ({all})");
        return Failure::message(FailureKind::Transient, message)
            .hint("a later run starts from where it is then");
    }
    let failure = Failure::message(FailureKind::Refused, format!("the server refuses the push: {all}"));
    if way == Way::Agit && all.contains("force-push") {
        return failure.hint("the request has other commits; --force-with-lease replaces them");
    }
    failure
}
