//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use operator_guest::{Failure, QueryFailure, Snapshot};
use scone_api::{
    observe::{DaemonSetStatus, Meta, NodeCondition, ObservedDaemonSet, is_node_ready, or_default},
    pod::ObservedPod,
    sgxplugin::SGXPlugin,
};
use serde::Deserialize;

use crate::workload::Site;

/// Query ids.
pub(crate) const NODES: &str = "nodes";
pub(crate) const PODS: &str = "pods";
pub(crate) const USERS: &str = "users";
pub(crate) const OTHERS: &str = "sgxplugins";

/// The fields that the queries ask for; the manifest asks to be granted the same. Not whole conditions of nodes, since these
/// hold the time of every heartbeat.
pub(crate) const NODE_FIELDS: [&str; 6] = [
    "metadata.labels",
    "spec.taints",
    "status.allocatable",
    "status.capacity",
    "status.conditions.status",
    "status.conditions.type",
];
pub(crate) const OTHER_FIELDS: [&str; 1] = ["metadata.creationTimestamp"];
pub(crate) const POD_FIELDS: [&str; 7] = [
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.matchFields",
    "spec.nodeName",
    "status.conditions",
    "status.containerStatuses",
];
pub(crate) const USER_FIELDS: [&str; 5] = [
    "spec.containers.resources.limits",
    "spec.initContainers.resources.limits",
    "spec.initContainers.restartPolicy",
    "spec.nodeName",
    "status.phase",
];
/// Both of these together.
pub(crate) const READ_POD_FIELDS: [&str; 11] = [
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.matchFields",
    "spec.containers.resources.limits",
    "spec.initContainers.resources.limits",
    "spec.initContainers.restartPolicy",
    "spec.nodeName",
    "status.conditions",
    "status.containerStatuses",
    "status.phase",
];

/// What is known of the cluster. None where a query has no answer yet.
pub(crate) struct Observation {
    /// The `DaemonSet` of this plug-in.
    pub(crate) set: Option<ObservedDaemonSet>,
    /// All nodes.
    pub(crate) nodes: Option<Vec<ObservedNode>>,
    /// The pods of this plug-in.
    pub(crate) pods: Option<Vec<ObservedPod>>,
    /// Devices in use, by node.
    pub(crate) used: Option<BTreeMap<String, i32>>,
    /// Why something could not be listed.
    pub(crate) errors: Vec<String>,
    /// Every `SGXPlugin` of the cluster, this one included.
    pub(crate) others: Option<Vec<OtherPlugin>>,
}

impl Observation {
    /// The counts of the `DaemonSet`, once its controller has seen the latest change.
    pub(crate) fn counts(&self) -> Option<&DaemonSetStatus> {
        self.set.as_ref().and_then(ObservedDaemonSet::current_status)
    }
}

/// Reads the snapshot.
pub(crate) fn observe(snapshot: &Snapshot<SGXPlugin>, site: &Site<'_>) -> Result<Observation, Failure> {
    let mut errors = Vec::new();
    Ok(Observation {
        set: snapshot.child_in_as::<DaemonSet, _>(site.namespace, site.name)?,
        nodes: known(snapshot.objects(NODES), "nodes", &mut errors),
        pods: known(snapshot.objects(PODS), "the plug-in's pods", &mut errors),
        used: known(snapshot.objects(USERS), "pods that use SGX", &mut errors).map(used),
        // Without knowing the others, a second plug-in might be made for the same device: better wait.
        others: snapshot
            .objects(OTHERS)
            .transpose()
            .map_err(|failure| Failure::Retry(format!("SGXPlugin resources cannot be listed: {failure}")))?,
        errors,
    })
}

fn known<T>(answer: Option<Result<T, QueryFailure>>, what: &str, errors: &mut Vec<String>) -> Option<T> {
    answer?.map_err(|failure| errors.push(format!("{what} cannot be listed: {failure}"))).ok()
}

/// Another `SGXPlugin`, or this one.
#[derive(Deserialize)]
pub(crate) struct OtherPlugin {
    pub(crate) metadata: Meta,
}

/// A node.
#[derive(Deserialize)]
pub(crate) struct ObservedNode {
    pub(crate) metadata: NodeMeta,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) spec: NodeSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: NodeStatus,
}

#[derive(Deserialize)]
pub(crate) struct NodeMeta {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) taints: Vec<ObservedTaint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ObservedTaint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "or_default")]
    pub(crate) allocatable: Amounts,
    #[serde(deserialize_with = "or_default")]
    pub(crate) capacity: Amounts,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

/// Of a list of resources, those that matter.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Amounts {
    #[serde(rename = "sgx.intel.com/enclave")]
    enclave: Option<String>,
    pods: Option<String>,
}

impl Amounts {
    /// SGX devices; extended resources are whole numbers.
    pub(crate) fn enclaves(&self) -> i32 {
        self.enclave.as_deref().and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    /// Pods.
    pub(crate) fn pods(&self) -> Option<i32> {
        self.pods.as_deref()?.parse().ok()
    }
}

impl ObservedNode {
    /// Whether its kubelet is there; true when it says nothing of that.
    pub(crate) fn is_ready(&self) -> bool {
        is_node_ready(&self.status.conditions)
    }
}

/// A pod of whatever kind.
#[derive(Deserialize)]
struct ObservedUser {
    #[serde(default, deserialize_with = "or_default")]
    spec: UserSpec,
    #[serde(default, deserialize_with = "or_default")]
    status: UserStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UserSpec {
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<UserContainer>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<UserContainer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UserContainer {
    #[serde(deserialize_with = "or_default")]
    resources: UserResources,
    /// `Always` makes an init container one that stays.
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserResources {
    #[serde(deserialize_with = "or_default")]
    limits: Amounts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserStatus {
    phase: String,
}

impl UserSpec {
    /// How many devices are held for a pod, as the scheduler counts: its containers run together, init containers one after the
    /// other before them, and those that stay beside all that follow.
    fn enclaves(&self) -> i32 {
        let (mut staying, mut most) = (0, 0);
        for container in &self.init_containers {
            let devices = container.resources.limits.enclaves();
            most = most.max(staying + devices);
            if container.restart_policy.as_deref() == Some("Always") {
                staying += devices;
            }
        }
        let together: i32 = self.containers.iter().map(|container| container.resources.limits.enclaves()).sum();
        most.max(staying + together)
    }
}

/// Devices in use, by node. A pod holds as many as its containers have as limits, until it has ended.
fn used(users: Vec<ObservedUser>) -> BTreeMap<String, i32> {
    let mut used = BTreeMap::new();
    for ObservedUser { spec, status } in users {
        let devices = spec.enclaves();
        if devices > 0 && !spec.node_name.is_empty() && !["Succeeded", "Failed"].contains(&status.phase.as_str()) {
            *used.entry(spec.node_name).or_default() += devices;
        }
    }
    used
}
