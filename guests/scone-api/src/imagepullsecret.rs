//! The kind `ImagePullSecret` as published (`imagepullsecrets.images.banzaicloud.io`, version v1alpha1).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, LabelSelectorRequirement, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Copies registry credentials as one Secret into every namespace that matches.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "images.banzaicloud.io",
    version = "v1alpha1",
    kind = "ImagePullSecret",
    plural = "imagepullsecrets",
    singular = "imagepullsecret",
    shortname = "imps",
    status = "ImagePullSecretStatus",
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.status"}"#,
    printcolumn = r#"{"name": "Reconciled", "type": "date", "jsonPath": ".status.lastSuccessfulReconciliation"}"#,
    printcolumn = r#"{"name": "Validity seconds", "type": "integer", "jsonPath": ".status.validitySeconds"}"#,
    printcolumn = r#"{"name": "Secret Name", "type": "string", "jsonPath": ".spec.target.secret.name"}"#,
    printcolumn = r#"{"name": "Namespaces", "type": "string", "jsonPath": ".status.managedNamespaces"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSecretSpec {
    /// Where the credentials come from.
    pub registry: RegistryConfig,
    /// Where the Secret goes, and what it is called there.
    pub target: TargetConfig,
}

/// Where the credentials come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryConfig {
    /// Secrets of type `kubernetes.io/dockerconfigjson`. They are merged; of two that know the same registry the later one counts.
    #[schemars(extend("minItems" = 1, "maxItems" = 64))]
    pub credentials: Vec<SecretReference>,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Its name.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
    /// Its namespace; that of the operator unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 63, "pattern" = schema::NAMESPACE))]
    pub namespace: Option<String>,
}

/// Where the Secret goes, and what it is called there. Namespaces need to fit one selector, whichever.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetConfig {
    /// The Secret that is made.
    #[serde(default)]
    pub secret: TargetSecret,
    /// Namespaces by what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelectors>,
    /// Namespaces by the pods in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces_with_pods: Option<ObjectSelectors>,
}

/// The Secret that is made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSecret {
    /// Its name in every namespace; that of the `ImagePullSecret` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 253))]
    pub name: Option<String>,
    /// Labels that it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations that it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Selectors of namespaces.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelectors {
    /// Names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 4096))]
    pub names: Option<Vec<String>>,
    /// By labels; an empty selector fits every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64))]
    pub labels: Option<Vec<LabelSelector>>,
    /// By annotations; an empty selector fits every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64))]
    pub annotations: Option<Vec<AnnotationSelector>>,
}

/// Selectors of pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSelectors {
    /// By labels; an empty selector fits every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64))]
    pub labels: Option<Vec<LabelSelector>>,
    /// By annotations; an empty selector fits every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64))]
    pub annotations: Option<Vec<AnnotationSelector>>,
}

/// Selects by annotations, in the way in which labels are selected.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnotationSelector {
    /// Annotations that must be there with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_annotations: Option<BTreeMap<String, String>>,
    /// What else must hold, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// Whether the Secrets are where they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Distribution {
    /// They are.
    Ready,
    /// Something keeps them from it.
    Failed,
}

/// What is observed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSecretStatus {
    /// `Ready` or `Failed`; none until the first outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Distribution>,
    /// What is wrong or on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the Secrets last came to be as they should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_reconciliation: Option<Time>,
    /// For how long after that the credentials are valid, where they tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity_seconds: Option<i32>,
    /// Namespaces that have the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_namespaces: Vec<String>,
    /// How each source is, by `namespace/name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_secret_status: BTreeMap<String, String>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
