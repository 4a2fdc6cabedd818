//! From the job to the open merge request.

use std::cell::Cell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use git_remote::{Narrowing, RefList, Remote};
use git2::Oid;
use step::{Console, Failure, FailureKind, ResultExt};

use crate::commit::{self, Words, tree_of};
use crate::forge::{self, Forge, Way, Wishes};
use crate::job::{Job, Lease, Source};
use crate::outcome::Outcome;
use crate::preflight::{self, Standing, reference};
use crate::request::Delivery;
use crate::store::{Input, Store};
use crate::tree::{self, Changes};
use crate::{checkout, command};

/// A ref list older than this is read again before anything is pushed.
const FRESH: Duration = Duration::from_secs(2);

/// A connection that was silent for longer is made anew: servers and the boxes in between drop it.
const ALIVE: Duration = Duration::from_secs(30);

/// The first wait before another try; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// A change made on a base.
pub struct Prepared {
    /// The target's commit that it is made on.
    pub base: Oid,
    /// The commit of it.
    pub commit: Oid,
    /// Its files.
    pub changes: Changes,
    /// What the server does not have, the commit included.
    pub objects: Vec<Oid>,
    /// The first line of its message.
    pub subject: String,
}

enum Step {
    Done(Outcome),
    /// The ref list has become old while the change was made; the connection may serve again.
    LookAgain(Option<Remote>),
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
    let mut run = Run {
        job: &job,
        console,
        store,
        stdin,
        forge,
        prepared: None,
        transfer: Cell::new("full"),
        first_seen: Cell::new(None),
        pushed: Cell::new(None),
    };
    let mut connection = None;
    let mut wait = FIRST_WAIT;
    for attempt in 1..=job.attempts {
        let last = attempt == job.attempts;
        match run.attempt(attempt, connection.take()) {
            Ok(Step::Done(outcome)) => return Ok(outcome),
            Ok(Step::LookAgain(remote)) => connection = remote,
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

/// One run: the job, and what its attempts share.
pub struct Run<'a> {
    /// What it is asked to do.
    pub job: &'a Job,
    /// Where words for people go.
    pub console: &'a Console,
    /// The objects it has.
    pub store: Store,
    stdin: Option<Input>,
    forge: Option<Forge>,
    prepared: Option<Prepared>,
    /// How little was fetched for it.
    pub transfer: Cell<&'static str>,
    /// Where the branch was when this run first looked, once it has; no commit where it was not there.
    pub first_seen: Cell<Option<Option<Oid>>>,
    /// What this run has pushed.
    pub pushed: Cell<Option<Oid>>,
}

impl Run<'_> {
    fn attempt(&mut self, attempt: u32, connection: Option<Remote>) -> Result<Step, Failure> {
        let job = self.job;
        let (mut remote, default) = match connection {
            Some(mut remote) => {
                remote.forget_push_side()?;
                (remote, None)
            }
            None => self.connect()?,
        };
        let refs = remote.push_side()?.0.clone();
        let forge = match self.forge {
            Some(forge) => forge,
            None => *self.forge.insert(forge::after_login(&job.url, &mut remote)?),
        };
        let way = self.way(forge)?;
        let target = match job.target.clone().or(default) {
            Some(target) => target,
            None => default_branch(&mut remote)?,
        };
        // Everything that can be refused without the change is refused here.
        let early = Self::standing(&refs, &target, job.branch.as_deref(), way)?;
        if job.branch.is_some() && self.first_seen.get().is_none() {
            self.first_seen.set(Some(early.existing));
        }
        let branch = job.branch.as_deref().unwrap_or_default();
        let options = Self::options(&job.wishes, way, &target, branch, job.lease)?;
        preflight::check_options(remote.push_side()?.1, &options)?;

        let began = Instant::now();
        let is_new = self.prepared.as_ref().is_none_or(|prepared| prepared.base != early.base);
        if is_new {
            if self.prepared.is_some() {
                self.console.note(format!("`{target}` has moved; making the change again on {}", early.base));
            }
            self.prepared = Some(self.prepare(&mut remote, early, way)?);
            if began.elapsed() > FRESH && attempt < job.attempts {
                return Ok(Step::LookAgain((began.elapsed() < ALIVE).then_some(remote)));
            }
        } else if let Some(existing) = early.existing {
            self.fetch_commits(&mut remote, early.base, Some(existing))?;
        }
        let Some(prepared) = &self.prepared else { return Ok(Step::LookAgain(Some(remote))) };
        let branch = job.branch.clone().unwrap_or_else(|| branch_of(prepared));
        let standing = Self::standing(&refs, &target, Some(&branch), way)?;
        if job.branch.is_none() && standing.existing.is_some() {
            self.fetch_commits(&mut remote, standing.base, standing.existing)?;
        }
        if self.first_seen.get().is_none() {
            self.first_seen.set(Some(standing.existing));
        }
        let wishes = Wishes { subject: Some(prepared.subject.clone()), ..job.wishes.clone() };
        let options = Self::options(&wishes, way, &target, &branch, job.lease)?;
        let mut delivery = Delivery { run: self, prepared, way, forge, target, branch, standing, wishes };
        let outcome = delivery.finish(&mut remote, &options)?;
        Ok(Step::Done(Outcome { attempts: attempt, ..outcome }))
    }

    /// Connects, and fetches what most probably is needed while the push side starts. Also the default branch, where it
    /// was asked for.
    fn connect(&self) -> Result<(Remote, Option<String>), Failure> {
        let job = self.job;
        self.console.detail(format!("connecting to {}", job.url));
        let mut remote = Remote::connect(&job.url, &job.settings)?;
        let target = job.target.as_ref().map_or_else(|| "HEAD".to_owned(), |target| reference(target));
        let branch = job.branch.as_ref().map(|branch| reference(branch));
        let prefixes: Vec<&str> = [Some(target.as_str()), branch.as_deref()].into_iter().flatten().collect();
        let Some(seen) = remote.refs_ahead(&prefixes)? else { return Ok((remote, None)) };
        if let Some(base) = seen.get(&target) {
            self.fetch_commits(&mut remote, base, branch.and_then(|branch| seen.get(&branch)))?;
        }
        Ok((remote, seen.default_branch().map(ToOwned::to_owned)))
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

    fn options(
        wishes: &Wishes,
        way: Way,
        target: &str,
        branch: &str,
        lease: Lease,
    ) -> Result<Vec<String>, Failure> {
        match way {
            Way::GitlabOptions => forge::gitlab(wishes, target),
            Way::Agit => forge::agit(wishes, branch, lease != Lease::Keep),
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
    fn prepare(&self, remote: &mut Remote, standing: Standing, way: Way) -> Result<Prepared, Failure> {
        let job = self.job;
        self.fetch_commits(remote, standing.base, standing.existing)?;
        let repository = &self.store.repository;
        let base_tree = tree_of(repository, standing.base)?;
        let changes = match &job.source {
            Source::Clone(clone) => clone.changes(&self.store, standing.base, &job.path, self.console)?,
            Source::Command(words) => self.run_command(words, remote, &base_tree)?,
        };
        let base_time = repository.find_commit(standing.base).map_or(0, |commit| commit.time().seconds());
        let made = || "can't make the changed tree";
        let new = tree::apply(repository, &base_tree, &changes).or_fail_with(FailureKind::Output, made)?;
        let words = Words {
            message: job.message.clone().unwrap_or_else(|| message_for(&changes)),
            trailers: {
                let kept = |(key, _): &&(String, String)| way.shows_branches() || is_of_source(key);
                job.trailers.iter().filter(kept).cloned().collect()
            },
            author: job.author.clone(),
            committer: job.committer.clone(),
            time: job.time.unwrap_or(base_time),
        };
        let commit = commit::create(repository, &words, new.id, standing.base, job.signer.as_ref())?;
        let mut objects = new.objects;
        objects.push(commit);
        let subject = words.message.trim_start().lines().next().unwrap_or_default().to_owned();
        Ok(Prepared { base: standing.base, commit, changes, objects, subject })
    }

    /// Fetches the target's commit, and the branch's, unless they are there.
    fn fetch_commits(&self, remote: &mut Remote, base: Oid, existing: Option<Oid>) -> Result<(), Failure> {
        let mut wants = vec![base];
        wants.extend(existing.filter(|existing| *existing != base));
        let wants = self.missing(&wants)?;
        if wants.is_empty() {
            return Ok(());
        }
        let limited = !self.job.path.as_os_str().is_empty();
        let blobless = match &self.job.source {
            Source::Clone(_) => true,
            Source::Command(_) => limited && remote.allows_any_object()?,
        };
        let narrowing = Narrowing { shallow: true, blobless };
        let fetched = remote.fetch(&self.store.repository, &wants, narrowing)?;
        let transfer = match fetched.narrowing {
            Narrowing { blobless: true, .. } => "blobless",
            Narrowing { shallow: true, .. } => "shallow",
            _ => "full",
        };
        self.console.detail(format!("fetched {} bytes ({transfer})", fetched.bytes));
        self.transfer.set(transfer);
        Ok(())
    }

    /// Fetches a commit that no branch ends with, and its tree; `false` where the server gives none.
    pub fn fetch_ancestor(&self, remote: &mut Remote, commit: Oid) -> Result<bool, Failure> {
        if self.missing(&[commit])?.is_empty() {
            return Ok(true);
        }
        if !remote.allows_any_object()? {
            return Ok(false);
        }
        remote.fetch(&self.store.repository, &[commit], Narrowing { shallow: true, blobless: true })?;
        Ok(true)
    }

    fn missing(&self, objects: &[Oid]) -> Result<Vec<Oid>, Failure> {
        let odb = self.store.repository.odb().or_fail(FailureKind::Internal)?;
        Ok(objects.iter().copied().filter(|object| !odb.exists(*object)).collect())
    }

    fn run_command(
        &self,
        words: &[String],
        remote: &mut Remote,
        base: &git2::Tree<'_>,
    ) -> Result<Changes, Failure> {
        let repository = &self.store.repository;
        let path = &self.job.path;
        let before = tree::files_below(repository, base, path)
            .or_fail_with(FailureKind::Refused, || "the target can't be checked out")?;
        let rules = checkout::rules_above(base, path);
        if before.is_empty() && !path.as_os_str().is_empty() {
            self.console.warn(format!("the target has nothing below {}", path.display()));
        }
        let files =
            before.values().chain(rules.values()).flatten().filter(|file| file.mode != tree::SUBMODULE);
        let mut blobs: Vec<Oid> = files.map(|file| file.blob).collect();
        blobs.sort();
        blobs.dedup();
        self.fetch_missing(remote, &blobs)?;
        let directory = self.store.empty_checkout()?;
        if !before.contains_key(path) {
            std::fs::create_dir_all(directory.join(path))
                .or_fail_with(FailureKind::Output, || format!("can't make {}", path.display()))?;
        }
        checkout::write(repository, &before, &directory)?;
        command::run(words, &directory, self.stdin.as_ref())?;
        checkout::changes(repository, &before, &directory, path, &rules)
    }

    fn fetch_missing(&self, remote: &mut Remote, objects: &[Oid]) -> Result<(), Failure> {
        let missing = self.missing(objects)?;
        if !missing.is_empty() {
            remote.fetch(&self.store.repository, &missing, Narrowing { shallow: true, blobless: false })?;
        }
        Ok(())
    }
}

fn default_branch(remote: &mut Remote) -> Result<String, Failure> {
    let refs = remote.refs(&["HEAD"])?;
    let name = refs.default_branch().map(ToOwned::to_owned);
    name.ok_or_else(|| preflight::Obstacle::NoDefault.into())
}

/// Whether a trailer is the same for every job of the source's commit.
fn is_of_source(key: &str) -> bool {
    ![commit::SOURCE_PIPELINE, commit::SOURCE_JOB].contains(&key)
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
