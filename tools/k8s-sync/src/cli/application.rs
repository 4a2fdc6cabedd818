//! `k8s-sync application`: each option of `watch` is carried over, or refused by its name.

use serde_json::Value;
use step::{ExitStatus, Failure, FailureKind, Format, Io, ResultExt as _, url_without_credentials};

use super::watch::{Policy, Watch};
use crate::application;
use crate::conflicts;
use crate::project::Project;

impl Watch {
    pub(super) fn print_application(&self, format: Format, io: &mut Io) -> Result<ExitStatus, Failure> {
        let followed = self.followed()?;
        for each in &followed {
            each.check()?;
            each.refuse_what_argo_cd_has_not()?;
        }
        if let Some(first) = followed.first() {
            first.tell_what_belongs_elsewhere(io);
        }
        for (number, each) in followed.iter().enumerate() {
            let document = each.as_application(io)?;
            if format == Format::Json {
                io.out.line(document.to_string())?;
                continue;
            }
            if number > 0 {
                io.out.bytes(b"---\n")?;
            }
            io.out.bytes(serde_yaml::to_string(&document).or_fail(FailureKind::Internal)?.as_bytes())?;
        }
        Ok(ExitStatus::Done)
    }

    fn as_application(&self, io: &Io) -> Result<Value, Failure> {
        let sync = &self.sync;
        let Some(repo) = &sync.repo else {
            let message = "an Application needs a repository";
            return Err(Failure::message(FailureKind::Usage, message).hint("--repo URL"));
        };
        // Argo CD finds out by itself what renders a folder, unless it is told that nothing does.
        let recurse = if sync.checkout()?.is_rendered()? { None } else { Some(!sync.flat) };
        let mut sync_options = sync.options.clone();
        if sync.respect_ignore_differences {
            sync_options.push("RespectIgnoreDifferences=true".to_owned());
        }
        let policy = sync.application()?;
        if !self.self_heal && sync.force_conflicts.is_empty() {
            io.console.note("Argo CD takes fields that others own, as --force-conflicts does");
        }
        if let Some(project) = &policy.project {
            io.console
                .note(format!("the AppProject {} has to be in the namespace argocd, too", project.name()));
        }
        if sync.prune {
            io.console
                .note("Argo CD has no limit on how much is pruned at once, as --max-prune 100 has none");
        }
        Ok(application::document(&application::Options {
            name: &sync.name,
            repo: &url_without_credentials(repo),
            revision: &sync.revision,
            path: &sync.path,
            recurse,
            server: sync.dest_server.first().map(String::as_str),
            cluster: sync.dest_name.first().map(String::as_str),
            namespace: &sync.dest_namespace,
            automated: self.sync_policy == Policy::Automated,
            prune: sync.prune,
            self_heal: self.self_heal,
            sync_options: &sync_options,
            ignore: &policy.ignore,
            paranoid: sync.paranoid,
            allow_empty: sync.allow_empty,
            project: policy.project.as_ref().map_or("default", Project::name),
            namespace_metadata: &policy.namespace_metadata,
        }))
    }

    /// What would silently not be done any more.
    fn refuse_what_argo_cd_has_not(&self) -> Result<(), Failure> {
        let sync = &self.sync;
        let its_own = "Argo CD sees to that itself";
        let several = sync.dest_server.len() + sync.dest_name.len() > 1;
        let is_forced = sync.options.iter().any(|option| option.trim() == "Force=true");
        let options: [(bool, &str, &str); 17] = [
            (several, "more than one --dest-server or --dest-name", "an Application has one destination"),
            (!sync.yield_conflicts.is_empty(), "--yield-conflicts", "Argo CD takes fields that others own"),
            (
                sync.force_conflicts.iter().any(|whom| whom != conflicts::ALL),
                "--force-conflicts of some fields",
                "Argo CD takes all that others own",
            ),
            (is_forced, "--sync-option Force=true", "Argo CD has it as an object's annotation only"),
            (sync.max_prune != 50, "--max-prune", "Argo CD prunes all or nothing"),
            (sync.rollback_on_failure, "--rollback-on-failure", "Argo CD leaves a failed sync as it is"),
            (sync.plan.is_some(), "--plan", "Argo CD has no plans"),
            (sync.dry_run, "--dry-run", "an Application writes"),
            (sync.timeout != 300, "--timeout", "Argo CD waits for waves and hooks for as long as they take"),
            (sync.decryption.decrypt, "--decrypt", "Argo CD decrypts by a plugin of its repository server"),
            (sync.decryption.age_key_file.is_some(), "--age-key-file", "its plugin has the keys"),
            (sync.decryption.age_key_secret.is_some(), "--age-key-secret", "its plugin has the keys"),
            (sync.cache.is_some(), "--cache", its_own),
            (self.poll != 30, "--poll", "timeout.reconciliation in argocd-cm says it for all Applications"),
            (self.listen.is_some(), "--listen", "argocd-server answers"),
            (self.webhook_secret_file.is_some(), "--webhook-secret-file", "argocd-secret holds it"),
            (self.lease.is_some(), "--lease", its_own),
        ];
        let refused: Vec<String> = options
            .iter()
            .filter(|(given, ..)| *given)
            .map(|(_, option, why)| format!("{option} ({why})"))
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let message = format!("an Argo CD Application can't carry {}", refused.join(", "));
        Err(Failure::message(FailureKind::Usage, message)
            .hint("leave it out, here and among the K8S_SYNC_ variables, once Argo CD is to do it"))
    }

    /// The repository is read with these; they are no part of an Application.
    fn tell_what_belongs_elsewhere(&self, io: &Io) {
        let remote = &self.sync.remote;
        let (secret, hosts) = ("a repository Secret", "argocd-ssh-known-hosts-cm");
        let timeouts = "argocd-cmd-params-cm (reposerver.git.request.timeout)";
        for (given, option, place) in [
            (remote.ssh_key_file.is_some(), "--ssh-key-file", secret),
            (remote.known_hosts.is_some(), "--known-hosts", hosts),
            (remote.host_key_fingerprint.is_some(), "--host-key-fingerprint", hosts),
            (remote.token_file.is_some(), "--token-file", secret),
            (remote.username.is_some(), "--username", secret),
            (remote.ca_file.is_some(), "--ca-file", "argocd-tls-certs-cm"),
            (remote.client_cert.is_some(), "--client-cert", secret),
            (remote.client_key.is_some(), "--client-key", secret),
            (remote.proxy.is_some(), "--proxy", secret),
            (remote.connect_timeout != 15, "--connect-timeout", timeouts),
            (remote.silence_timeout != 120, "--silence-timeout", timeouts),
        ] {
            if given {
                io.console.note(format!(
                    "{option} is no part of an Application: with Argo CD it belongs into {place}"
                ));
            }
        }
    }
}
