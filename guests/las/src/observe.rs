//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    ByteString,
    api::{apps::v1::DaemonSet, core::v1::Secret},
};
use operator_guest::{Failure, QueryFailure, Snapshot};
use serde::Deserialize;

use crate::{api::LAS, pod::ObservedPod, workload::Site};
pub(crate) use scone_api::observe::{DaemonSetStatus, Meta, ObservedDaemonSet, unix_seconds};
use scone_api::observe::{NodeCondition, is_node_ready, or_default};

/// Query ids.
pub(crate) const NODES: &str = "nodes";
pub(crate) const PODS: &str = "pods";
pub(crate) const OTHERS: &str = "las";

/// The fields that the queries ask for; the manifest asks to be granted the same. Not whole conditions of nodes, since these
/// hold the time of every heartbeat.
pub(crate) const NODE_FIELDS: [&str; 3] = ["metadata.labels", "status.conditions.status", "status.conditions.type"];
pub(crate) const OTHER_FIELDS: [&str; 1] = ["metadata.creationTimestamp"];
pub(crate) const POD_FIELDS: [&str; 9] = [
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.matchFields",
    "spec.containers.image",
    "spec.containers.name",
    "spec.nodeName",
    "status.conditions",
    "status.containerStatuses",
];

/// What is known of the cluster. None where a query has no answer yet.
pub(crate) struct Observation {
    /// The `DaemonSet` of this LAS.
    pub(crate) daemon_set: Option<ObservedDaemonSet>,
    /// The Secret with the DCAP key.
    pub(crate) secret: Option<ObservedSecret>,
    /// All nodes.
    pub(crate) nodes: Option<Vec<ObservedNode>>,
    /// The pods of this LAS.
    pub(crate) pods: Option<Vec<ObservedPod>>,
    /// Why nodes or pods could not be listed.
    pub(crate) errors: Vec<String>,
    /// Every LAS of the cluster, this one included.
    pub(crate) all_las: Option<Vec<OtherLas>>,
}

impl Observation {
    /// Whether some node offers SGX; none while unknown.
    pub(crate) fn has_capable_node(&self) -> Option<bool> {
        self.nodes.as_ref().map(|nodes| nodes.iter().any(ObservedNode::is_capable))
    }

    /// Nodes whose kubelet does not report any more. What it said last of its containers stays, and tells nothing.
    pub(crate) fn silent_nodes(&self) -> BTreeSet<&str> {
        let nodes = self.nodes.iter().flatten();
        nodes.filter(|node| !is_node_ready(&node.status.conditions)).map(|node| &*node.metadata.name).collect()
    }
}

/// Reads the snapshot.
pub(crate) fn observe(snapshot: &Snapshot<LAS>, site: &Site<'_>) -> Result<Observation, Failure> {
    let mut errors = Vec::new();
    Ok(Observation {
        daemon_set: snapshot.child_in_as::<DaemonSet, _>(site.namespace, site.name)?,
        secret: snapshot.child_in_as::<Secret, _>(site.namespace, &site.secret())?,
        nodes: known(snapshot.objects(NODES), "nodes", &mut errors),
        pods: known(snapshot.objects(PODS), "pods", &mut errors),
        all_las: snapshot.objects(OTHERS).transpose().map_err(|failure| cannot_list("LAS resources", &failure))?,
        errors,
    })
}

fn known<T>(answer: Option<Result<T, QueryFailure>>, what: &str, errors: &mut Vec<String>) -> Option<T> {
    answer?.map_err(|failure| errors.push(format!("{what} cannot be listed: {failure}"))).ok()
}

/// Without knowing the others, a second `DaemonSet` might be made for the same host port: better wait.
fn cannot_list(what: &str, failure: &QueryFailure) -> Failure {
    Failure::Retry(format!("{what} cannot be listed: {failure}"))
}

/// Another LAS, or this one.
#[derive(Deserialize)]
pub(crate) struct OtherLas {
    pub(crate) metadata: Meta,
}

/// A Secret.
#[derive(Deserialize)]
pub(crate) struct ObservedSecret {
    pub(crate) metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) data: BTreeMap<String, ByteString>,
}

/// A node.
#[derive(Deserialize)]
pub(crate) struct ObservedNode {
    pub(crate) metadata: NodeMeta,
    #[serde(default, deserialize_with = "or_default")]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

/// The metadata of a node that matters.
#[derive(Deserialize)]
pub(crate) struct NodeMeta {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: NodeLabels,
}

/// Of a node's labels, the one that tells.
#[derive(Default, Deserialize)]
struct NodeLabels {
    #[serde(rename = "sgx.intel.com/capable", default)]
    capable: String,
}

impl ObservedNode {
    fn is_capable(&self) -> bool {
        self.metadata.labels.capable == "true"
    }
}
