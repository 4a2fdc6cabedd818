//! Where the kinds that Kubernetes itself brings are in the API, so that no cluster has to be asked.

use k8s_openapi::api::{
    admissionregistration, apps, autoscaling, batch, coordination, core, discovery, networking, node, policy,
    rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};

use super::Resource;

/// Where a kind of an apiVersion is, if it is one of Kubernetes' own.
pub(super) fn find(version: &str, kind: &str) -> Option<Resource> {
    macro_rules! among {
        ($($kind:ty),* $(,)?) => {
            $(
                if <$kind as k8s_openapi::Resource>::API_VERSION == version
                    && <$kind as k8s_openapi::Resource>::KIND == kind
                {
                    return Some(resource::<$kind>());
                }
            )*
        };
    }
    among!(
        core::v1::ConfigMap,
        core::v1::Endpoints,
        core::v1::LimitRange,
        core::v1::Namespace,
        core::v1::PersistentVolume,
        core::v1::PersistentVolumeClaim,
        core::v1::Pod,
        core::v1::PodTemplate,
        core::v1::ReplicationController,
        core::v1::ResourceQuota,
        core::v1::Secret,
        core::v1::Service,
        core::v1::ServiceAccount,
        apps::v1::DaemonSet,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        apps::v1::StatefulSet,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::CronJob,
        batch::v1::Job,
        coordination::v1::Lease,
        discovery::v1::EndpointSlice,
        networking::v1::Ingress,
        networking::v1::IngressClass,
        networking::v1::NetworkPolicy,
        node::v1::RuntimeClass,
        policy::v1::PodDisruptionBudget,
        rbac::v1::ClusterRole,
        rbac::v1::ClusterRoleBinding,
        rbac::v1::Role,
        rbac::v1::RoleBinding,
        scheduling::v1::PriorityClass,
        storage::v1::CSIDriver,
        storage::v1::StorageClass,
        admissionregistration::v1::MutatingWebhookConfiguration,
        admissionregistration::v1::ValidatingAdmissionPolicy,
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        admissionregistration::v1::ValidatingWebhookConfiguration,
        apiextensions::v1::CustomResourceDefinition,
        apiregistration::v1::APIService,
    );
    None
}

/// The apiVersion in which Kubernetes brings a kind of a group, where it does.
pub(super) fn version(group: &str) -> Option<&'static str> {
    Some(match group {
        "" => "v1",
        "apps" => "apps/v1",
        "autoscaling" => "autoscaling/v2",
        "batch" => "batch/v1",
        "networking.k8s.io" => "networking.k8s.io/v1",
        "policy" => "policy/v1",
        "rbac.authorization.k8s.io" => "rbac.authorization.k8s.io/v1",
        "storage.k8s.io" => "storage.k8s.io/v1",
        "apiextensions.k8s.io" => "apiextensions.k8s.io/v1",
        "admissionregistration.k8s.io" => "admissionregistration.k8s.io/v1",
        _ => return None,
    })
}

trait Namespaced {
    const NAMESPACED: bool;
}

impl Namespaced for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Namespaced for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

fn resource<K>() -> Resource
where
    K: k8s_openapi::Resource,
    K::Scope: Namespaced,
{
    Resource {
        version: K::API_VERSION.to_owned(),
        plural: K::URL_PATH_SEGMENT.to_owned(),
        namespaced: K::Scope::NAMESPACED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_kubernetes_are_known_without_a_cluster() {
        let deployment = find("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.object("n", "a"), "/apis/apps/v1/namespaces/n/deployments/a");
        assert!(!find("v1", "Namespace").unwrap().namespaced);
        assert_eq!(find("apps/v1beta1", "Deployment"), None);
    }
}
