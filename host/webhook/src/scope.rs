//! What is never guarded, so that the operator cannot lock itself, or the cluster, out.

use operator_core::contract::ParentKind;
use serde_json::{Value, json};

/// Groups whose objects are never guarded: leases, and webhook configurations themselves.
const NEVER: [&str; 2] = ["coordination.k8s.io", "admissionregistration.k8s.io"];
/// The namespace of the cluster's own parts.
const SYSTEM: &str = "kube-system";
/// The label that the API server puts on each namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// The group of a kind.
pub(crate) fn group(kind: &ParentKind) -> &str {
    kind.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether objects of this kind are guarded anywhere.
pub(crate) fn is_guarded(kind: &ParentKind) -> bool {
    !NEVER.contains(&group(kind))
}

/// Namespaces in which objects of this kind are not guarded. A module's custom resources are guarded in the operator's own
/// namespace too, where people put them; what belongs to Kubernetes is not, since the operator's own pods are made of it.
pub(crate) fn free<'a>(kind: &ParentKind, own: &'a str) -> Vec<&'a str> {
    let group = group(kind);
    let builtin = !group.contains('.') || group.ends_with(".k8s.io");
    if builtin { vec![SYSTEM, own] } else { vec![SYSTEM] }
}

/// The same for the API server. Cluster-scoped objects are in no namespace, and no selector passes them over.
pub(crate) fn selector(kind: &ParentKind, own: &str) -> Value {
    json!({"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "NotIn", "values": free(kind, own)}]})
}

/// Only this namespace.
pub(crate) fn only(namespace: &str) -> Value {
    json!({"matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "In", "values": [namespace]}]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::manifest;

    fn kind(api_version: &str) -> ParentKind {
        ParentKind { api_version: api_version.into(), ..manifest("m").kinds.remove(0) }
    }

    #[test]
    fn leases_and_webhook_configurations_are_never_guarded() {
        assert!(!is_guarded(&kind("coordination.k8s.io/v1")) && !is_guarded(&kind("admissionregistration.k8s.io/v1")));
        assert!(is_guarded(&kind("example.org/v1")));
    }

    #[test]
    fn custom_resources_are_guarded_in_the_own_namespace_and_what_belongs_to_kubernetes_is_not() {
        assert_eq!(free(&kind("example.org/v1"), "own"), ["kube-system"]);
        assert_eq!(free(&kind("apps/v1"), "own"), ["kube-system", "own"]);
        assert_eq!(free(&kind("networking.k8s.io/v1"), "own"), ["kube-system", "own"]);
    }
}
