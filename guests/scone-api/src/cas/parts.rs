//! The parts of a CAS's spec.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{EnvVar, LocalObjectReference, PodSecurityContext, SecurityContext, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A probe of the container `cas`: an operation of the SCONE CLI in the pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Whether it is used.
    pub enabled: bool,
    /// Seconds before the first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds from one try to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub period_seconds: Option<i32>,
    /// Seconds that one try may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<i32>,
    /// Failed tries in a row until the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<i32>,
}

/// The volume of the database. It outlives the CAS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Persistence {
    /// Whether the database is on a volume of its own (default); without, it is gone with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 1024))]
    pub mount_path: Option<String>,
    /// Quantity: how large the volume is. It may grow, never shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub size: Option<Quantity>,
    /// Storage class; empty for the cluster's default, `-` for no dynamic provisioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 253))]
    pub storage_class: Option<String>,
    /// How the volume is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 4))]
    pub access_modes: Option<Vec<AccessMode>>,
    /// When the volume should grow (7.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_resize: Option<DynamicResize>,
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AccessMode {
    /// By one node.
    ReadWriteOnce,
    /// By many nodes, to read.
    ReadOnlyMany,
    /// By many nodes.
    ReadWriteMany,
    /// By one pod.
    ReadWriteOncePod,
}

impl AccessMode {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadOnlyMany => "ReadOnlyMany",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }
}

/// When a volume should grow, and by how much.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicResize {
    /// Whether it should.
    pub enabled: bool,
    /// Quantity: by how much.
    pub increase_step: Quantity,
    /// From which use on, in percent.
    #[schemars(range(min = 50, max = 100))]
    pub threshold_percent: i32,
}

/// Snapshots of the database.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSnapshots {
    /// Whether they are taken.
    pub enabled: bool,
    /// How often, as a duration such as `24h0m0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64, "pattern" = schema::DURATION))]
    pub interval: Option<String>,
    /// Where they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 1024))]
    pub target_directory: Option<String>,
    /// The volume for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::volume("database-snapshots")))]
    pub persistence: Option<SnapshotPersistence>,
}

/// The volume of the snapshots. It outlives the CAS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotPersistence {
    /// Whether they are on a volume of their own; without, they are gone with the pod.
    pub enabled: bool,
    /// Quantity: how large the volume is. It may grow, never shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub size: Option<Quantity>,
    /// Storage class; empty for the cluster's default, `-` for no dynamic provisioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 253))]
    pub storage_class: Option<String>,
    /// How the volume is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 4))]
    pub access_modes: Option<Vec<AccessMode>>,
    /// When the volume should grow (7.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_resize: Option<DynamicResize>,
}

/// The Service of CAS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceOptions {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["ClusterIP", "NodePort", "LoadBalancer"]))]
    pub type_: Option<String>,
    /// Port of the REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub client_port: Option<i32>,
    /// Port for enclaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub enclave_port: Option<i32>,
    /// Address that a load balancer is asked for; only with type `LoadBalancer`.
    #[serde(default, rename = "loadBalancerIP", skip_serializing_if = "Option::is_none")]
    pub load_balancer_ip: Option<String>,
    /// Ports on the nodes; only with type `NodePort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<NodePorts>,
    /// Annotations of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Ports on the nodes; the cluster chooses those that are absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePorts {
    /// Port of the REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub client_port: Option<i32>,
    /// Port for enclaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub enclave_port: Option<i32>,
}

/// Who may reach CAS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    /// Whether only those named here.
    pub enabled: bool,
    /// Labels of namespaces that may.
    #[serde(default, rename = "ingressNSMatchLabels", skip_serializing_if = "Option::is_none")]
    pub ingress_ns_match_labels: Option<BTreeMap<String, String>>,
    /// Labels of pods that may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_pod_match_labels: Option<BTreeMap<String, String>>,
}

/// Metrics of the runtime inside the enclave.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["enabled"]))]
pub struct EnclaveMetrics {
    /// Whether they are served.
    #[serde(default)]
    pub enabled: bool,
    /// Under which port.
    #[serde(default = "metrics_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

fn metrics_port() -> i32 {
    8080
}

impl Default for EnclaveMetrics {
    fn default() -> Self {
        Self { enabled: false, port: metrics_port() }
    }
}

/// Registers keys of other nodes, so that CAS may move there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::backup_controller()))]
pub struct BackupController {
    /// Whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Policy and service under which it runs, such as `cas-owner/primary-backup/upgrade`; needed when enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 1024))]
    pub session: Option<String>,
    /// Its image; without a tag the operator's version is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 512, "pattern" = schema::IMAGE))]
    pub image: Option<String>,
    /// When to pull: Always, Never or `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "Never", "IfNotPresent"]))]
    pub image_pull_policy: Option<String>,
    /// Secrets for pulling; those of CAS unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Deprecated, removed in 6.0.1: address of the CAS; this one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 512))]
    pub cas: Option<String>,
    /// Whether it logs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
    /// Variables; they override the defaults by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,
    /// Taints that its pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 128, "x-kubernetes-validations" = schema::tolerations()))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Security context of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Security context of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context: Option<SecurityContext>,
}

/// The safety service beside CAS.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "required" = ["enabled", "podAntiAffinityTopologyKey"],
    "x-kubernetes-validations" = schema::safety_service()
))]
pub struct SafetyService {
    /// Whether it runs. Without this section it does when the backup controller does.
    #[serde(default)]
    pub enabled: bool,
    /// Its image; without a tag the operator's version is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 512, "pattern" = schema::IMAGE))]
    pub image: Option<String>,
    /// How many pods there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub desired_replicas: Option<i32>,
    /// How many there must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub min_replicas: Option<i32>,
    /// Label of nodes over which they are spread.
    #[serde(default = "hostname")]
    #[schemars(extend("maxLength" = 317, "pattern" = schema::LABEL_KEY))]
    pub pod_anti_affinity_topology_key: String,
    /// Security context of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Security context of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context: Option<SecurityContext>,
    /// Taints that its pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 128, "x-kubernetes-validations" = schema::tolerations()))]
    pub tolerations: Option<Vec<Toleration>>,
}

fn hostname() -> String {
    "kubernetes.io/hostname".to_owned()
}

impl Default for SafetyService {
    fn default() -> Self {
        Self {
            enabled: false,
            image: None,
            desired_replicas: None,
            min_replicas: None,
            pod_anti_affinity_topology_key: hostname(),
            pod_security_context: None,
            container_security_context: None,
            tolerations: None,
        }
    }
}

/// The provisioning certificate caching service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::pccs()))]
pub struct Pccs {
    /// Whether it is used.
    pub enabled: bool,
    /// Its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 1024))]
    pub address: Option<String>,
}
