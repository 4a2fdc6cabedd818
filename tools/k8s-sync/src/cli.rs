//! The command line of k8s-sync; it and the options that git-remote declares alone read the environment.

mod application;
mod decryption;
mod interruption;
mod once;
mod sync;
mod target;
mod watch;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use step::{ExitStatus, Failure, FailureKind, Format, Io, Preferences, Program, ResultExt as _, Talk};

use crate::health;
use crate::report;
use crate::source::{Reading, Release, read_files};
use once::Once;

const EXAMPLES: &str = "\
Examples:
  k8s-sync diff app --repo git@git.test:team/manifests.git --path app --dest-namespace app
  k8s-sync apply app -f manifests/ --dest-namespace app --prune
  k8s-sync watch app --repo \"$MANIFESTS\" --path manifests --revision demo --dest-namespace app \\
    --sync-policy automated --auto-prune --self-heal
  k8s-sync apply app -f chart/ --dest-name blue --dest-name green --sync-option CreateNamespace=true
  k8s-sync apply app -f manifests/ --force-conflicts=kubectl-edit --yield-conflicts=.spec.replicas
  k8s-sync apply app -f manifests/ --decrypt --age-key-secret k8s-sync/keys
  k8s-sync application app --repo \"$MANIFESTS\" --path manifests --sync-policy automated | k8s-sync apply argo -f -
  kubectl get deployment app -o yaml | k8s-sync health -f -

The cluster is the one of the kubeconfig's current context (KUBECONFIG), or inside a cluster the one around.

Secrets come from variables, as texts or as paths of files, or from the options' files:
  SSH_PRIVATE_KEY, SSH_PRIVATE_KEY_PASSPHRASE, SSH_KNOWN_HOSTS   an unknown host key is refused
  K8S_SYNC_TOKEN, GITLAB_TOKEN                                  for HTTPS; in a job, GITLAB_TOKEN for its own GitLab only
  SOPS_AGE_KEY, K8S_SYNC_WEBHOOK_SECRET";

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
        value_parser = format(),
        default_value = "text",
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
    Diff(Box<Once>),
    /// Make the cluster as the source says, once, and wait for health
    Apply(Box<Once>),
    /// Wait until the source's objects are healthy
    #[command(mut_args(|arg| sync::without(&sync::WRITING, arg)))]
    Wait(Box<Once>),
    /// Follow a branch and keep the cluster as it says
    Watch(Box<watch::Watch>),
    /// Print the health of objects, without a cluster
    Health(HealthOf),
    /// Print the Argo CD Application that does the same
    Application(Box<watch::Watch>),
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
        let mut runtime = match self.command {
            Verb::Watch(_) => tokio::runtime::Builder::new_multi_thread(),
            // One run waits for the server most of the time: handing its requests from thread to thread takes longer
            // than what there is to do with them.
            _ => tokio::runtime::Builder::new_current_thread(),
        };
        let runtime = runtime.enable_all().build().or_fail(FailureKind::Internal)?;
        let done = runtime.block_on(async {
            match self.command {
                Verb::Health(health) => print_health(&health, self.output, io),
                Verb::Application(watch) => watch.print_application(self.output, io),
                Verb::Diff(once) => once.diff(self.output, io).await,
                Verb::Apply(mut once) => once.apply(self.output, io).await,
                Verb::Wait(once) => once.wait(self.output, io).await,
                Verb::Watch(watch) => watch.run(self.output, io).await,
            }
        });
        // A credential plugin that hangs is not waited for.
        runtime.shutdown_background();
        done
    }
}

/// A run has no one result that would fit into variables.
fn format() -> impl TypedValueParser<Value = Format> {
    let values = ["text", "json"].map(PossibleValue::new);
    PossibleValuesParser::new(values).map(|word| if word == "json" { Format::Json } else { Format::Text })
}

fn print_health(options: &HealthOf, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
    let release = Release { name: "release", namespace: "default" };
    for manifest in read_files(&options.file, Reading { release, keys: None })? {
        let status = health::of(&manifest.object.open());
        report::health(&mut io.out, format, &manifest.identity, &status)?;
    }
    Ok(ExitStatus::Done)
}
