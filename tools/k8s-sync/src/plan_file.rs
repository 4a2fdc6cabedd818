//! A plan kept in a file: what would become of which object, so that exactly this is done later, or nothing.
//!
//! It holds digests, not objects: a Secret's values are not in it. The manifests come from the source again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diff;
use crate::error::SyncError;
use crate::manifest::Identity;
use crate::plan::Plan;
use crate::proof::Digest;
use crate::rehearsal::Outlook;
use crate::report::Change;
use crate::reports;
use crate::sync::Application;

const SCHEMA: &str = "k8s-sync/plan/v1";

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanFile {
    schema: String,
    application: String,
    namespace: String,
    /// Where the manifests are.
    pub source: Source,
    prune: bool,
    objects: Vec<Entry>,
}

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A file, a folder, or `-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The folder in the repository.
    pub path: String,
    /// The commit that the plan was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    object: String,
    change: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
}

impl PlanFile {
    /// A plan as it is now.
    pub fn of(application: &Application, plan: &Plan, outlooks: &[Outlook], source: Source) -> Self {
        let live = |object: &serde_json::Value| Digest::of(&[&diff::quiet(object).to_string()]).to_string();
        let kept = plan.wanted.iter().zip(outlooks).map(|(wanted, outlook)| Entry {
            object: wanted.identity.to_string(),
            change: outlook.change.word().to_owned(),
            live: outlook.live.as_ref().map(live),
            wanted: Some(wanted.digest.to_string()),
        });
        let pruned = plan.leaving.iter().map(|leaving| Entry {
            object: leaving.identity.to_string(),
            change: "pruned".to_owned(),
            live: leaving.object["metadata"]["uid"].as_str().map(ToOwned::to_owned),
            wanted: None,
        });
        let hooks = plan.hooks.iter().map(|hook| Entry {
            object: format!("{:?} hook {}", hook.turn.phase, without_time(&hook.identity)),
            change: Change::Created.word().to_owned(),
            live: None,
            wanted: Some(hook.digest.to_string()),
        });
        let own = plan.namespace.iter().map(|own| Entry {
            object: own.identity.to_string(),
            change: own.change.word().to_owned(),
            live: None,
            wanted: Some(Digest::of(&[&own.object.to_string()]).to_string()),
        });
        Self {
            schema: SCHEMA.to_owned(),
            application: application.name.clone(),
            namespace: application.namespace.clone(),
            source,
            prune: application.prune,
            objects: own.chain(kept).chain(hooks).chain(pruned).collect(),
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SyncError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| SyncError::Unreadable { path: place.clone(), cause })?;
        let plan: Self = serde_json::from_str(&text).map_err(|error| SyncError::Manifest {
            place: place.clone(),
            problem: format!("not a plan that `diff --plan` wrote: {error}"),
        })?;
        if plan.schema != SCHEMA {
            let problem = format!("a plan of another version: {}, not {SCHEMA}", plan.schema);
            return Err(SyncError::Manifest { place, problem });
        }
        Ok(plan)
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), SyncError> {
        let unwritable =
            |cause: std::io::Error| SyncError::Unwritable { path: path.display().to_string(), cause };
        let text = serde_json::to_string_pretty(self).map_err(|error| unwritable(error.into()))?;
        reports::write(path, &text)
    }

    /// Refuses where the world is another one than this plan was made for.
    pub fn holds(&self, now: &Self) -> Result<(), SyncError> {
        let moved = |what: String| Err(SyncError::PlanOutdated(what));
        if (&self.application, &self.namespace, self.prune) != (&now.application, &now.namespace, now.prune) {
            return moved("it is of another application, namespace or --prune".to_owned());
        }
        for entry in &self.objects {
            match now.objects.iter().find(|other| other.object == entry.object) {
                Some(same) if same == entry => {}
                Some(other) if other.wanted != entry.wanted => {
                    return moved(format!("{}'s manifest is another one", entry.object));
                }
                Some(other) if other.change == entry.change => {
                    return moved(format!("{} has changed in the cluster", entry.object));
                }
                Some(other) => {
                    return moved(format!(
                        "{} would be {}, not {}",
                        entry.object, other.change, entry.change
                    ));
                }
                None => return moved(format!("{} is no longer part of it", entry.object)),
            }
        }
        let is_new = |entry: &&Entry| !self.objects.iter().any(|known| known.object == entry.object);
        match now.objects.iter().find(is_new) {
            Some(entry) => moved(format!("{} would be {}, too", entry.object, entry.change)),
            None => Ok(()),
        }
    }
}

/// A hook without the time that its generated name ends with.
fn without_time(hook: &Identity) -> String {
    let named = hook.to_string();
    match named.rsplit_once('-') {
        Some((name, time)) if time.len() >= 13 && time.bytes().all(|c| c.is_ascii_digit()) => name.to_owned(),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(objects: &[(&str, &str, Option<&str>, &str)]) -> PlanFile {
        let entry = |(object, change, live, wanted): &(&str, &str, Option<&str>, &str)| Entry {
            object: (*object).to_owned(),
            change: (*change).to_owned(),
            live: live.map(ToOwned::to_owned),
            wanted: Some((*wanted).to_owned()),
        };
        PlanFile {
            schema: SCHEMA.to_owned(),
            application: "app".to_owned(),
            namespace: "n".to_owned(),
            source: Source::default(),
            prune: false,
            objects: objects.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_plan_holds_until_something_moves() {
        let made = plan(&[("ConfigMap n/a", "configured", Some("l"), "w")]);
        assert!(made.holds(&made.clone()).is_ok());
        for (now, said) in [
            (plan(&[]), "no longer part"),
            (plan(&[("ConfigMap n/a", "configured", Some("l"), "x")]), "manifest is another"),
            (plan(&[("ConfigMap n/a", "configured", Some("m"), "w")]), "has changed in the cluster"),
            (plan(&[("ConfigMap n/a", "created", None, "w")]), "would be created, not configured"),
            (
                plan(&[
                    ("ConfigMap n/a", "configured", Some("l"), "w"),
                    ("Secret n/b", "created", None, "w"),
                ]),
                "Secret n/b would be created, too",
            ),
        ] {
            let error = made.holds(&now).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
