//! Sync options, as Argo CD names them (`docs/user-guide/sync-options.md`): of the application, and of single objects,
//! whose annotation wins.

use serde_json::Value;

use crate::manifest::{GroupKind, annotation};

const ANNOTATION: &str = "argocd.argoproj.io/sync-options";
const APPROVED: &str = "argocd.argoproj.io/deletion-approved";

/// What becomes of an object's dependents when it is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go later.
    Background,
    /// They stay.
    Orphan,
}

/// Kinds that the cluster makes no dependents for. Dependents first would keep such an object for seconds after it was said
/// to be gone: until the garbage collector has seen that there are none.
const ALONE: [(&str, &str); 12] = [
    ("", "ConfigMap"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
];

impl Propagation {
    /// How objects of a kind are pruned where nobody says how: dependents first, as with Argo CD, where there may be some.
    pub fn of_kind(kind: &GroupKind) -> Self {
        if kind.is_among(&ALONE) { Self::Background } else { Self::Foreground }
    }

    /// As the API names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Foreground => "Foreground",
            Self::Background => "Background",
            Self::Orphan => "Orphan",
        }
    }
}

/// How an object is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SyncOptions {
    /// Never pruned.
    pub keep: bool,
    /// Pruned only where somebody has annotated the live object as approved.
    pub confirm: bool,
    /// Pruned when everything else is healthy.
    pub prune_last: bool,
    /// How it is pruned, where that is said.
    pub propagation: Option<Propagation>,
    /// Replaced as a whole instead of applied.
    pub replace: bool,
    /// Deleted and made again where it can't be changed.
    pub force: bool,
    /// Its kind may be unknown until it is its turn.
    pub skip_dry_run: bool,
    /// The application's namespace is made where it is missing.
    pub create_namespace: bool,
    /// Ignored differences are not written either.
    pub respect_ignored: bool,
    /// Fields that kubectl applied on the client side stay kubectl's.
    pub leave_client_side: bool,
}

/// An option that there is not, or not with this value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option of Argo CD's.
    #[error("`{0}` is no sync option of Argo CD's")]
    Unknown(String),
    /// An option of Argo CD's that is not had here.
    #[error("the sync option `{0}` can't be had: objects are applied and validated by the server")]
    Server(String),
}

impl SyncOptions {
    /// Reads the options of an application.
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<Self, OptionError> {
        let mut all = Self::default();
        options.into_iter().try_for_each(|option| all.set(option.trim()))?;
        Ok(all)
    }

    /// The options of an object: its annotation over the application's.
    pub fn of(self, object: &Value) -> Result<Self, OptionError> {
        let mut own = self;
        let text = annotation(object, ANNOTATION).unwrap_or_default();
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).try_for_each(|word| own.set(word))?;
        own.confirm = own.confirm && annotation(object, APPROVED).is_none();
        Ok(own)
    }

    fn set(&mut self, option: &str) -> Result<(), OptionError> {
        let unknown = || OptionError::Unknown(option.to_owned());
        let (name, value) = option.split_once('=').ok_or_else(unknown)?;
        let on = || match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(unknown()),
        };
        match name {
            "Prune" => {
                self.confirm = value == "confirm";
                self.keep = !self.confirm && !on()?;
            }
            // Nothing here deletes an application.
            "Delete" if value == "confirm" => {}
            // Always so: what is proved to be in sync is not sent, and two applications never share an object.
            "Delete" | "ApplyOutOfSyncOnly" | "FailOnSharedResource" => {
                on()?;
            }
            "ClientSideApplyMigration" => self.leave_client_side = !on()?,
            "ServerSideApply" | "Validate" => {
                if !on()? {
                    return Err(OptionError::Server(option.to_owned()));
                }
            }
            "PruneLast" => self.prune_last = on()?,
            "Replace" => self.replace = on()?,
            "Force" => self.force = on()?,
            "CreateNamespace" => self.create_namespace = on()?,
            "SkipDryRunOnMissingResource" => self.skip_dry_run = on()?,
            "RespectIgnoreDifferences" => self.respect_ignored = on()?,
            "PrunePropagationPolicy" => {
                self.propagation = Some(match value {
                    "foreground" => Propagation::Foreground,
                    "background" => Propagation::Background,
                    "orphan" => Propagation::Orphan,
                    _ => return Err(unknown()),
                });
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_objects_annotation_wins() {
        let all = SyncOptions::parse(["Replace=true", "PrunePropagationPolicy=orphan"]).unwrap();
        let object =
            json!({"metadata": {"annotations": {ANNOTATION: "Replace=false, Prune=false,PruneLast=true"}}});
        let own = all.of(&object).unwrap();
        assert!(all.replace && !own.replace && own.keep && own.prune_last);
        assert_eq!(own.propagation, Some(Propagation::Orphan));
    }

    #[test]
    fn a_pruning_to_be_confirmed_waits_for_approval() {
        let mut object = json!({"metadata": {"annotations": {ANNOTATION: "Prune=confirm"}}});
        assert!(SyncOptions::default().of(&object).unwrap().confirm);
        object["metadata"]["annotations"][APPROVED] = json!("2026-01-01T00:00:00Z");
        assert!(!SyncOptions::default().of(&object).unwrap().confirm);
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for option in
            ["Prune=fasle", "prune=false", "Replace", "ServerSideApply=false", "PrunePropagationPolicy=x"]
        {
            assert!(SyncOptions::parse([option]).is_err(), "{option}");
        }
        for option in
            ["Delete=false", "Delete=confirm", "ApplyOutOfSyncOnly=true", "FailOnSharedResource=true"]
        {
            assert!(SyncOptions::parse([option]).is_ok(), "{option}");
        }
    }
}
