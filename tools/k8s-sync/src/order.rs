//! The order in which objects are applied: phases, waves, kinds, names, as Argo CD sorts them
//! (`gitops-engine/pkg/sync/sync_tasks.go`, whose list of kinds is Helm's), but by group and kind.

use std::collections::HashMap;
use std::hash::Hash;

use serde_json::Value;

use crate::error::SyncError;
use crate::hook;
use crate::manifest::{GroupKind, Manifest, annotation};

/// Kinds of the core and built-in groups in the order of their needs; others come last.
const KINDS: [(&str, &str); 35] = [
    ("", "Namespace"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("policy", "PodSecurityPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "SecretList"),
    ("", "ConfigMap"),
    ("storage.k8s.io", "StorageClass"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleList"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "ClusterRoleBindingList"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleList"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("rbac.authorization.k8s.io", "RoleBindingList"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "Ingress"),
    ("apiregistration.k8s.io", "APIService"),
];

/// Where a kind stands in the order.
pub fn rank(kind: &GroupKind) -> usize {
    KINDS.iter().position(|(group, name)| *group == kind.group && *name == kind.kind).unwrap_or(KINDS.len())
}

/// The parts of a sync, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
    /// Before anything else.
    PreSync,
    /// The objects themselves, and hooks among them.
    #[default]
    Sync,
    /// When all objects are healthy.
    PostSync,
    /// When the sync has failed.
    SyncFail,
}

/// An object's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// The part of the sync.
    pub phase: Phase,
    /// Tasks of one stage (a phase's wave) are healthy before the next one's begin.
    pub stage: usize,
    /// Tasks of one step need nothing of each other.
    pub step: usize,
}

/// An object to be applied, and when.
#[derive(Debug, Clone)]
pub struct Task {
    /// The object.
    pub manifest: Manifest,
    /// Whether it is a hook.
    pub hook: bool,
    /// When.
    pub turn: Turn,
    wave: i32,
}

/// The wave of `argocd.argoproj.io/sync-wave`, or of Helm's hook weight; 0 where none is set.
pub fn wave(object: &Value) -> i32 {
    ["argocd.argoproj.io/sync-wave", "helm.sh/hook-weight"]
        .iter()
        .find_map(|name| annotation(object, name))
        .and_then(|wave| wave.trim().parse().ok())
        .unwrap_or_default()
}

/// Puts manifests in order; `namespace` is where objects go that name none.
pub fn tasks(manifests: Vec<Manifest>, namespace: &str) -> Result<Vec<Task>, SyncError> {
    let mut tasks = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let object = manifest.object.annotations();
        let wave = wave(&object);
        let task = |phase, hook| Task {
            manifest: manifest.clone(),
            hook,
            turn: Turn { phase, ..Turn::default() },
            wave,
        };
        match hook::phases(&object, &manifest.place)? {
            Some(phases) => tasks.extend(phases.into_iter().map(|phase| task(phase, true))),
            None => tasks.push(task(Phase::Sync, false)),
        }
    }
    tasks.sort_by_cached_key(|task| {
        let kind = task.manifest.kind();
        (task.turn.phase, task.wave, rank(kind), task.manifest.name().to_owned(), kind.clone())
    });
    move_before_users(
        &mut tasks,
        |manifest| (*manifest.kind() == GroupKind::parse("Namespace")).then(|| manifest.name().to_owned()),
        |manifest| Some(manifest.namespace().unwrap_or(namespace).to_owned()),
    );
    move_before_users(&mut tasks, Manifest::defines, |manifest| Some(manifest.kind().clone()));
    let (mut stage, mut step) = (0, 0);
    for index in 1..tasks.len() {
        let (before, task) = (&tasks[index - 1], &tasks[index]);
        let same_stage = (before.turn.phase, before.wave) == (task.turn.phase, task.wave);
        stage += usize::from(!same_stage);
        step += usize::from(!same_stage || rank(before.manifest.kind()) != rank(task.manifest.kind()));
        tasks[index].turn.stage = stage;
        tasks[index].turn.step = step;
    }
    Ok(tasks)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_kind(object: &Value, group: &str, kind: &str) -> bool {
    let found = GroupKind::of(object);
    found.group == group && found.kind == kind
}

/// The kind that a CustomResourceDefinition defines.
pub fn defines(object: &Value) -> Option<GroupKind> {
    is_kind(object, "apiextensions.k8s.io", "CustomResourceDefinition").then(|| GroupKind {
        group: text(&object["spec"]["group"]),
        kind: text(&object["spec"]["names"]["kind"]),
    })
}

/// Moves what others need before the first that needs it, into that one's phase and wave.
fn move_before_users<K: Eq + Hash>(
    tasks: &mut [Task],
    gives: impl Fn(&Manifest) -> Option<K>,
    needs: impl Fn(&Manifest) -> Option<K>,
) {
    let mut first: HashMap<K, usize> = HashMap::new();
    for index in 0..tasks.len() {
        let manifest = &tasks[index].manifest;
        if let Some(key) = gives(manifest) {
            if let Some(user) = first.get(&key).copied() {
                let (wave, phase) = (tasks[user].wave, tasks[user].turn.phase);
                tasks[user..=index].rotate_right(1);
                tasks[user].wave = wave;
                tasks[user].turn.phase = phase;
                first.values_mut().filter(|at| **at >= user).for_each(|at| *at += 1);
            }
        } else if let Some(key) = needs(manifest) {
            first.entry(key).or_insert(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    /// The names of each step, for `(apiVersion, kind, name, more annotations and fields)`.
    fn ordered(objects: &[(&str, &str, &str, &str)]) -> Vec<Vec<String>> {
        let text: Vec<String> = objects
            .iter()
            .map(|(version, kind, name, more)| {
                format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{{more}}}}}\n")
            })
            .collect();
        steps(&text.join("---\n"))
    }

    fn steps(text: &str) -> Vec<Vec<String>> {
        tasks(parse(text, "f", None).unwrap(), "default")
            .unwrap()
            .chunk_by(|a, b| a.turn.step == b.turn.step)
            .map(|step| step.iter().map(|task| task.manifest.name().to_owned()).collect())
            .collect()
    }

    #[test]
    fn phases_come_before_waves_waves_before_kinds_and_kinds_before_names() {
        let order = ordered(&[
            ("apps/v1", "Deployment", "d", ""),
            ("v1", "ConfigMap", "b", ""),
            ("v1", "ConfigMap", "a", ""),
            ("v1", "Namespace", "other", ""),
            ("batch/v1", "Job", "first", "argocd.argoproj.io/sync-wave: '-1'"),
            (
                "batch/v1",
                "Job",
                "before",
                "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/sync-wave: '5'",
            ),
            ("batch/v1", "Job", "after", "helm.sh/hook: 'post-install,post-upgrade'"),
            ("batch/v1", "Job", "never", "helm.sh/hook: test"),
        ]);
        assert_eq!(
            order,
            [vec!["before"], vec!["first"], vec!["other"], vec!["a", "b"], vec!["d"], vec!["after"]]
        );
    }

    #[test]
    fn a_custom_kind_called_namespace_is_not_a_namespace() {
        let order = ordered(&[("example.test/v1", "Namespace", "custom", ""), ("v1", "Service", "s", "")]);
        assert_eq!(order, [vec!["s"], vec!["custom"]]);
    }

    #[test]
    fn a_namespace_and_a_definition_come_before_their_users() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: early, namespace: late, annotations: {argocd.argoproj.io/sync-wave: '-2'}}\n---\n\
            apiVersion: v1\nkind: Namespace\nmetadata: {name: late, annotations: {argocd.argoproj.io/sync-wave: '3'}}\n---\n\
            apiVersion: example.test/v1\nkind: Thing\nmetadata: {name: thing, annotations: {argocd.argoproj.io/sync-wave: '-1'}}\n---\n\
            apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.test}\n\
            spec: {group: example.test, names: {kind: Thing}}\n";
        assert_eq!(steps(text), [vec!["late"], vec!["early"], vec!["things.example.test"], vec!["thing"]]);
    }
}
