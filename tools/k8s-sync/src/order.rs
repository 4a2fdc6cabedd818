//! The order in which objects are applied: waves, then kinds, then names, as Argo CD sorts them
//! (`gitops-engine/pkg/sync/sync_tasks.go`, whose list of kinds is Helm's).

use crate::manifest::{GroupKind, Manifest};

/// Kinds of the core and built-in groups in the order of their needs; others come last.
const KINDS: [(&str, &str); 36] = [
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
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
];

/// Where a kind stands in the order.
pub fn rank(kind: &GroupKind) -> usize {
    KINDS.iter().position(|(group, name)| *group == kind.group && *name == kind.kind).unwrap_or(KINDS.len())
}

/// The wave of `argocd.argoproj.io/sync-wave`; 0 where none is set.
pub fn wave(manifest: &Manifest) -> i32 {
    manifest
        .annotation("argocd.argoproj.io/sync-wave")
        .and_then(|wave| wave.trim().parse().ok())
        .unwrap_or_default()
}

/// Sorts manifests into steps: objects of one step need nothing of each other.
pub fn steps(mut manifests: Vec<Manifest>) -> Vec<Vec<Manifest>> {
    let key = |manifest: &Manifest| (wave(manifest), rank(&manifest.kind()), manifest.kind());
    manifests.sort_by_cached_key(|manifest| (key(manifest), manifest.name().to_owned()));
    manifests.chunk_by(|a, b| key(a) == key(b)).map(<[Manifest]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn ordered(objects: &[(&str, &str, &str, &str)]) -> Vec<Vec<String>> {
        let text: Vec<String> = objects
            .iter()
            .map(|(version, kind, name, wave)| {
                format!(
                    "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  annotations:\n    \
                     argocd.argoproj.io/sync-wave: '{wave}'\n"
                )
            })
            .collect();
        steps(parse(&text.join("---\n"), "f").unwrap())
            .iter()
            .map(|step| step.iter().map(|manifest| manifest.name().to_owned()).collect())
            .collect()
    }

    #[test]
    fn waves_come_before_kinds_and_kinds_before_names() {
        let order = ordered(&[
            ("apps/v1", "Deployment", "d", "0"),
            ("v1", "ConfigMap", "b", "0"),
            ("v1", "ConfigMap", "a", "0"),
            ("v1", "Namespace", "ns", "0"),
            ("batch/v1", "Job", "first", "-1"),
        ]);
        assert_eq!(order, [vec!["first"], vec!["ns"], vec!["a", "b"], vec!["d"]]);
    }

    #[test]
    fn a_custom_kind_called_namespace_is_not_a_namespace() {
        let order = ordered(&[("example.test/v1", "Namespace", "custom", "0"), ("v1", "Service", "s", "0")]);
        assert_eq!(order, [vec!["s"], vec!["custom"]]);
    }
}
