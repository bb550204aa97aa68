#![allow(missing_docs)]
use k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(group = "base.scone.cloud", version = "v1beta1", kind = "LAS", plural = "las", status = "LASStatus")]
#[serde(rename_all = "camelCase")]
pub struct LASSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dcap_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    #[serde(default, rename = "containerSecurityContextLAS", skip_serializing_if = "Option::is_none")]
    pub container_security_context_las: Option<SecurityContext>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context_probe: Option<SecurityContext>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum State {
    #[serde(rename = "HEALTHY")]
    Healthy,
    #[default]
    #[serde(rename = "PENDING")]
    Pending,
    #[serde(rename = "UNHEALTHY")]
    Unhealthy,
}
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LASStatus {
    pub state: State,
    pub version: String,
    pub desired_number_scheduled: Option<i32>,
    pub number_available: Option<i32>,
    pub las_replica_alert: Option<i32>,
    pub las_probe_alert: Option<i32>,
    pub nodes: Option<BTreeMap<String, LASNodeStatus>>,
}
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LASNodeStatus {
    pub is_ready: bool,
    #[serde(rename = "hasDCAPQuote")]
    pub has_dcap_quote: bool,
    #[serde(rename = "hasEPIDQuote")]
    pub has_epid_quote: bool,
    pub public_key: String,
    pub las_probe_alert: i32,
    pub last_probed_at: i64,
    pub last_computed_at: i64,
    pub last_running_started_at: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_messages: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SconeSettings {
    pub namespace: String,
    pub registry: String,
    pub version: String,
}
impl Default for SconeSettings {
    fn default() -> Self {
        Self {
            namespace: "scone-system".to_owned(),
            registry: "registry.scontain.com/scone.cloud".to_owned(),
            version: String::new(),
        }
    }
}
