//! The kind LAS as published (`las.base.scone.cloud`, version v1beta1).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
pub use crate::{SconeSettings, State};

/// Runs the local attestation service on SGX nodes. A cluster has one.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "base.scone.cloud",
    version = "v1beta1",
    kind = "LAS",
    plural = "las",
    singular = "las",
    shortname = "las",
    status = "LASStatus",
    printcolumn = r#"{"name": "STATUS", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "AVAILABLE", "type": "string", "jsonPath": ".status.numberAvailable"}"#,
    printcolumn = r#"{"name": "DESIRED", "type": "string", "jsonPath": ".status.desiredNumberScheduled"}"#,
    printcolumn = r#"{"name": "VERSION", "type": "string", "jsonPath": ".status.version"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "NODES", "type": "string", "jsonPath": ".status.nodes", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LASSpec {
    /// Whether a changed image under the same tag rolls the pods out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    /// Key of the Intel PCS API, 32 hexadecimal digits; 32 zeros on Azure. Without it health checks are incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // No pattern: the API server repeats what does not match one, and this may be a real key with a typing error.
    #[schemars(extend("x-kubernetes-validations" = schema::dcap_key()))]
    pub dcap_key: Option<String>,
    /// Port on the node under which LAS is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535), extend("default" = 18_766))]
    pub host_port: Option<i32>,
    /// Image; without a tag the operator's version is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 512, "pattern" = schema::IMAGE))]
    pub image: Option<String>,
    /// When to pull: Always, Never or `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "Never", "IfNotPresent"], "default" = "Always"))]
    pub image_pull_policy: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Namespace of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 63, "pattern" = schema::NAMESPACE))]
    pub namespace: Option<String>,
    /// Nodes for LAS; `sgx.intel.com/capable: "true"` is added unless that key is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// Resources of the LAS container; the limit `sgx.intel.com/enclave: 1` is always added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 128, "x-kubernetes-validations" = schema::tolerations()))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Security context of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Security context of the LAS container.
    #[serde(default, rename = "containerSecurityContextLAS", skip_serializing_if = "Option::is_none")]
    pub container_security_context_las: Option<SecurityContext>,
    /// Security context of the probe container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context_probe: Option<SecurityContext>,
}

/// What is observed. -1 means that a number could not be computed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LASStatus {
    /// Overall state.
    pub state: State,
    /// Version of LAS in the pods.
    pub version: String,
    /// Nodes selected for LAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub desired_number_scheduled: Option<i32>,
    /// Nodes with an available LAS pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub number_available: Option<i32>,
    /// Expected minus running; -1 also when none is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub las_replica_alert: Option<i32>,
    /// Nodes whose probe failed; -1 when a probe could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub las_probe_alert: Option<i32>,
    /// Details by node name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<BTreeMap<String, LASNodeStatus>>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// One node. Times are Unix seconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LASNodeStatus {
    /// Whether LAS listens on its port.
    pub is_ready: bool,
    /// Whether there are DCAP quotes.
    #[serde(rename = "hasDCAPQuote")]
    pub has_dcap_quote: bool,
    /// Whether there are EPID quotes.
    #[serde(rename = "hasEPIDQuote")]
    pub has_epid_quote: bool,
    /// Public key of the quoting enclave, the platform's identity.
    pub public_key: String,
    /// -1 probe not run, 0 fine, 1 failed.
    #[schemars(range(min = -1))]
    pub las_probe_alert: i32,
    /// When the outcome of the probe last changed.
    pub last_probed_at: i64,
    /// When what the log tells last changed.
    pub last_computed_at: i64,
    /// When LAS started.
    pub last_running_started_at: i64,
    /// What went wrong on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_messages: Vec<String>,
}
