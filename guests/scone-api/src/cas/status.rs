//! What is observed of a CAS.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::State;

/// Where a CAS stands, the first that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// It is being deleted.
    Deleted,
    /// Not provisioned yet, and pending.
    #[default]
    Uninitialized,
    /// Not provisioned.
    Unprovisioned,
    /// It could not be attested.
    AttestationFailure,
    /// Provisioned, and pending.
    Provisioned,
    /// A node has not registered its backup yet.
    EnablingMigration,
    /// Snapshots are not taken as wanted.
    SnapshotFailure,
    /// Being upgraded (7.0); not used here.
    Upgrading,
    /// Something else is wrong.
    #[serde(rename = "UNHEALTHY")]
    Unhealthy,
    /// Nothing is wrong.
    #[serde(rename = "HEALTHY")]
    Healthy,
}

/// Whether CAS is provisioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Provisioned {
    /// Nobody can tell.
    #[default]
    Unknown,
    /// It can be attested, and is not.
    No,
    /// It is.
    Yes,
}

/// Whether CAS could be attested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Attestable {
    /// It could.
    Yes,
    /// It could not, or nobody has tried yet.
    #[default]
    Failure,
    /// It could not, as 5.8 wrote it; read, never written.
    Failed,
    /// Nobody has tried yet, as 5.8 wrote it; read, never written.
    No,
}

/// How it stands with snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SnapshotStatus {
    /// Not taken as wanted.
    Failed,
    /// None yet, and the interval has not passed.
    Initializing,
    /// Taken, and gone with the pod, as wanted.
    Ephemeral,
    /// Taken, and kept.
    Persisted,
    /// Not wanted.
    Disabled,
}

/// How it stands with the safety service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum SafetyStatus {
    /// Not wanted.
    Disabled,
    /// As wanted.
    Healthy,
    /// It works, with nothing to spare.
    Alert,
    /// Nobody can tell.
    Unknown,
    /// It does not work as wanted.
    Unhealthy,
}

/// How it stands with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PvcStatus {
    /// The claim has no volume.
    NotBound,
    /// The claim has its volume.
    Bound,
    /// The volume grows.
    Resizing,
    /// The volume has grown, its file system grows when the pod starts again.
    FileSystemResizePending,
}

/// What is observed. -1 means that a number could not be computed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CASStatus {
    /// Overall state.
    pub state: State,
    /// Where it stands.
    pub phase: Phase,
    /// Version of CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "unknown"))]
    pub version: Option<String>,
    /// Whether it is provisioned.
    #[schemars(extend("default" = "Unknown"))]
    pub provisioned: Provisioned,
    /// Whether it could be attested.
    #[schemars(extend("default" = "Failure"))]
    pub attestable: Attestable,
    /// How it stands with snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_status: Option<SnapshotStatus>,
    /// When the last snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_timestamp: Option<Time>,
    /// When a snapshot was last taken, or skipped since nothing had changed; shown in steps of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_checkup_timestamp: Option<Time>,
    /// How often snapshots are taken, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_configured_interval: Option<i64>,
    /// Nodes with a registered backup of all nodes that should have one, as in `2/3`; Disabled; Initializing.
    pub migration_node_ratio: String,
    /// Nodes with a registered backup.
    #[schemars(range(min = 0))]
    pub num_migratable_nodes: i32,
    /// Nodes that should have one.
    #[schemars(range(min = 0))]
    pub desired_num_migratable_nodes: i32,
    /// Nodes without a registered backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub migration_node_alert: Option<i32>,
    /// Missing pods of the backup controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub migration_controller_replica_alert: Option<i32>,
    /// Missing pods of CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub replica_alert: Option<i32>,
    /// Ready pods of CAS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub ready_replicas: Option<i32>,
    /// Whether the pod of CAS may be evicted: 1, and it may not start again; 0 is good.
    #[schemars(range(min = 0, max = 1))]
    pub pod_disruption_budget_alert: i32,
    /// The nonce in the DCAP report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The DCAP report of CAS, for its owner to verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dcap_report: Option<String>,
    /// How long a pod of CAS must be stuck before it is deleted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pod_deletion_attempt_backoff_time: Option<String>,
    /// The worse of the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_service_status: Option<SafetyStatus>,
    /// Of its Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_service_deployment_status: Option<SafetyStatus>,
    /// Of its `PodDisruptionBudget`.
    #[serde(default, rename = "safetyServicePDBStatus", skip_serializing_if = "Option::is_none")]
    pub safety_service_pdb_status: Option<SafetyStatus>,
    /// Whether enough of its pods are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_service_active_status: Option<bool>,
    /// The claim of the database's volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_pvc_status: Option<PvcStatus>,
    /// The claim of the snapshots' volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_pvc_status: Option<PvcStatus>,
    /// Whether a PCCS is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pccs_enabled: Option<bool>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
