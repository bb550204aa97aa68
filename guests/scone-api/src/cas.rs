//! The kind CAS as published (`cas.services.scone.cloud`, version v1beta1): all fields of 5.8.0 to 6.0.6, and those of 7.0-alpha
//! that matter here. Fields that a later version removed stay, so that resources written for any of them are accepted.

mod parts;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
pub use crate::{SconeSettings, State};
pub use parts::{
    AccessMode, BackupController, DatabaseSnapshots, DynamicResize, EnclaveMetrics, NetworkAccess, NodePorts, Pccs,
    Persistence, Probe, SafetyService, ServiceOptions, SnapshotPersistence,
};
pub use status::{Attestable, CASStatus, Phase, Provisioned, PvcStatus, SafetyStatus, SnapshotStatus};

/// What the name of a CAS must keep to: it names a Service, and with a hash behind it a label of the pods.
pub const NAME_RULE: (&str, &str) = (
    "self.metadata.name.matches('^[a-z]([a-z0-9-]{0,50}[a-z0-9])?$')",
    "must have at most 52 lower-case letters, digits and dashes, and begin with a letter: it names a Service and pods",
);

/// Runs a configuration and attestation service, with backups on other nodes.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "services.scone.cloud",
    version = "v1beta1",
    kind = "CAS",
    plural = "cas",
    singular = "cas",
    namespaced,
    status = "CASStatus",
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "PROVISIONED", "type": "string", "jsonPath": ".status.provisioned"}"#,
    printcolumn = r#"{"name": "ATTESTABLE", "type": "string", "jsonPath": ".status.attestable"}"#,
    printcolumn = r#"{"name": "SNAPSHOTS", "type": "string", "jsonPath": ".status.snapshotStatus"}"#,
    printcolumn = r#"{"name": "MIGRATION", "type": "string", "jsonPath": ".status.migrationNodeRatio"}"#,
    printcolumn = r#"{"name": "VERSION", "type": "string", "jsonPath": ".status.version"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::cas()))]
pub struct CASSpec {
    /// Image of CAS; without a tag the operator's version is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 512, "pattern" = schema::IMAGE))]
    pub image: Option<String>,
    /// When to pull: Always, Never or `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "Never", "IfNotPresent"]))]
    pub image_pull_policy: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Without effect: CAS is never updated by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_update: Option<bool>,
    /// Nodes for CAS; `las.scontain.com/capable: "true"` is added unless that key is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the CAS pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 128, "x-kubernetes-validations" = schema::tolerations()))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Annotations of the CAS pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// Resources of the container `cas`; the limit `sgx.intel.com/enclave: 1` is always added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of the CAS pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Security context of the container `cas`.
    #[serde(default, rename = "containerSecurityContextCAS", skip_serializing_if = "Option::is_none")]
    pub container_security_context_cas: Option<SecurityContext>,
    /// Security context of the container `audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context_audit: Option<SecurityContext>,
    /// Whether workloads may be deleted and made again when the cluster refuses to change them; volumes stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reinstall_on_fatal: Option<bool>,
    /// The whole content of `/etc/cas/cas.toml`; made from the other fields when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// The content of `owner_config.toml`, with which CAS provisions itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_config: Option<String>,
    /// The content of `owner_certificate.pem`, for self-provisioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_certificate: Option<String>,
    /// 32 hexadecimal digits that go into the DCAP report of the status; chosen by the operator when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]{32}$", "minLength" = 32, "maxLength" = 32))]
    pub nonce: Option<String>,
    /// Deprecated, removed in 7.0: dynamic memory of the enclave; disable, enable or auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edmm_mode: Option<String>,
    /// Whether the probes attest CAS.
    #[serde(default, rename = "attestedCLIProbes", skip_serializing_if = "Option::is_none")]
    pub attested_cli_probes: Option<bool>,
    /// When to restart a CAS that does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// How long CAS may take to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// The volume of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::volume("database")))]
    pub persistence: Option<Persistence>,
    /// Snapshots of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_snapshots: Option<DatabaseSnapshots>,
    /// The Service of CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceOptions>,
    /// Who may reach CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,
    /// Metrics of the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enclave_metrics: Option<EnclaveMetrics>,
    /// Registers keys of other nodes, so that CAS may move there.
    #[serde(default, rename = "backup-controller", skip_serializing_if = "Option::is_none")]
    pub backup_controller: Option<BackupController>,
    /// The safety service beside CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_service: Option<SafetyService>,
    /// The provisioning certificate caching service (7.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pccs_config: Option<Pccs>,
}
