//! The order of children within a stage: what others refer to comes before them.
//!
//! Controllers act on an object the moment it is there. A `StatefulSet` that is written before its `ServiceAccount` has its first pods
//! refused (`FailedCreate`), and comes back only after a back-off.

use crate::ObjectRef;

/// When a child is written, lowest first; children of one rank in the canonical order of their identities. Kinds that are not named
/// come between what Kubernetes' own workloads need and the workloads. The order is that of Helm, coarser.
pub(super) fn rank(identity: &ObjectRef) -> u8 {
    match (identity.group(), identity.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", _) => 0,
        ("", "ServiceAccount" | "Secret" | "ConfigMap" | "ResourceQuota" | "LimitRange" | "PersistentVolume")
        | ("storage.k8s.io" | "scheduling.k8s.io" | "policy" | "networking.k8s.io", _) => 1,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => 2,
        ("rbac.authorization.k8s.io", _) | ("", "PersistentVolumeClaim") => 3,
        ("", "Pod" | "ReplicationController") | ("apps" | "batch", _) => 5,
        // The API server calls a webhook from the moment on that it is configured.
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => 6,
        _ => 4,
    }
}
