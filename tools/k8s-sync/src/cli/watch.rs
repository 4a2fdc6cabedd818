//! `k8s-sync watch` and `k8s-sync application`: the operator's options.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use step::{
    Cleanup, ExitStatus, Failure, FailureKind, Format, Io, ResultExt as _, Secret, environment,
    url_without_credentials,
};
use tokio::sync::{Notify, watch};

use super::sync::{self, Sync};
use crate::cluster::{Cluster, Destination, connect, connect_within};
use crate::source::Checkout;
use crate::watch::Calls;
use crate::watch::applications::{self, Declared};
use crate::watch::board::{Board, Origin, Role};
use crate::watch::journal::Journal;
use crate::watch::lease::{self, Lease, release_at_the_end};
use crate::watch::listen::{self, Answers};
use crate::watch::operator::{Behaviour, Operator};

/// What the operator takes besides.
#[derive(Debug, Clone, Args)]
#[command(
    mut_args(|arg| sync::without(&sync::OF_ONE_RUN, arg)),
    mut_arg("name", |name| name.required(false).default_value("").hide_default_value(true)),
    mut_arg("file", |file| file.help("Follow the applications of a file instead: Argo CD's Application objects, \
        or `applications:` with name, repo, automated (true is `--sync-policy automated`) and most other options of this page \
        in camelCase"))
)]
pub(super) struct Watch {
    #[command(flatten)]
    pub(super) sync: Sync,

    /// `automated` syncs new commits; `none` only tells of them
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Policy::None, help_heading = "Sync")]
    pub(super) sync_policy: Policy,

    /// Change back what others change in the cluster
    #[arg(long, help_heading = "Sync")]
    pub(super) self_heal: bool,

    /// Seconds between two looks at the repository
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "K8S_SYNC_POLL",
        value_parser = clap::value_parser!(u64).range(1..), help_heading = "Source")]
    pub(super) poll: u64,

    /// Answer /healthz, /readyz, /metrics, /webhook and the page there, such as 0.0.0.0:8080
    #[arg(long, value_name = "ADDRESS", env = "K8S_SYNC_LISTEN", help_heading = "Operator")]
    pub(super) listen: Option<SocketAddr>,

    /// The secret of the push webhook at /webhook, besides `K8S_SYNC_WEBHOOK_SECRET` (text, or the path of a file)
    #[arg(long, value_name = "FILE", help_heading = "Operator")]
    pub(super) webhook_secret_file: Option<PathBuf>,

    /// Work only while holding this Lease: of several replicas one does
    #[arg(long, value_name = "NAMESPACE/NAME", env = "K8S_SYNC_LEASE", help_heading = "Operator")]
    pub(super) lease: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Policy {
    Automated,
    None,
}

impl Watch {
    pub(super) async fn run(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        self.sync.refuse_what_is_of_one_run("watch")?;
        let followed = self.followed()?;
        for each in &followed {
            each.check()?;
        }
        let secret = self.webhook_secret()?;
        let (journal, mut records) = Journal::new(format, io.console.clone());
        let mut copies = Vec::new();
        for each in &followed {
            copies.extend(each.in_each_cluster()?);
        }
        let origins = copies.iter().map(|(label, each)| (label.clone(), each.origin()));
        let board = Arc::new(Board::new(origins));
        let lease = match &self.lease {
            Some(lease) => Some(Arc::new(open_lease(lease).await?)),
            None => None,
        };
        let mut calls = Calls::new(lease.clone());
        let mut operators = Vec::new();
        let mut shared = Shared {
            board: board.clone(),
            journal: journal.clone(),
            clusters: HashMap::new(),
            checkouts: HashMap::new(),
        };
        for (label, each) in copies {
            let call = Arc::new(Notify::new());
            calls.add(&label, each.sync.repo.as_deref().unwrap_or_default(), call.clone());
            operators.push(each.operator(label, call, &mut shared).await?);
        }
        let calls = Arc::new(calls);
        let port = match self.listen {
            Some(address) => Some(listen::open(address).await?),
            None => None,
        };
        let answers = Answers { board: board.clone(), secret, listener: calls.clone() };
        let answering = async {
            let Some(port) = port else { return std::future::pending().await };
            // The port may have been left to the system.
            if let Ok(address) = port.local_addr() {
                journal.listening(address);
            }
            listen::serve(port, answers).await
        };
        let working = async {
            let work = || async {
                join_all(operators.iter().map(Operator::run)).await;
            };
            if let Some(lease) = &lease {
                let stop = watch::Sender::new(false);
                let stopped = stop.subscribe();
                let _at_the_end: Cleanup = release_at_the_end(lease, stop);
                lease.hold(&board, &journal, |name| calls.call(name), stopped, work).await;
            } else {
                board.set_role(&Role::Leading);
                work().await;
            }
        };
        let writing = async {
            while let Some(record) = records.recv().await {
                io.out.line(record)?;
                io.out.flush()?;
            }
            Ok::<(), Failure>(())
        };
        tokio::select! {
            ended = answering => ended?,
            () = working => {}
            ended = writing => ended?,
        }
        Ok(ExitStatus::Done)
    }

    /// The applications: of the file, each with the other options of the command line, or the one that is named.
    pub(super) fn followed(&self) -> Result<Vec<Self>, Failure> {
        let Some(file) = &self.sync.file else {
            if self.sync.name.is_empty() {
                return Err(Failure::message(
                    FailureKind::Usage,
                    "which application? neither NAME nor -f FILE was given",
                )
                .hint("k8s-sync watch NAME --repo URL --path DIR, or k8s-sync watch -f applications.yaml"));
            }
            return Ok(vec![self.clone()]);
        };
        if !self.sync.name.is_empty() {
            let message = "-f FILE names the applications itself";
            return Err(Failure::message(FailureKind::Usage, message).hint("leave NAME out"));
        }
        Ok(applications::read(file)?.into_iter().map(|declared| self.with(declared)).collect())
    }

    /// This command line, with what a file says of one application.
    fn with(&self, declared: Declared) -> Self {
        let mut each = self.clone();
        let sync = &mut each.sync;
        sync.file = None;
        sync.cache = sync.cache.take().map(|cache| cache.join(&declared.name));
        sync.name = declared.name;
        sync.repo = Some(declared.repo);
        if declared.dest_server.is_some() || declared.dest_name.is_some() {
            sync.dest_server = declared.dest_server.into_iter().collect();
            sync.dest_name = declared.dest_name.into_iter().collect();
        }
        put(&mut sync.revision, declared.revision);
        put(&mut sync.path, declared.path);
        put(&mut sync.flat, declared.recurse.map(|recurse| !recurse));
        put(&mut sync.dest_namespace, declared.dest_namespace);
        put(&mut sync.prune, declared.auto_prune);
        put(&mut sync.max_prune, declared.max_prune);
        put(&mut sync.force_conflicts, declared.force_conflicts);
        put(&mut sync.yield_conflicts, declared.yield_conflicts);
        put(&mut sync.allow_empty, declared.allow_empty);
        put(&mut sync.paranoid, declared.paranoid);
        put(&mut sync.options, declared.sync_options);
        put(&mut sync.namespace_labels, declared.namespace_labels);
        put(&mut sync.namespace_annotations, declared.namespace_annotations);
        put(&mut sync.rules, declared.ignore_differences);
        put(&mut sync.respect_ignore_differences, declared.respect_ignore_differences);
        put(&mut sync.timeout, declared.timeout);
        put(&mut sync.decryption.decrypt, declared.decrypt);
        put(&mut sync.decryption.age_key_file, declared.age_key_file.map(Some));
        put(&mut sync.decryption.age_key_secret, declared.age_key_secret.map(Some));
        let remote = &mut sync.remote;
        put(&mut remote.ssh_key_file, declared.ssh_key_file.map(Some));
        put(&mut remote.known_hosts, declared.known_hosts.map(Some));
        put(&mut remote.host_key_fingerprint, declared.host_key_fingerprint.map(Some));
        put(&mut remote.token_file, declared.token_file.map(Some));
        put(&mut remote.username, declared.username.map(Some));
        put(&mut remote.ca_file, declared.ca_file.map(Some));
        put(&mut each.self_heal, declared.self_heal);
        put(&mut each.poll, declared.poll.map(|seconds| seconds.max(1)));
        let policy = |automated| if automated { Policy::Automated } else { Policy::None };
        put(&mut each.sync_policy, declared.automated.map(policy));
        each
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.sync_policy != Policy::Automated && (self.self_heal || self.sync.prune) {
            let message =
                "--self-heal and --auto-prune write by themselves, and --sync-policy is not automated";
            return Err(Failure::message(FailureKind::Usage, message).hint("add --sync-policy automated"));
        }
        Ok(())
    }

    /// The same for each of its clusters, and what each is called: the application's name, with the cluster's where there
    /// are several.
    fn in_each_cluster(&self) -> Result<Vec<(String, Self)>, Failure> {
        let clusters = self.sync.destinations();
        let several = clusters.len() > 1;
        let mut copies: Vec<(String, Self)> = Vec::new();
        for cluster in clusters {
            let mut one = self.clone();
            let name = &self.sync.name;
            let label = if several { format!("{name}@{}", short(&cluster)) } else { name.clone() };
            if copies.iter().any(|(other, _)| *other == label) {
                let message = format!("{name} would go to {cluster} twice");
                return Err(Failure::message(FailureKind::Usage, message).hint("name each cluster once"));
            }
            (one.sync.dest_server, one.sync.dest_name) = match cluster {
                Destination::Server(server) => (vec![server], Vec::new()),
                Destination::Context(context) => (Vec::new(), vec![context]),
                Destination::Current => (Vec::new(), Vec::new()),
            };
            copies.push((label, one));
        }
        Ok(copies)
    }

    fn origin(&self) -> Origin {
        let sync = &self.sync;
        let cluster =
            sync.dest_name.first().or(sync.dest_server.first()).map_or("this cluster", String::as_str);
        Origin {
            repository: url_without_credentials(sync.repo.as_deref().unwrap_or_default()),
            revision: sync.revision.clone(),
            path: sync.path.clone(),
            destination: format!("{cluster}, namespace {}", sync.dest_namespace),
        }
    }

    /// The operator of an application in its one cluster.
    async fn operator(
        &self,
        label: String,
        call: Arc<Notify>,
        shared: &mut Shared,
    ) -> Result<Operator, Failure> {
        let mut application = self.sync.application()?;
        if self.self_heal {
            // Healing takes back what others took.
            application.conflicts.take_the_rest();
        }
        let checkout = match shared.checkouts.get(&self.sync.name) {
            Some(checkout) => checkout.clone(),
            None => Arc::new(self.sync.checkout()?),
        };
        shared.checkouts.insert(self.sync.name.clone(), checkout.clone());
        let destination = self.sync.destinations().swap_remove(0);
        let cluster = match shared.clusters.get(&destination) {
            Some(cluster) => cluster.clone(),
            None => connect(&destination).await?.with_whole_answers(),
        };
        shared.clusters.insert(destination, cluster.clone());
        let behaviour = Behaviour {
            poll: Duration::from_secs(self.poll),
            self_heal: self.self_heal,
            automated: self.sync_policy == Policy::Automated,
        };
        let keys = self.sync.decryption.source()?;
        let (board, journal) = (shared.board.clone(), shared.journal.clone());
        Ok(Operator { label, application, checkout, keys, cluster, behaviour, board, journal, call })
    }

    fn webhook_secret(&self) -> Result<Option<Secret>, Failure> {
        let secret = match &self.webhook_secret_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).or_fail_with(FailureKind::Input, || {
                    format!("can't read the webhook's secret in {}", file.display())
                })?;
                Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            None => environment::secret(&["K8S_SYNC_WEBHOOK_SECRET"])?,
        };
        if secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            return Err(Failure::message(FailureKind::Input, "the webhook's secret is empty")
                .hint("anybody could call it; leave the secret out to have no webhook"));
        }
        Ok(secret)
    }
}

/// What the operators have in common.
struct Shared {
    board: Arc<Board>,
    journal: Journal,
    /// A connection to each cluster.
    clusters: HashMap<Destination, Cluster>,
    /// What was fetched, by application: of several clusters each takes the same.
    checkouts: HashMap<String, Arc<Checkout>>,
}

/// A cluster's name where it stands beside the application's.
fn short(cluster: &Destination) -> String {
    let Destination::Server(server) = cluster else { return cluster.to_string() };
    let url = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
    url.trim_end_matches('/').to_owned()
}

/// Replaces a value by another, where there is one.
fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The lease, in the cluster of the current configuration, wherever the applications go.
async fn open_lease(lease: &str) -> Result<Lease, Failure> {
    let Some((namespace, name)) = lease.split_once('/').filter(|(a, b)| !a.is_empty() && !b.is_empty())
    else {
        let message = format!("--lease {lease} does not say where the Lease is");
        return Err(Failure::message(FailureKind::Usage, message).hint("--lease NAMESPACE/NAME"));
    };
    let cluster = connect_within(&Destination::Current, lease::SILENCE).await?;
    // A pod's name; two processes on one machine still have two names.
    let host = environment::var("HOSTNAME").unwrap_or_else(|| "k8s-sync".to_owned());
    let identity = format!("{host}_{:08x}", fastrand::u32(..));
    Ok(Lease::new(cluster, namespace.to_owned(), name.to_owned(), identity))
}
