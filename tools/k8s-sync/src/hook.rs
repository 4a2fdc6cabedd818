//! Hooks: objects that are made at a point of a sync, run to their end and go again
//! (`gitops-engine/pkg/sync/hook`), Helm's among them.

use serde_json::Value;

use crate::error::SyncError;
use crate::manifest::annotation;
use crate::order::Phase;

/// The label of hooks; they are no members of the ApplySet, so that nothing prunes them.
pub const HOOK_OF: &str = "k8s-sync/hook-of";

const HOOK: &str = "argocd.argoproj.io/hook";
const HELM_HOOK: &str = "helm.sh/hook";

/// When a hook is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Before it is made again.
    BeforeHookCreation,
    /// When it has succeeded.
    HookSucceeded,
    /// When it has failed.
    HookFailed,
}

fn words<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    annotation(object, name).unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Whether an object is a hook, or passed over as one.
pub fn is_hook(object: &Value) -> bool {
    annotation(object, HOOK).is_some()
        || annotation(object, HELM_HOOK).is_some_and(|hook| hook != "crd-install")
}

/// The phases in which a hook runs, which may be none; `None` where the object is no hook.
pub fn phases(object: &Value, place: &str) -> Result<Option<Vec<Phase>>, SyncError> {
    if !is_hook(object) {
        return Ok(None);
    }
    let mut phases = Vec::new();
    for word in words(object, HOOK) {
        phases.push(match word {
            "PreSync" => Phase::PreSync,
            "Sync" => Phase::Sync,
            "PostSync" => Phase::PostSync,
            "SyncFail" => Phase::SyncFail,
            // Argo CD has these when an application is deleted, which is nothing that is done here.
            "Skip" | "PreDelete" | "PostDelete" => continue,
            _ => {
                let problem = format!("no hook of Argo CD's: {word}");
                return Err(SyncError::Manifest { place: place.to_owned(), problem });
            }
        });
    }
    if annotation(object, HOOK).is_none() {
        phases.extend(words(object, HELM_HOOK).filter_map(|word| match word {
            "pre-install" | "pre-upgrade" => Some(Phase::PreSync),
            "post-install" | "post-upgrade" => Some(Phase::PostSync),
            _ => None,
        }));
    }
    phases.sort();
    phases.dedup();
    Ok(Some(phases))
}

/// When the hook is deleted; before it is made again, where nothing is said.
pub fn deletions(object: &Value) -> Vec<Deletion> {
    let all = words(object, "argocd.argoproj.io/hook-delete-policy")
        .chain(words(object, "helm.sh/hook-delete-policy"));
    let known: Vec<Deletion> = all
        .filter_map(|word| match word {
            "BeforeHookCreation" | "before-hook-creation" => Some(Deletion::BeforeHookCreation),
            "HookSucceeded" | "hook-succeeded" => Some(Deletion::HookSucceeded),
            "HookFailed" | "hook-failed" => Some(Deletion::HookFailed),
            _ => None,
        })
        .collect();
    if known.is_empty() { vec![Deletion::BeforeHookCreation] } else { known }
}

/// Gives a hook that only says `generateName` the name of this run.
pub fn name(object: &mut Value, phase: Phase) {
    let metadata = &mut object["metadata"];
    if metadata["name"].is_null()
        && let Some(prefix) = metadata["generateName"].as_str()
    {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time = since.map(|time| time.as_millis()).unwrap_or_default();
        let name = format!("{prefix}{}-{time}", format!("{phase:?}").to_ascii_lowercase());
        metadata["name"] = Value::from(name);
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("generateName");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hook(annotations: &Value) -> Value {
        json!({"metadata": {"annotations": annotations}})
    }

    #[test]
    fn argos_words_win_over_helms() {
        let phases = |annotations: Value| phases(&hook(&annotations), "f").unwrap();
        assert_eq!(phases(json!({})), None);
        assert_eq!(
            phases(json!({HOOK: "PostSync, PreSync,PreSync"})),
            Some(vec![Phase::PreSync, Phase::PostSync])
        );
        assert_eq!(phases(json!({HOOK: "Sync", HELM_HOOK: "pre-install"})), Some(vec![Phase::Sync]));
        assert_eq!(phases(json!({HELM_HOOK: "pre-install,pre-upgrade"})), Some(vec![Phase::PreSync]));
        assert_eq!(phases(json!({HELM_HOOK: "crd-install"})), None);
        for passed_over in [json!({HOOK: "Skip"}), json!({HOOK: "PostDelete"}), json!({HELM_HOOK: "test"})] {
            assert_eq!(phases(passed_over), Some(vec![]));
        }
        assert!(super::phases(&hook(&json!({HOOK: "Presync"})), "f").is_err());
    }

    #[test]
    fn a_hook_is_made_anew_unless_it_says_otherwise() {
        let policy = "argocd.argoproj.io/hook-delete-policy";
        assert_eq!(deletions(&json!({})), [Deletion::BeforeHookCreation]);
        let object = hook(&json!({policy: "HookSucceeded,HookFailed"}));
        assert_eq!(deletions(&object), [Deletion::HookSucceeded, Deletion::HookFailed]);
    }

    #[test]
    fn a_generated_name_tells_the_phase() {
        let mut object = json!({"metadata": {"generateName": "migrate-"}});
        name(&mut object, Phase::PreSync);
        assert!(object["metadata"]["name"].as_str().unwrap().starts_with("migrate-presync-"));
    }
}
