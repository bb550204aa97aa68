//! The kinds that a cluster serves.

use operator_core::schema;
use serde_json::{Value, json};

/// One kind.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "kind is the word of the Kubernetes API")]
pub(crate) struct Kind {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    /// The structural schema of a custom resource.
    pub(crate) schema: Option<Value>,
    /// Whether `/status` is a resource of its own.
    pub(crate) has_status: bool,
}

impl Kind {
    /// Whether its objects count the changes of what they ask for.
    pub(crate) fn has_generations(&self) -> bool {
        const COUNTED: [&str; 10] = [
            "CustomResourceDefinition",
            "DaemonSet",
            "Deployment",
            "Job",
            "MutatingWebhookConfiguration",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "ReplicaSet",
            "StatefulSet",
            "ValidatingWebhookConfiguration",
        ];
        self.schema.is_some() || COUNTED.contains(&self.kind.as_str()) || self.kind == "Pod"
    }

    /// Whether an update may leave open which version it means.
    pub(crate) fn updates_any_version(&self) -> bool {
        const CAREFUL: [&str; 5] = [
            "CustomResourceDefinition",
            "Lease",
            "MutatingWebhookConfiguration",
            "PodDisruptionBudget",
            "ValidatingWebhookConfiguration",
        ];
        self.schema.is_none() && !CAREFUL.contains(&self.kind.as_str())
    }

    /// Whether an update of what is not there creates it.
    pub(crate) fn is_created_by_update(&self) -> bool {
        let rights = self.api_version.starts_with("rbac.authorization.k8s.io/");
        rights || self.schema.is_none() && matches!(self.kind.as_str(), "Event" | "Lease" | "Service")
    }

    /// Whether a deletion answers with the object, not with its name.
    pub(crate) fn shows_deleted(&self) -> bool {
        matches!(self.kind.as_str(), "PersistentVolumeClaim" | "Pod" | "Service" | "ServiceAccount" | "StorageClass")
    }

    /// Its API group; the core has none.
    pub(crate) fn group(&self) -> Option<&str> {
        self.api_version.split_once('/').map(|(group, _)| group)
    }
}

/// All kinds.
#[derive(Debug)]
pub(crate) struct Kinds(Vec<Kind>);

const WEBHOOKS: &str = "admissionregistration.k8s.io/v1";

/// API version, kind, plural, namespaced, has status.
const BUILT_IN: [(&str, &str, &str, bool, bool); 26] = [
    ("v1", "Namespace", "namespaces", false, true),
    ("v1", "Node", "nodes", false, true),
    ("v1", "Pod", "pods", true, true),
    ("v1", "Service", "services", true, true),
    ("v1", "ServiceAccount", "serviceaccounts", true, false),
    ("v1", "Secret", "secrets", true, false),
    ("v1", "ConfigMap", "configmaps", true, false),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true, true),
    ("apps/v1", "DaemonSet", "daemonsets", true, true),
    ("apps/v1", "Deployment", "deployments", true, true),
    ("apps/v1", "StatefulSet", "statefulsets", true, true),
    ("apps/v1", "ReplicaSet", "replicasets", true, true),
    ("apps/v1", "ControllerRevision", "controllerrevisions", true, false),
    ("batch/v1", "Job", "jobs", true, true),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true, true),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true, false),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true, false),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true, false),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false, false),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", false, false),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", false, false),
    ("coordination.k8s.io/v1", "Lease", "leases", true, false),
    ("events.k8s.io/v1", "Event", "events", true, false),
    (WEBHOOKS, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false, false),
    (WEBHOOKS, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false, false),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false, true),
];

impl Default for Kinds {
    fn default() -> Self {
        let kind = |(api_version, kind, plural, namespaced, has_status): (&str, &str, &str, bool, bool)| Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            schema: None,
            has_status,
        };
        Self(BUILT_IN.into_iter().map(kind).collect())
    }
}

impl Kinds {
    /// The kind with this API version and name.
    pub(crate) fn get(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|known| known.api_version == api_version && known.kind == kind)
    }

    /// The kind with this API version and plural.
    pub(crate) fn by_plural(&self, api_version: &str, plural: &str) -> Option<&Kind> {
        self.0.iter().find(|known| known.api_version == api_version && known.plural == plural)
    }

    /// The first kind with this name.
    pub(crate) fn by_name(&self, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|known| known.kind.eq_ignore_ascii_case(kind) || known.plural.eq_ignore_ascii_case(kind))
    }

    /// The names of all kinds.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|kind| kind.kind.as_str())
    }

    /// All API versions, ordered.
    pub(crate) fn api_versions(&self) -> Vec<String> {
        let mut all: Vec<String> = self.0.iter().map(|kind| kind.api_version.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What is served below `/api/v1`, `/apis/GROUP` or `/apis/GROUP/VERSION`, as far as clients ask for it; none for other paths, and for
    /// what is not served.
    pub(crate) fn discovery(&self, path: &str) -> Option<Value> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let api_version = match parts.as_slice() {
            ["api", version] => (*version).to_owned(),
            ["apis", group] => {
                let of_group = |kind: &&Kind| kind.group() == Some(group);
                // The one that was defined first is as good as any.
                let preferred = &self.0.iter().find(of_group)?.api_version;
                return Some(
                    json!({"kind": "APIGroup", "name": group, "preferredVersion": {"groupVersion": preferred}}),
                );
            }
            ["apis", group, version] => format!("{group}/{version}"),
            _ => return None,
        };
        let of_version = self.0.iter().filter(|kind| kind.api_version == api_version);
        let resource = |kind: &Kind| json!({"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced});
        let resources: Vec<Value> = of_version.map(resource).collect();
        (!resources.is_empty())
            .then(|| json!({"kind": "APIResourceList", "groupVersion": api_version, "resources": resources}))
    }

    /// Serves no longer what a CRD defines.
    pub(crate) fn undefine(&mut self, crd: &Value) {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, kind) = (format!("{}/", text("/spec/group")), text("/spec/names/kind"));
        self.0.retain(|known| known.kind != kind || !known.api_version.starts_with(&group));
    }

    /// Serves what a CRD defines, in place of what an earlier one of its name defined.
    pub(crate) fn define(&mut self, crd: &Value) {
        self.undefine(crd);
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, kind) = (text("/spec/group"), text("/spec/names/kind"));
        for version in crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
            let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
            self.0.push(Kind {
                api_version: format!("{group}/{name}"),
                kind: kind.clone(),
                plural: text("/spec/names/plural"),
                namespaced: text("/spec/scope") == "Namespaced",
                schema: schema::of_crd(crd, name).cloned(),
                has_status: version.pointer("/subresources/status").is_some(),
            });
        }
    }
}
