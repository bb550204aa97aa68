//! The kind `SGXPlugin` as published (`sgxplugins.base.scone.cloud`, version v1beta1).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, ResourceRequirements, Toleration},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
pub use crate::{SconeSettings, State};

/// Lets containers use the SGX device without privileges. A cluster has one.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "base.scone.cloud",
    version = "v1beta1",
    kind = "SGXPlugin",
    plural = "sgxplugins",
    singular = "sgxplugin",
    shortname = "sgx",
    status = "SGXPluginStatus",
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "Serving", "type": "string", "jsonPath": ".status.servingReplicaRatio"}"#,
    printcolumn = r#"{"name": "Selected", "type": "integer", "jsonPath": ".status.desiredReplicas"}"#,
    printcolumn = r#"{"name": "Ready", "type": "integer", "jsonPath": ".status.readyReplicas"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SGXPluginSpec {
    /// Whether a changed image under the same tag rolls the pods out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    /// Device slots on each node.
    #[serde(default, rename = "capacitySGXPods", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub capacity_sgx_pods: Option<i32>,
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
    /// Nodes for the plug-in; all of them when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// Whether the `DaemonSet` may be deleted and made again when it cannot be changed; pods are away for that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reinstall_on_fatal: Option<bool>,
    /// Resources of the plug-in's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 128, "x-kubernetes-validations" = schema::tolerations()))]
    pub tolerations: Option<Vec<Toleration>>,
}

/// What is observed. -1 means that a number could not be computed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SGXPluginStatus {
    /// Overall state.
    pub state: State,
    /// Healthy serving nodes of all serving nodes, as in `2/3`.
    pub serving_replica_ratio: String,
    /// Nodes selected for the plug-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub desired_replicas: Option<i32>,
    /// Nodes with a ready pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub ready_replicas: Option<i32>,
    /// Selected nodes that offer SGX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub serving_replicas: Option<i32>,
    /// Of these, nodes with free devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub healthy_serving_replicas: Option<i32>,
    /// Device slots of the cluster.
    #[serde(default, rename = "capacitySGXDevices", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub capacity_sgx_devices: Option<i32>,
    /// Device slots by node.
    #[serde(rename = "capacitySGXDevicesPerNode")]
    pub capacity_sgx_devices_per_node: BTreeMap<String, i32>,
    /// Slots in use in the cluster.
    #[serde(default, rename = "usedSGXDevices", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub used_sgx_devices: Option<i32>,
    /// Slots in use by node.
    #[serde(rename = "usedSGXDevicesPerNode")]
    pub used_sgx_devices_per_node: BTreeMap<String, i32>,
    /// Free slots of the cluster.
    #[serde(default, rename = "availableSGXDevices", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub available_sgx_devices: Option<i32>,
    /// Free slots by node.
    #[serde(rename = "availableSGXDevicesPerNode")]
    pub available_sgx_devices_per_node: BTreeMap<String, i32>,
    /// Selected nodes with SGX whose pod is not available.
    #[serde(default, rename = "sgxReplicaAlert", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub sgx_replica_alert: Option<i32>,
    /// By kind of device, the selected nodes with SGX and no free device.
    #[serde(default, rename = "sgxDeviceAlert", skip_serializing_if = "Option::is_none")]
    pub sgx_device_alert: Option<BTreeMap<String, i32>>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
