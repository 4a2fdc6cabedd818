//! From a prepared change to the open merge request.

use git_remote::{PushRequest, Pushed, Remote};
use git2::{Buf, Oid, Repository};
use serde_json::json;
use step::{Failure, FailureKind, ResultExt};

use crate::commit::{says_the_same, tree_of};
use crate::delivery::{Prepared, Run};
use crate::forge::{Answer, Api, Forge, Opened, Way, Wishes, none_left_out, server_words, without_variables};
use crate::job::Lease;
use crate::outcome::Outcome;
use crate::preflight::{self, Standing};
use crate::tree::{between, has_all};

/// A prepared change on its way to the server.
pub struct Delivery<'a> {
    /// The run it belongs to.
    pub run: &'a Run<'a>,
    /// The change.
    pub prepared: &'a Prepared,
    /// How this forge makes requests.
    pub way: Way,
    /// The forge.
    pub forge: Forge,
    /// The branch to merge into.
    pub target: String,
    /// The branch for the change.
    pub branch: String,
    /// Where both are.
    pub standing: Standing,
    /// What the request is to be like.
    pub wishes: Wishes,
}

impl Delivery<'_> {
    /// Pushes the commit, unless it is there, and sees to the merge request.
    pub fn finish(&mut self, remote: &mut Remote, options: &[String]) -> Result<Outcome, Failure> {
        let job = self.run.job;
        if self.prepared.changes.is_empty() {
            self.run.console.note(format!("nothing to change on `{}`", self.target));
            let url = match self.api(None)? {
                Some(api) => api.find(&self.branch, &self.target)?.map(|found| found.url),
                None => None,
            };
            return Ok(Outcome { commit: None, ..self.outcome(url, false) });
        }
        let there = self.is_there(remote)?;
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
        let url = self.request(answer.as_ref(), there.is_some()).map_err(known)?;
        let moved = there.is_none() && !answer.is_some_and(|answer| answer.nothing_new);
        Ok(Outcome { commit: Some(commit), ..self.outcome(url, moved) })
    }

    /// The commit on the branch, if it is this change already; a branch with anything else is refused
    /// unless there is a lease on it.
    fn is_there(&self, remote: &mut Remote) -> Result<Option<Oid>, Failure> {
        let existing = self.standing.existing;
        if let Some(existing) = existing
            && self.is_same(existing, remote)?
        {
            return Ok(Some(existing));
        }
        let branch = &self.branch;
        let refuse = |what: String| {
            Err(Failure::message(FailureKind::Refused, what)
                .hint("choose another --branch, or replace its content with --force-with-lease"))
        };
        match (self.run.job.lease, existing) {
            (Lease::At(expected), Some(existing)) if expected != existing => {
                refuse(format!("the branch `{branch}` is at {existing}, not at {expected}"))
            }
            (Lease::At(expected), None) => {
                refuse(format!("the branch `{branch}` is not there, and not at {expected}"))
            }
            (Lease::Keep, Some(existing)) if existing != self.standing.base => {
                refuse(format!("the branch `{branch}` exists with other content ({existing})"))
            }
            // What is on the target already can't be lost.
            (Lease::Seen, existing) if existing != Some(self.standing.base) && !self.was_seen(existing) => {
                let message = format!("the branch `{branch}` was moved by somebody else during this run");
                Err(Failure::message(FailureKind::Transient, message)
                    .hint("look at what is there now: another run takes it for what may be replaced"))
            }
            _ => Ok(None),
        }
    }

    /// Whether the branch is where this run has seen it first, or has put it.
    fn was_seen(&self, existing: Option<Oid>) -> bool {
        self.run.first_seen.get().is_none_or(|seen| seen == existing)
            || (existing.is_some() && self.run.pushed.get() == existing)
    }

    /// Whether a commit brings this change and no other.
    fn is_same(&self, existing: Oid, remote: &mut Remote) -> Result<bool, Failure> {
        let repository = &self.run.store.repository;
        let find = |id| repository.find_commit(id).or_fail(FailureKind::Internal);
        let (there, new) = (find(existing)?, find(self.prepared.commit)?);
        if there.tree_id() == new.tree_id() {
            return Ok(true);
        }
        // An earlier run may have made it, on an older commit of the target.
        let (has, wanted) = (tree_of(repository, existing)?, tree_of(repository, new.id())?);
        let parent = there.parent_id(0).ok().filter(|parent| *parent != self.standing.base);
        let Some(parent) = parent.filter(|_| says_the_same(&there, &new)) else { return Ok(false) };
        if !has_all(&has, &self.prepared.changes) {
            return Ok(false);
        }
        if !self.run.fetch_ancestor(remote, parent)? {
            // What else it brings can't be seen, and its words are ours.
            return Ok(true);
        }
        let brought = between(repository, &tree_of(repository, parent)?, &has);
        Ok(has_all(&wanted, &brought.or_fail(FailureKind::Internal)?))
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
        let messages = without_variables(&messages, options);
        for line in
            String::from_utf8_lossy(&messages).lines().map(str::trim_end).filter(|line| !line.is_empty())
        {
            self.run.console.detail(format!("remote: {line}"));
        }
        match rejection {
            None => {
                self.run.pushed.set(Some(commit));
                Ok(Answer::parse(&messages))
            }
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
    fn request(&self, answer: Option<&Answer>, is_there: bool) -> Result<Option<String>, Failure> {
        let wishes = &self.wishes;
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
            Way::GitlabOptions => self.request_on_gitlab(answer, printed, is_there),
        }
    }

    /// The push has asked for everything but reviewers; its answer may lack a link, and GitLab may have dropped options.
    fn request_on_gitlab(
        &self,
        answer: Option<&Answer>,
        printed: Option<String>,
        is_there: bool,
    ) -> Result<Option<String>, Failure> {
        let wishes = &self.wishes;
        let console = self.run.console;
        let Some(api) = self.api(answer)? else {
            if printed.is_none() && answer.is_some_and(|answer| answer.invitation.is_some()) {
                return Err(no_request(answer));
            }
            if printed.is_none() {
                console.warn(
                    "the server has taken the push options and printed no link; with GITLAB_TOKEN set, the request would be looked up",
                );
            }
            if wishes.milestone.is_some() || !wishes.assignees.is_empty() {
                console.warn(
                    "GitLab drops a milestone or an assignee that it does not know without a word; with GITLAB_TOKEN set, they would be checked",
                );
            }
            return Ok(printed);
        };
        let number = printed.as_deref().and_then(|url| url.rsplit('/').next()?.parse().ok());
        let (url, number) = match (printed, number) {
            (Some(url), Some(number)) => (url, number),
            _ => match self.look_up_on_gitlab(&api, answer, is_there) {
                Ok(found) => (found.url, found.number),
                // A token for Git need not be one for the API.
                Err(failure) if failure.kind() == FailureKind::Auth && wishes.reviewers.is_empty() => {
                    console.warn(format!(
                        "the server printed no link, and the request can't be looked up: {failure}"
                    ));
                    return Ok(None);
                }
                Err(failure) => return Err(failure),
            },
        };
        let known = |failure: Failure| failure.with("url", json!(url));
        if !wishes.reviewers.is_empty() {
            api.set_reviewers(number, wishes).map_err(known)?;
        }
        if wishes.can_be_dropped() {
            match api.left_out(number, wishes) {
                Ok(options) => none_left_out(&options).map_err(known)?,
                Err(failure) => console.warn(format!("can't see what has become of the options: {failure}")),
            }
        }
        Ok(Some(url))
    }

    fn look_up_on_gitlab(
        &self,
        api: &Api,
        answer: Option<&Answer>,
        is_there: bool,
    ) -> Result<Opened, Failure> {
        match api.find(&self.branch, &self.target)? {
            Some(found) => Ok(found),
            // A server that takes no notice of a push that moves nothing.
            None if is_there => {
                let opened = api.open_on_gitlab(&self.branch, &self.target, &self.wishes);
                // Another job may have been faster.
                opened.or_else(|failure| api.find(&self.branch, &self.target)?.ok_or(failure))
            }
            None => Err(no_request(answer)),
        }
    }

    fn api_is_unknown(&self) -> bool {
        self.way == Way::GiteaApi && self.api_base(None).is_none()
    }

    /// The API, where there is a token and it is known where.
    fn api(&self, answer: Option<&Answer>) -> Result<Option<Api>, Failure> {
        let job = self.run.job;
        // A request lives in the project that it is to be merged into.
        let project = job.wishes.target_project.clone().or_else(|| job.url.project());
        let (Some(token), Some(project)) = (job.tokens.for_forge(self.forge), project) else {
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
        let projects = [job.url.project(), job.wishes.target_project.clone()];
        let forge_url = |project: String| answer?.forge_url(&project).map(ToOwned::to_owned);
        let printed = projects.into_iter().flatten().find_map(forge_url);
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
            transfer: self.run.transfer.get(),
            attempts: 1,
            dry_run: self.run.job.dry_run,
        }
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
