//! An application's options: what it is, where it comes from, where it goes, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args};
use git_remote::{RemoteOptions, RemoteUrl};
use step::{Failure, FailureKind, ResultExt as _, environment};

use super::decryption::Decryption;
use crate::cluster::Destination;
use crate::conflicts::{self, Whose};
use crate::decryption::keys::Keys;
use crate::error::SyncError;
use crate::ignore;
use crate::manifest::Manifest;
use crate::options::SyncOptions;
use crate::plan_file::PlanFile;
use crate::project::Project;
use crate::rollback::Journal;
use crate::source::{Checkout, Reading, Release, read_files};
use crate::sync::Application;

/// How long a wave or a hook may take where health is not waited for.
const WAVE_SECONDS: u64 = 300;

/// Options that mean something to a single run alone.
pub(super) const OF_ONE_RUN: [&str; 3] = ["plan", "dry_run", "rollback_on_failure"];
/// Options that mean something only where objects are written, or would be.
pub(super) const WRITING: [&str; 8] = [
    "prune",
    "max_prune",
    "plan",
    "dry_run",
    "rollback_on_failure",
    "paranoid",
    "force_conflicts",
    "yield_conflicts",
];

/// Leaves options out of a command's page that mean nothing to it.
pub(super) fn without(options: &[&str], arg: Arg) -> Arg {
    let hidden = options.contains(&arg.get_id().as_str());
    if hidden { arg.hide(true) } else { arg }
}

/// An application, and how it is synced.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Sync {
    /// The application's name: its objects are told from others by it
    pub(super) name: String,

    /// Read manifests from a file, a folder, or - for stdin, instead of a repository
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "repo", help_heading = "Source")]
    pub(super) file: Option<PathBuf>,

    /// The repository's URL
    #[arg(long, value_name = "URL", env = "K8S_SYNC_REPO", help_heading = "Source")]
    pub(super) repo: Option<String>,

    /// Branch, tag or commit
    #[arg(
        long,
        value_name = "REV",
        default_value = "HEAD",
        env = "K8S_SYNC_REVISION",
        help_heading = "Source"
    )]
    pub(super) revision: String,

    /// The folder with the manifests, and all below it; names that begin with a dot are passed over
    #[arg(long, value_name = "DIR", default_value = ".", env = "K8S_SYNC_PATH", help_heading = "Source")]
    pub(super) path: String,

    /// Where fetched repositories are kept
    #[arg(long, value_name = "DIR", env = "K8S_SYNC_CACHE", help_heading = "Source")]
    pub(super) cache: Option<PathBuf>,

    /// The API server, with the kubeconfig's credentials for it, or else the current ones; repeated for several clusters
    #[arg(long, value_name = "URL", env = "K8S_SYNC_DEST_SERVER", help_heading = "Destination")]
    pub(super) dest_server: Vec<String>,

    /// A context of the kubeconfig; repeated for several clusters
    #[arg(long, value_name = "CONTEXT", conflicts_with = "dest_server", help_heading = "Destination")]
    pub(super) dest_name: Vec<String>,

    /// Where objects go that name no namespace, and where the application's inventory is
    #[arg(
        long,
        value_name = "NS",
        default_value = "default",
        env = "K8S_SYNC_DEST_NAMESPACE",
        help_heading = "Destination"
    )]
    pub(super) dest_namespace: String,

    /// Delete objects of the application that the source no longer has; an object that may have dependents is gone when
    /// they are, unless `PrunePropagationPolicy` says otherwise
    #[arg(long, visible_alias = "auto-prune", help_heading = "Sync")]
    pub(super) prune: bool,

    /// The most that may be pruned at once, in percent of what the application has
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Sync")]
    pub(super) max_prune: u8,

    /// Take a source without manifests as it is, and prune everything; a source that is missing prunes nothing
    #[arg(long, help_heading = "Sync")]
    pub(super) allow_empty: bool,

    /// Take over fields that another manager owns, instead of failing: all, or those of a manager, or a field such as
    /// .spec.replicas with all below it; repeated
    #[arg(long, value_name = "WHOM", num_args = 0..=1, require_equals = true, default_missing_value = conflicts::ALL,
        help_heading = "Sync")]
    pub(super) force_conflicts: Vec<String>,

    /// Leave fields that another manager owns as they are, instead of failing: all, or some, as above
    #[arg(long, value_name = "WHOM", num_args = 0..=1, require_equals = true, default_missing_value = conflicts::ALL,
        help_heading = "Sync")]
    pub(super) yield_conflicts: Vec<String>,

    /// Differences that are not to be seen: a list like an Argo CD Application's ignoreDifferences, or the Application
    #[arg(long, value_name = "FILE", env = "K8S_SYNC_IGNORE_DIFFERENCES", help_heading = "Sync")]
    pub(super) ignore_differences: Option<PathBuf>,

    /// Leave what --ignore-differences names as it is in the cluster, also where the rest of the object is written;
    /// otherwise it is written with the rest, and another manager's field is a conflict then
    #[arg(long, help_heading = "Sync")]
    pub(super) respect_ignore_differences: bool,

    /// Let the server try out every object, also where metadata proves that nothing has changed
    #[arg(long, help_heading = "Sync")]
    pub(super) paranoid: bool,

    /// With diff: write the plan there. With apply: do exactly what that plan says, or nothing
    #[arg(long, value_name = "FILE", help_heading = "Sync")]
    pub(super) plan: Option<PathBuf>,

    /// Give the fields that were changed their values back where the sync fails, an object is not healthy in time, or
    /// SIGINT or SIGTERM comes; a second signal ends the run at once
    #[arg(long, help_heading = "Sync")]
    pub(super) rollback_on_failure: bool,

    /// A sync option of Argo CD's, such as CreateNamespace=true; an object's own annotation wins
    #[arg(
        long = "sync-option",
        value_name = "OPTION=VALUE",
        env = "K8S_SYNC_OPTIONS",
        value_delimiter = ',',
        help_heading = "Sync"
    )]
    pub(super) options: Vec<String>,

    /// A label of the namespace that `CreateNamespace` makes, kept as it is here; repeated
    #[arg(long = "namespace-label", value_name = "KEY=VALUE", help_heading = "Destination")]
    pub(super) namespace_labels: Vec<String>,

    /// An annotation of that namespace; repeated
    #[arg(long = "namespace-annotation", value_name = "KEY=VALUE", help_heading = "Destination")]
    pub(super) namespace_annotations: Vec<String>,

    /// Refuse what is outside this Argo CD `AppProject`: its repositories, namespaces and kinds
    #[arg(long, value_name = "FILE", env = "K8S_SYNC_PROJECT", help_heading = "Sync")]
    pub(super) project: Option<PathBuf>,

    /// Let the server try everything out, and write nothing
    #[arg(short = 'n', long, help_heading = "Sync")]
    pub(super) dry_run: bool,

    /// How long to wait for health, and for each wave and hook, in seconds; 0 waits for waves and hooks only
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "K8S_SYNC_TIMEOUT",
        help_heading = "Sync"
    )]
    pub(super) timeout: u64,

    /// What an Argo CD Application or a file of applications says besides.
    #[arg(skip)]
    pub(super) flat: bool,
    #[arg(skip)]
    pub(super) rules: Vec<ignore::Rule>,

    #[command(flatten)]
    pub(super) decryption: Decryption,

    #[command(flatten)]
    pub(super) remote: RemoteOptions,
}

impl Sync {
    fn ignore(&self) -> Result<Vec<ignore::Rule>, Failure> {
        let Some(file) = &self.ignore_differences else { return Ok(self.rules.clone()) };
        let path = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|cause| SyncError::Unreadable { path: path.clone(), cause })?;
        let mut rules = ignore::rules(&text, &path)?;
        rules.extend(self.rules.iter().cloned());
        Ok(rules)
    }

    pub(super) fn application(&self) -> Result<Application, Failure> {
        check_name(&self.name)?;
        let options =
            SyncOptions::parse(self.options.iter().map(String::as_str)).or_fail(FailureKind::Usage).map_err(
                |failure| failure.hint("--sync-option takes those of Argo CD's documentation, NAME=VALUE"),
            )?;
        let respect_ignored = options.respect_ignored || self.respect_ignore_differences;
        Ok(Application {
            name: self.name.clone(),
            namespace: self.dest_namespace.clone(),
            prune: self.prune,
            max_prune: self.max_prune,
            conflicts: self.conflicts()?,
            paranoid: self.paranoid,
            ignore: self.ignore()?,
            journal: self.rollback_on_failure.then(Journal::default),
            options: SyncOptions { respect_ignored, ..options },
            patience: Duration::from_secs(if self.timeout == 0 { WAVE_SECONDS } else { self.timeout }),
            project: self.project.as_deref().map(Project::read).transpose()?,
            namespace_metadata: self.namespace_metadata(options)?,
            allow_empty: self.allow_empty,
        })
    }

    fn conflicts(&self) -> Result<conflicts::Policy, Failure> {
        let (take, leave) = (Whose::parse(&self.force_conflicts), Whose::parse(&self.yield_conflicts));
        if take.is_all() && leave.is_all() {
            let message = "--force-conflicts and --yield-conflicts can't both be of all fields";
            return Err(Failure::message(FailureKind::Usage, message)
                .hint("name a manager or a field with one of them: --yield-conflicts=.spec.replicas"));
        }
        Ok(conflicts::Policy { take, leave })
    }

    /// What the namespace is marked with.
    fn namespace_metadata(
        &self,
        options: SyncOptions,
    ) -> Result<BTreeMap<&'static str, BTreeMap<String, String>>, Failure> {
        let mut metadata: BTreeMap<&'static str, BTreeMap<String, String>> = BTreeMap::new();
        for (field, pairs) in
            [("labels", &self.namespace_labels), ("annotations", &self.namespace_annotations)]
        {
            for pair in pairs {
                let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                    return Err(Failure::message(FailureKind::Usage, format!("`{pair}` is not KEY=VALUE")));
                };
                metadata.entry(field).or_default().insert(key.to_owned(), value.to_owned());
            }
        }
        if !metadata.is_empty() && !options.create_namespace {
            let message = "the namespace is not k8s-sync's to mark";
            return Err(Failure::message(FailureKind::Usage, message)
                .hint("add --sync-option CreateNamespace=true, or put the Namespace into the source"));
        }
        Ok(metadata)
    }

    /// The clusters that are named; the current configuration's, where none is.
    pub(super) fn destinations(&self) -> Vec<Destination> {
        let servers = self.dest_server.iter().map(|server| Destination::Server(server.clone()));
        let contexts = self.dest_name.iter().map(|context| Destination::Context(context.clone()));
        let named: Vec<Destination> = servers.chain(contexts).collect();
        if named.is_empty() { vec![Destination::Current] } else { named }
    }

    pub(super) fn checkout(&self) -> Result<Checkout, Failure> {
        let Some(repo) = &self.repo else {
            return Err(Failure::message(
                FailureKind::Usage,
                "no source: neither --repo nor --file was given",
            )
            .hint("--repo URL --path DIR, or -f FILE"));
        };
        let url: RemoteUrl = repo.parse().map_err(Failure::from)?;
        if let Some(project) = &self.project {
            Project::read(project)?.check_repository(repo)?;
        }
        // In a job it is a token of the job's own server.
        let of_elsewhere = environment::var("CI_SERVER_HOST").is_some_and(|own| url.host() != Some(&own));
        let tokens = &["K8S_SYNC_TOKEN", "GITLAB_TOKEN"][..if of_elsewhere { 1 } else { 2 }];
        let settings = self.remote.settings(&url, tokens, None)?;
        let cache = self.cache.clone().unwrap_or_else(|| {
            let home = environment::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| environment::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
            home.unwrap_or_else(std::env::temp_dir).join("k8s-sync").join(&self.name)
        });
        std::fs::create_dir_all(&cache)
            .or_fail_with(FailureKind::Input, || format!("can't make the cache folder {}", cache.display()))
            .map_err(|failure| failure.hint("--cache DIR names a folder that can be written"))?;
        let checkout = Checkout::new(url, self.revision.clone(), &self.path, settings, cache).flat(self.flat);
        Ok(if self.allow_empty { checkout.allowing_none() } else { checkout })
    }

    /// What Helm calls the application.
    pub(super) fn release(&self) -> Release<'_> {
        Release { name: &self.name, namespace: &self.dest_namespace }
    }

    /// The manifests, and the commit that they are of where they come from a repository.
    pub(super) fn manifests(&self, keys: Option<&Keys>) -> Result<(Option<String>, Vec<Manifest>), Failure> {
        let reading = Reading { release: self.release(), keys };
        if let Some(file) = &self.file {
            return match read_files(file, reading) {
                Err(SyncError::EmptySource(_)) if self.allow_empty => Ok((None, Vec::new())),
                read => Ok((None, read?)),
            };
        }
        let (commit, manifests) = self.checkout()?.read(reading)?;
        Ok((Some(commit.to_string()), manifests))
    }

    /// Refuses what means something to a single run alone that writes, or would.
    pub(super) fn refuse_what_is_of_one_run(&self, command: &str) -> Result<(), Failure> {
        let options = [
            (self.plan.is_some(), "--plan"),
            (self.dry_run, "--dry-run"),
            (self.rollback_on_failure, "--rollback-on-failure"),
        ];
        let given: Vec<&str> = options.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
        if given.is_empty() {
            return Ok(());
        }
        let message = format!("{command} can do nothing with {}", given.join(", "));
        Err(Failure::message(FailureKind::Usage, message).hint("leave it out; diff and apply take it"))
    }

    /// Reads the plan that is to be applied, and takes the source from it where none is given.
    pub(super) fn follow_plan(&mut self) -> Result<Option<PlanFile>, Failure> {
        let Some(path) = &self.plan else { return Ok(None) };
        let made = PlanFile::read(path)?;
        if self.file.is_none() && self.repo.is_none() {
            self.file.clone_from(&made.source.file);
            self.repo.clone_from(&made.source.repo);
            self.path.clone_from(&made.source.path);
        }
        if let (None, Some(commit)) = (&self.file, &made.source.commit) {
            self.revision.clone_from(commit);
        }
        Ok(Some(made))
    }
}

/// Refuses what can't be part of an object's name, or makes the field manager's too long (128 bytes).
fn check_name(name: &str) -> Result<(), Failure> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c);
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    let parts_fit = name.split('.').all(|part| edge(part.as_bytes().first()) && edge(part.as_bytes().last()));
    if bytes.iter().all(|c| inner(*c)) && parts_fit && bytes.len() <= 100 {
        return Ok(());
    }
    Err(Failure::message(FailureKind::Usage, format!("`{name}` can't be an application's name"))
        .hint("small letters, digits, - and ., at most 100, as in names of Kubernetes' objects"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applications_name_is_part_of_objects_names() {
        for name in ["app", "a", "team.app-1", "1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "App", "a_b", "-a", "a-", "a..b", "a/b", &"a".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
