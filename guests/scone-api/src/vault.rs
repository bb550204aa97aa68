//! The kind Vault as published from 5.8.0 to 6.0.0 (`vaults.services.scone.cloud`, version v1beta1). Later releases have none.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, LocalObjectReference, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::State;

/// What names must keep to: that of the injector's Service is the longest that is made of them.
pub const NAME_RULE: (&str, &str) = (
    "self.metadata.name.matches('^[a-z]([a-z0-9-]{0,42}[a-z0-9])?$')",
    "must be lower-case letters, digits and dashes, starting with a letter, at most 44: Services are named after it",
);

/// Runs a `HashiCorp` Vault in an enclave, which gets its configuration and keys from CAS. Deprecated: SCONE 6.0.0 is the last with it.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "services.scone.cloud",
    version = "v1beta1",
    kind = "Vault",
    plural = "vaults",
    singular = "vault",
    namespaced,
    status = "VaultStatus",
    deprecated = "services.scone.cloud/v1beta1 Vault is deprecated: SCONE 6.0.0 is the last release with it",
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "Desired", "type": "integer", "jsonPath": ".status.desiredReplicas"}"#,
    printcolumn = r#"{"name": "Ready", "type": "integer", "jsonPath": ".status.readyReplicas"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VaultSpec {
    /// The Vault itself. Names follow the values of the Helm chart of Vault.
    pub server: VaultServer,
    /// What all pods share.
    pub global: VaultGlobal,
    /// The injector of agents into pods.
    pub injector: VaultInjector,
    /// Whether a changed image under the same tag rolls the pod out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    /// Nodes for the pods; all of them when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Whether the `StatefulSet` may be deleted and made again when it cannot be changed; the data stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reinstall_on_fatal: Option<bool>,
}

/// The Vault itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultServer {
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<VaultImage>,
    /// Key `enabled`: a Vault for a trial, which keeps nothing and protects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<BTreeMap<String, bool>>,
    /// Key `enabled`: whether the data is on a volume that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_storage: Option<BTreeMap<String, bool>>,
    /// Key `enabled`: whether the pod is ready only when Vault answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<BTreeMap<String, bool>>,
    /// Seconds from the start of the container to the first probe.
    #[serde(default, rename = "initialdelaySeconds", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: Option<i32>,
    /// Path that the probe asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Program and arguments that run in the container as soon as it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Vec<String>>,
    /// Resources; the limit `sgx.intel.com/enclave: 1` is always added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Variables of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_environment_vars: Option<BTreeMap<String, String>>,
    /// Containers that run before it, such as the one that registers it with CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_init_containers: Option<Vec<Container>>,
}

/// An image.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultImage {
    /// Registry and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Tag; the operator's version unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// When to pull: Always, Never or `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "Never", "IfNotPresent"]))]
    pub pull_policy: Option<String>,
}

/// What all pods share.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultGlobal {
    /// Secrets for pulling images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

/// The injector of agents into pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultInjector {
    /// Whether there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What is observed. -1 means that a number could not be computed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultStatus {
    /// Overall state.
    pub state: State,
    /// What Vault wrote when it was initialised: base64 of a statement that is encrypted to the owner.
    pub init_statement: String,
    /// Pods that should be: always 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub desired_replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub ready_replicas: Option<i32>,
    /// Pods that should be and are not ready.
    #[serde(default, rename = "sgxReplicaAlert", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub sgx_replica_alert: Option<i32>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
