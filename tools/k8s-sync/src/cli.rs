//! The command line of k8s-sync, and the only place that reads the environment.

mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use git_remote::{RemoteOptions, RemoteUrl};
use step::{
    ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt as _, Talk, environment,
};

use crate::cluster::{Cluster, Conflicts, Destination, Resources, connect};
use crate::diff;
use crate::error::SyncError;
use crate::health;
use crate::ignore;
use crate::manifest::{Identity, Manifest};
use crate::options::SyncOptions;
use crate::plan::Plan;
use crate::plan_file::{PlanFile, Source};
use crate::rehearsal::Outlook;
use crate::report::{self, Tally};
use crate::rollback::Journal;
use crate::source::{Checkout, Release, read_files};
use crate::sync::Application;
use crate::wait;

/// How long a wave or a hook may take where health is not waited for.
const WAVE_SECONDS: u64 = 300;

const EXAMPLES: &str = "\
Examples:
  k8s-sync diff app --repo git@git.test:team/manifests.git --path app --dest-namespace app
  k8s-sync apply app -f manifests/ --dest-namespace app --prune
  k8s-sync watch app --repo \"$MANIFESTS\" --path manifests --revision demo --dest-namespace app \\
    --sync-policy automated --auto-prune --self-heal
  k8s-sync apply app -f chart/ --dest-name blue --dest-name green --sync-option CreateNamespace=true
  kubectl get deployment app -o yaml | k8s-sync health -f -

The cluster is the one of the kubeconfig's current context (KUBECONFIG), or inside a cluster the one around.
SSH keys and host keys come from SSH_PRIVATE_KEY and SSH_KNOWN_HOSTS (texts, or paths of files); an unknown host
key is refused.";

/// Manifests in Git to cluster: diffed, applied, pruned, waited for and kept that way
#[derive(Debug, clap::Parser)]
#[command(name = "k8s-sync", version, after_long_help = EXAMPLES, subcommand_required = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Verb,

    /// What to print
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true,
        env = "K8S_SYNC_OUTPUT"
    )]
    output: Format,

    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print what differs between the source and the cluster: 0 nothing, 1 something
    Diff(Sync),
    /// Make the cluster as the source says, once, and wait for health
    Apply(Sync),
    /// Wait until the source's objects are healthy
    Wait(Sync),
    /// Follow a branch and keep the cluster as it says
    Watch(Box<watch::Watch>),
    /// Print the health of objects, without a cluster
    Health(HealthOf),
    /// Print the Argo CD Application that does the same
    Application(Box<watch::Watch>),
}

/// An application, and how it is synced.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Sync {
    /// The application's name: its objects are told from others by it
    name: String,

    /// Read manifests from a file, a folder, or - for stdin, instead of a repository
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "repo", help_heading = "Source")]
    file: Option<PathBuf>,

    /// The repository's URL
    #[arg(long, value_name = "URL", env = "K8S_SYNC_REPO", help_heading = "Source")]
    repo: Option<String>,

    /// Branch, tag or commit
    #[arg(
        long,
        value_name = "REV",
        default_value = "HEAD",
        env = "K8S_SYNC_REVISION",
        help_heading = "Source"
    )]
    revision: String,

    /// The folder with the manifests, and all below it
    #[arg(long, value_name = "DIR", default_value = ".", env = "K8S_SYNC_PATH", help_heading = "Source")]
    path: String,

    /// Where fetched repositories are kept
    #[arg(long, value_name = "DIR", env = "K8S_SYNC_CACHE", help_heading = "Source")]
    cache: Option<PathBuf>,

    /// The API server, with the credentials of the current configuration; repeated for several clusters
    #[arg(long, value_name = "URL", env = "K8S_SYNC_DEST_SERVER", help_heading = "Destination")]
    dest_server: Vec<String>,

    /// A context of the kubeconfig; repeated for several clusters
    #[arg(long, value_name = "CONTEXT", conflicts_with = "dest_server", help_heading = "Destination")]
    dest_name: Vec<String>,

    /// Where objects go that name no namespace, and where the application's inventory is
    #[arg(
        long,
        value_name = "NS",
        default_value = "default",
        env = "K8S_SYNC_DEST_NAMESPACE",
        help_heading = "Destination"
    )]
    dest_namespace: String,

    /// Delete objects of the application that the source no longer has
    #[arg(long, visible_alias = "auto-prune", help_heading = "Sync")]
    prune: bool,

    /// The most that may be pruned at once, in percent of what the application has
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Sync")]
    max_prune: u8,

    /// Take over fields that another manager owns, instead of failing
    #[arg(long, help_heading = "Sync")]
    force_conflicts: bool,

    /// Leave fields that another manager owns as they are, instead of failing
    #[arg(long, conflicts_with = "force_conflicts", help_heading = "Sync")]
    yield_conflicts: bool,

    /// Differences that are not to be seen: a list like an Argo CD Application's ignoreDifferences, or the Application
    #[arg(long, value_name = "FILE", env = "K8S_SYNC_IGNORE_DIFFERENCES", help_heading = "Sync")]
    ignore_differences: Option<PathBuf>,

    /// Leave what --ignore-differences names as it is in the cluster, also where the rest of the object is written
    #[arg(long, help_heading = "Sync")]
    respect_ignore_differences: bool,

    /// Let the server try out every object, also where metadata proves that nothing has changed
    #[arg(long, help_heading = "Sync")]
    paranoid: bool,

    /// With diff: write the plan there. With apply: do exactly what that plan says, or nothing
    #[arg(long, value_name = "FILE", help_heading = "Sync")]
    plan: Option<PathBuf>,

    /// Give the fields that were changed their values back where the sync fails or an object is not healthy in time
    #[arg(long, help_heading = "Sync")]
    rollback_on_failure: bool,

    /// A sync option of Argo CD's, such as CreateNamespace=true; an object's own annotation wins
    #[arg(
        long = "sync-option",
        value_name = "OPTION=VALUE",
        env = "K8S_SYNC_OPTIONS",
        value_delimiter = ',',
        help_heading = "Sync"
    )]
    options: Vec<String>,

    /// Let the server try everything out, and write nothing
    #[arg(short = 'n', long, help_heading = "Sync")]
    dry_run: bool,

    /// How long to wait for health, and for each wave and hook, in seconds; 0 waits for waves and hooks only
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "K8S_SYNC_TIMEOUT",
        help_heading = "Sync"
    )]
    timeout: u64,

    #[command(flatten)]
    remote: RemoteOptions,
}

#[derive(Debug, Args)]
struct HealthOf {
    /// The objects: a file, a folder, or - for stdin
    #[arg(short = 'f', long = "file", value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

impl Program for Cli {
    const NAME: &'static str = "k8s-sync";

    fn preferences(&self) -> Preferences {
        Preferences { verbosity: self.talk.verbosity(), json: self.output == Format::Json }
    }

    fn run(self, io: &mut Io) -> Result<ExitStatus, Failure> {
        if self.output == Format::Dotenv {
            return Err(
                Failure::message(FailureKind::Usage, "k8s-sync has no dotenv output").hint("use -o json")
            );
        }
        let runtime = tokio::runtime::Runtime::new().or_fail(FailureKind::Internal)?;
        runtime.block_on(async {
            match self.command {
                Verb::Health(health) => print_health(&health, self.output, io),
                Verb::Application(watch) => watch.print_application(io),
                Verb::Diff(sync) => sync.diff(self.output, io).await,
                Verb::Apply(mut sync) => {
                    let made = sync.follow_plan()?;
                    sync.apply(self.output, made, io).await
                }
                Verb::Wait(sync) => sync.wait(self.output, io).await,
                Verb::Watch(watch) => watch.run(self.output, io).await,
            }
        })
    }
}

fn print_health(options: &HealthOf, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
    let release = Release { name: "release", namespace: "default" };
    for manifest in read_files(&options.file, release)? {
        let status = health::of(&manifest.object);
        report::health(&mut io.out, format, &Identity::of(&manifest.object), &status)?;
    }
    Ok(ExitStatus::Done)
}

impl Sync {
    fn ignore(&self) -> Result<Vec<ignore::Rule>, Failure> {
        let Some(file) = &self.ignore_differences else { return Ok(Vec::new()) };
        let path = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|cause| SyncError::Unreadable { path: path.clone(), cause })?;
        Ok(ignore::rules(&text, &path)?)
    }

    fn application(&self) -> Result<Application, Failure> {
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
            conflicts: match (self.force_conflicts, self.yield_conflicts) {
                (true, _) => Conflicts::Force,
                (false, true) => Conflicts::Yield,
                (false, false) => Conflicts::Fail,
            },
            paranoid: self.paranoid,
            ignore: self.ignore()?,
            journal: self.rollback_on_failure.then(Journal::default),
            options: SyncOptions { respect_ignored, ..options },
            patience: Duration::from_secs(if self.timeout == 0 { WAVE_SECONDS } else { self.timeout }),
        })
    }

    /// The clusters that are named; the current configuration's, where none is.
    fn destinations(&self) -> Vec<Destination> {
        let servers = self.dest_server.iter().map(|server| Destination::Server(server.clone()));
        let contexts = self.dest_name.iter().map(|context| Destination::Context(context.clone()));
        let named: Vec<Destination> = servers.chain(contexts).collect();
        if named.is_empty() { vec![Destination::Current] } else { named }
    }

    /// The one cluster of an operator.
    async fn cluster(&self) -> Result<Cluster, Failure> {
        let destinations = self.destinations();
        let [destination] = destinations.as_slice() else {
            return Err(Failure::message(FailureKind::Usage, "an operator keeps one cluster")
                .hint("run one operator a cluster, or `apply` with several"));
        };
        Ok(connect(destination).await?)
    }

    fn checkout(&self) -> Result<Checkout, Failure> {
        let Some(repo) = &self.repo else {
            return Err(Failure::message(
                FailureKind::Usage,
                "no source: neither --repo nor --file was given",
            )
            .hint("--repo URL --path DIR, or -f FILE"));
        };
        let url: RemoteUrl = repo.parse().map_err(Failure::from)?;
        let settings = self.remote.settings(&["K8S_SYNC_TOKEN", "GITLAB_TOKEN"])?;
        let cache = self.cache.clone().unwrap_or_else(|| {
            let home = environment::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| environment::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
            home.unwrap_or_else(std::env::temp_dir).join("k8s-sync").join(&self.name)
        });
        std::fs::create_dir_all(&cache)
            .or_fail_with(FailureKind::Input, || format!("can't make the cache folder {}", self.name))
            .map_err(|failure| failure.hint("--cache DIR names a folder that can be written"))?;
        Ok(Checkout::new(url, self.revision.clone(), &self.path, settings, cache))
    }

    /// What Helm calls the application.
    fn release(&self) -> Release<'_> {
        Release { name: &self.name, namespace: &self.dest_namespace }
    }

    /// The manifests, and the commit that they are of where they come from a repository.
    fn manifests(&self) -> Result<(Option<String>, Vec<Manifest>), Failure> {
        if let Some(file) = &self.file {
            return Ok((None, read_files(file, self.release())?));
        }
        let (commit, manifests) = self.checkout()?.read(self.release())?;
        Ok((Some(commit.to_string()), manifests))
    }

    /// Reads the plan that is to be applied, and takes the source from it where none is given.
    fn follow_plan(&mut self) -> Result<Option<PlanFile>, Failure> {
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

    /// A plan as a file has it.
    fn plan_file(
        &self,
        plan: &Plan,
        outlooks: &[Outlook],
        commit: Option<String>,
    ) -> Result<PlanFile, Failure> {
        let source = Source {
            file: self.file.clone().map(|file| {
                if file == Path::new("-") { file } else { std::path::absolute(&file).unwrap_or(file) }
            }),
            repo: self.repo.as_deref().map(step::without_credentials),
            path: self.path.clone(),
            commit,
        };
        Ok(PlanFile::of(&self.application()?, plan, outlooks, source))
    }

    /// What there is to do in each cluster. Nothing is written.
    async fn targets(&self) -> Result<Vec<Target>, Failure> {
        let destinations = self.destinations();
        if self.plan.is_some() && destinations.len() > 1 {
            return Err(Failure::message(FailureKind::Usage, "a plan file is of one cluster")
                .hint("make one for each, in a call of its own"));
        }
        // Before a cluster is asked for anything: a source that can't be read prunes nothing.
        let (commit, manifests) = self.manifests()?;
        let mut targets = Vec::new();
        for destination in destinations {
            let (cluster, application) = (connect(&destination).await?, self.application()?);
            let plan = application.plan(&cluster, &mut Resources::default(), manifests.clone()).await?;
            targets.push(Target { destination, cluster, application, plan, commit: commit.clone() });
        }
        Ok(targets)
    }

    async fn diff(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        let mut tally = Tally::default();
        for target in &targets {
            target.announce(targets.len(), io);
            let plan = &target.plan;
            let outlooks = target.application.compare(&target.cluster, plan).await?;
            if let Some(file) = &self.plan {
                self.plan_file(plan, &outlooks, target.commit.clone())?.write(file)?;
            }
            for (wanted, outlook) in plan.wanted.iter().zip(&outlooks) {
                let (live, would_be) = (outlook.live.as_ref(), outlook.would_be.as_ref());
                if let Some(text) = diff::unified(&wanted.identity, live, would_be) {
                    tally.add(outlook.change);
                    report::difference(&mut io.out, format, outlook.change, &wanted.identity, &text)?;
                }
            }
            for leaving in &plan.leaving {
                tally.add(report::Change::Pruned);
                let text = diff::unified(&leaving.identity, Some(&leaving.object), None).unwrap_or_default();
                report::difference(&mut io.out, format, report::Change::Pruned, &leaving.identity, &text)?;
            }
        }
        report::summary(&mut io.out, format, tally, requests(&targets), !tally.changed(), None)?;
        Ok(if tally.changed() { ExitStatus::No } else { ExitStatus::Done })
    }

    /// Writes the plan, and waits for health.
    async fn write(
        &self,
        target: &Target,
        tally: &mut Tally,
        format: Format,
        io: &mut Io,
    ) -> Result<(), Failure> {
        let out = &mut io.out;
        target
            .application
            .carry_out(&target.cluster, &target.plan, |change, identity| {
                tally.add(change);
                report::object(out, format, change, identity)
            })
            .await?;
        io.out.flush()?;
        if self.timeout > 0 {
            self.until_healthy(target).await?;
        }
        Ok(())
    }

    async fn apply(
        &self,
        format: Format,
        made: Option<PlanFile>,
        io: &mut Io,
    ) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        let mut tally = Tally::default();
        if self.dry_run {
            for target in &targets {
                target.announce(targets.len(), io);
                let outlooks = target.application.compare(&target.cluster, &target.plan).await?;
                for (wanted, outlook) in target.plan.wanted.iter().zip(&outlooks) {
                    tally.add(outlook.change);
                    report::object(&mut io.out, format, outlook.change, &wanted.identity)?;
                }
                for leaving in &target.plan.leaving {
                    tally.add(report::Change::Pruned);
                    report::object(&mut io.out, format, report::Change::Pruned, &leaving.identity)?;
                }
            }
            report::summary(&mut io.out, format, tally, requests(&targets), false, None)?;
            return Ok(ExitStatus::Done);
        }
        for Target { application, cluster, plan, commit, .. } in &targets {
            match &made {
                // Comparing tries everything out, too.
                Some(made) => {
                    let outlooks = application.compare(cluster, plan).await?;
                    made.holds(&self.plan_file(plan, &outlooks, commit.clone())?)?;
                }
                None => application.validate(cluster, plan).await?,
            }
        }
        for target in &targets {
            target.announce(targets.len(), io);
            if let Err(failure) = self.write(target, &mut tally, format, io).await {
                return Err(match &target.application.journal {
                    Some(journal) => roll_back(target, journal, failure, io).await,
                    None => failure,
                });
            }
        }
        let healthy = (self.timeout > 0).then_some(true);
        report::summary(&mut io.out, format, tally, requests(&targets), true, healthy)?;
        Ok(ExitStatus::Done)
    }

    async fn wait(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        for target in &targets {
            self.until_healthy(target).await?;
        }
        report::summary(&mut io.out, format, Tally::default(), requests(&targets), true, Some(true))?;
        Ok(ExitStatus::Done)
    }

    async fn until_healthy(&self, target: &Target) -> Result<(), Failure> {
        let (_, labels) = target.application.lists(&target.plan);
        let wanted = target.plan.wanted.iter().filter(|wanted| health::can_be_lacking(&wanted.identity.kind));
        let objects = target.application.places(&target.cluster, wanted).await?;
        if objects.is_empty() {
            return Ok(());
        }
        let timeout = Duration::from_secs(self.timeout);
        Ok(wait::until_healthy(&target.cluster, &objects, &labels, timeout).await?)
    }
}

/// A cluster, and what there is to do in it.
struct Target {
    destination: Destination,
    cluster: Cluster,
    application: Application,
    plan: Plan,
    commit: Option<String>,
}

impl Target {
    /// Says which of several clusters the following is about.
    fn announce(&self, of: usize, io: &Io) {
        if of > 1 {
            io.console.note(format!("{}:", self.destination));
        }
    }
}

fn requests(targets: &[Target]) -> u64 {
    targets.iter().map(|target| target.cluster.requests()).sum()
}

/// Takes back what was changed; the failure that led to it, with what became of that.
async fn roll_back(target: &Target, journal: &Journal, failure: Failure, io: &Io) -> Failure {
    let mut objects = 0_usize;
    let tell = |identity: &Identity| {
        objects += 1;
        io.console.note(format!("rolled back {identity}"));
    };
    match target.application.roll_back(&target.cluster, &target.plan, journal, tell).await {
        Ok(()) => failure.context(format!("rolled back {objects} objects")),
        Err(error) => failure.context(format!("could not roll back everything ({error})")),
    }
}
