//! `k8s-sync diff`, `apply` and `wait`: one run, over one cluster or several.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use step::{ExitStatus, Failure, FailureKind, Format, Io};

use super::interruption::{Signal, tell_of_an_interruption};
use super::sync::Sync;
use super::target::{Target, placed, requests, roll_back};
use crate::cluster::{Resources, connect};
use crate::diff;
use crate::error::SyncError;
use crate::health::can_be_lacking;
use crate::plan::{Plan, Wanted};
use crate::plan_file::{PlanFile, Source};
use crate::rehearsal::{Foretold, Outlook};
use crate::report::{self, Change};
use crate::reports::{self, Account};
use crate::wait;

/// One run, and where it is told besides.
#[derive(Debug, Args)]
pub(super) struct Once {
    #[command(flatten)]
    sync: Sync,

    /// Write a test case for each object there, as GitLab's artifacts:reports:junit takes them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,

    /// Write figures of the run there, in OpenMetrics' text format, as GitLab's artifacts:reports:metrics takes them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    metrics: Option<PathBuf>,
}

impl Once {
    pub(super) async fn diff(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        let mut account = Account::begin(&self.sync.name);
        let done = self.sync.tell_differences(format, io, &mut account).await;
        self.report(&account, done)
    }

    pub(super) async fn apply(&mut self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        let mut account = Account::begin(&self.sync.name);
        let done = match self.sync.follow_plan() {
            Ok(_) if self.sync.dry_run => self.sync.foretell(format, io, &mut account).await,
            Ok(made) => self.sync.make_it_so(format, made, io, &mut account).await,
            Err(failure) => Err(failure),
        };
        self.report(&account, done)
    }

    pub(super) async fn wait(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        self.sync.refuse_what_is_of_one_run("wait")?;
        let mut account = Account::begin(&self.sync.name);
        let done = self.sync.wait_for_all(format, io, &mut account).await;
        self.report(&account, done)
    }

    /// Writes the reports that were asked for, however the run ended.
    fn report(&self, account: &Account, done: Result<ExitStatus, Failure>) -> Result<ExitStatus, Failure> {
        let failure = done.as_ref().err().map(ToString::to_string);
        let done = done.map_err(|failure| account.summed_up(failure));
        let files = [
            self.junit.as_ref().map(|path| (path, account.junit(failure.as_deref()))),
            self.metrics.as_ref().map(|path| (path, account.open_metrics())),
        ];
        for (path, text) in files.into_iter().flatten() {
            if let Err(error) = reports::write(path, &text) {
                return done.and(Err(error.into()));
            }
        }
        done
    }
}

impl Sync {
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
            repo: self.repo.as_deref().map(step::url_without_credentials),
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
        // What is wrong with the call itself comes first.
        self.application()?;
        // Before a cluster is asked for anything: a source that can't be read prunes nothing.
        let keys = match self.decryption.source()? {
            Some(source) => Some(source.read(&connect(&destinations[0]).await?).await?),
            None => None,
        };
        let (commit, manifests) = self.manifests(keys.as_ref())?;
        let several = destinations.len() > 1;
        let mut targets = Vec::new();
        let mut manifests = manifests;
        let count = destinations.len();
        for (index, destination) in destinations.into_iter().enumerate() {
            let application = self.application()?;
            // They are large: the last cluster takes them over.
            let own = if index + 1 == count { std::mem::take(&mut manifests) } else { manifests.clone() };
            let planned = async {
                let cluster = connect(&destination).await?;
                let plan = application.plan(&cluster, &mut Resources::default(), own).await?;
                Ok::<_, SyncError>((cluster, plan))
            };
            let place = several.then(|| destination.to_string());
            let (cluster, plan) = planned.await.map_err(|error| placed(place, error.into()))?;
            targets.push(Target { destination, cluster, application, plan, commit: commit.clone(), several });
        }
        Ok(targets)
    }

    async fn tell_differences(
        &self,
        format: Format,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        let mut refused = None;
        for target in &targets {
            target.announce(io);
            let plan = &target.plan;
            let compared = target.application.compare(&target.cluster, plan).await;
            target.warn(io);
            let outlooks = match compared {
                // It is to be seen, whoever has the fields.
                Err(conflict @ SyncError::Conflict { .. }) if self.plan.is_none() => {
                    refused = refused.or(Some(target.failed(conflict)));
                    let mut taking = target.application.clone();
                    taking.conflicts.take_the_rest();
                    taking.compare(&target.cluster, plan).await
                }
                compared => compared,
            };
            let outlooks = outlooks.map_err(|error| target.failed(error))?;
            if let Some(file) = &self.plan {
                self.plan_file(plan, &outlooks, target.commit.clone())?.write(file)?;
            }
            let cluster = target.name();
            let mut same = Vec::new();
            for Foretold { change, identity, live, would_be, .. } in
                target.application.foretold(plan, &outlooks).into_iter().filter(|foretold| !foretold.hook)
            {
                let Some(text) = diff::unified(identity, live, would_be) else {
                    same.push(identity);
                    continue;
                };
                report::difference(&mut io.out, format, cluster.as_deref(), change, identity, &text)?;
                account.add(cluster.as_deref().unwrap_or_default(), change, identity, Some(text));
            }
            for identity in same {
                account.add(cluster.as_deref().unwrap_or_default(), Change::Unchanged, identity, None);
            }
        }
        if let Some(failure) = refused {
            return Err(failure);
        }
        account.requests = requests(&targets);
        account.synced = !account.tally.changed();
        report::summary(&mut io.out, format, account)?;
        Ok(if account.synced { ExitStatus::Done } else { ExitStatus::No })
    }

    /// Tells what `apply` would, and writes nothing.
    async fn foretell(
        &self,
        format: Format,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        for target in &targets {
            target.announce(io);
            let Target { application, cluster, plan, .. } = target;
            let tried = async {
                let outlooks = application.compare(cluster, plan).await?;
                application.validate_hooks(cluster, plan).await?;
                Ok::<_, SyncError>(outlooks)
            };
            let tried = tried.await;
            target.warn(io);
            let outlooks = tried.map_err(|error| target.failed(error))?;
            for foretold in application.foretold(plan, &outlooks) {
                target.tell(foretold.change, foretold.identity, format, io, account)?;
            }
        }
        account.requests = requests(&targets);
        account.synced = !account.tally.changed();
        report::summary(&mut io.out, format, account)?;
        Ok(ExitStatus::Done)
    }

    async fn make_it_so(
        &self,
        format: Format,
        made: Option<PlanFile>,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        for target in &targets {
            let Target { application, cluster, plan, commit, .. } = target;
            match &made {
                // Comparing tries everything out, too.
                Some(made) => {
                    let outlooks = application.compare(cluster, plan).await?;
                    application.validate_hooks(cluster, plan).await?;
                    made.holds(&self.plan_file(plan, &outlooks, commit.clone())?)?;
                }
                None => {
                    application.validate(cluster, plan).await.map_err(|error| target.failed(error))?;
                }
            }
        }
        let mut written = Vec::new();
        let mut signal = Signal::awaited(self.rollback_on_failure, io)?;
        for target in &targets {
            target.announce(io);
            written.push(target);
            let interrupted = tell_of_an_interruption(io);
            let done = tokio::select! {
                done = self.write(target, format, io, account) => done,
                () = signal.comes() => Err(Failure::message(FailureKind::Transient, "interrupted by a signal")),
            };
            account.requests = requests(&targets);
            target.warn(io);
            if let Err(failure) = done {
                let mut failure = placed(target.name(), failure);
                for target in written.into_iter().rev() {
                    if let Some(journal) = &target.application.journal {
                        failure = roll_back(target, journal, failure, io).await;
                    }
                }
                interrupted.disarm();
                return Err(failure);
            }
            interrupted.disarm();
        }
        account.requests = requests(&targets);
        (account.synced, account.healthy) = (true, (self.timeout > 0).then_some(true));
        report::summary(&mut io.out, format, account)?;
        Ok(ExitStatus::Done)
    }

    /// Writes the plan, and waits for health.
    async fn write(
        &self,
        target: &Target,
        format: Format,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<(), Failure> {
        let outcome = target
            .application
            .carry_out(&target.cluster, &target.plan, |change, identity| {
                target.tell(change, identity, format, io, account)
            })
            .await?;
        for (identity, altered) in outcome.altered {
            match altered.by {
                Some(_) => io.console.warn(altered.told(&identity)),
                None => io.console.note(altered.told(&identity)),
            }
        }
        for (identity, finalizers) in outcome.staying {
            io.console.warn(format!(
                "{identity} is being deleted, and stays until its finalizers are gone: {}",
                finalizers.join(", ")
            ));
        }
        for (identity, conflict) in outcome.yielded {
            io.console.note(format!("left {} of {identity} to {}", conflict.field, conflict.manager));
        }
        account.synced = true;
        if self.timeout > 0 {
            let (_, labels) = target.application.lists(&target.plan);
            self.until_healthy(target, Wanted::is_waited_for, &labels)
                .await
                .inspect_err(|_| account.healthy = Some(false))?;
        }
        Ok(())
    }

    async fn wait_for_all(
        &self,
        format: Format,
        io: &mut Io,
        account: &mut Account,
    ) -> Result<ExitStatus, Failure> {
        let targets = self.targets().await?;
        for target in &targets {
            for wanted in &target.plan.wanted {
                let cluster = target.name().unwrap_or_default();
                account.add(&cluster, Change::Unchanged, &wanted.identity, None);
            }
        }
        for target in &targets {
            // What was not applied here may not be there, whatever its kind.
            let is_told = |wanted: &Wanted| wanted.is_waited_for() || !can_be_lacking(&wanted.identity.kind);
            let healthy = self.until_healthy(target, is_told, &target.common_labels()).await;
            healthy
                .map_err(|failure| placed(target.name(), failure))
                .inspect_err(|_| account.healthy = Some(false))?;
        }
        account.requests = requests(&targets);
        account.healthy = Some(true);
        account.synced = targets.iter().all(|target| target.plan.is_empty());
        report::summary(&mut io.out, format, account)?;
        Ok(ExitStatus::Done)
    }

    async fn until_healthy(
        &self,
        target: &Target,
        is_waited_for: impl Fn(&Wanted) -> bool,
        labels: &str,
    ) -> Result<(), Failure> {
        let wanted = target.plan.wanted.iter().filter(|wanted| is_waited_for(wanted));
        let objects = target.application.places(&target.cluster, wanted).await?;
        if objects.is_empty() {
            return Ok(());
        }
        let timeout = Duration::from_secs(self.timeout);
        Ok(wait::until_healthy(&target.cluster, &objects, labels, timeout).await?)
    }
}
