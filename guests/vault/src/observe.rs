//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use std::collections::BTreeSet;

use operator_guest::{QueryFailure, Snapshot};
use scone_api::{
    observe::{Meta, NodeCondition, is_node_ready, or_default},
    pod::ObservedPod,
    vault::Vault,
};
use serde::Deserialize;

use crate::{
    certificate::{self, Certificate},
    objects::Site,
};

/// Query ids.
pub(crate) const NODES: &str = "nodes";
pub(crate) const PODS: &str = "pods";
pub(crate) const INJECTORS: &str = "injectors";

/// The fields that the queries ask for; the manifest asks to be granted the same. Not whole conditions of nodes, since these
/// hold the time of every heartbeat.
pub(crate) const NODE_FIELDS: [&str; 2] = ["status.conditions.status", "status.conditions.type"];
pub(crate) const POD_FIELDS: [&str; 7] = [
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "spec.nodeName",
    "status.conditions",
    "status.containerStatuses",
    "status.initContainerStatuses",
];

/// What is known of the cluster. None where a query has no answer yet.
pub(crate) struct Observation {
    /// Nodes whose kubelet does not report any more.
    pub(crate) silent: Option<BTreeSet<String>>,
    /// The pods of this Vault.
    pub(crate) pods: Option<Vec<ObservedPod>>,
    /// The pods of its injector; empty without one.
    pub(crate) injectors: Option<Vec<ObservedPod>>,
    /// The certificate of its injector; not known without one.
    pub(crate) certificate: Certificate,
    /// Why something could not be listed.
    pub(crate) errors: Vec<String>,
}

/// A node.
#[derive(Deserialize)]
struct ObservedNode {
    metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

/// Reads the snapshot.
pub(crate) fn observe(snapshot: &Snapshot<Vault>, site: &Site<'_>) -> Observation {
    let mut errors = Vec::new();
    let nodes: Option<Vec<ObservedNode>> = known(snapshot.objects(NODES), "nodes", &mut errors);
    let silent = |node: ObservedNode| (!is_node_ready(&node.status.conditions)).then_some(node.metadata.name);
    Observation {
        silent: nodes.map(|nodes| nodes.into_iter().filter_map(silent).collect()),
        pods: known(snapshot.objects(PODS), "pods", &mut errors),
        injectors: if site.injects() {
            known(snapshot.objects(INJECTORS), "the injector's pods", &mut errors)
        } else {
            Some(Vec::new())
        },
        certificate: Certificate::of(if site.injects() {
            known(snapshot.objects(certificate::QUERY), "the injector's certificate", &mut errors)
        } else {
            None
        }),
        errors,
    }
}

fn known<T>(answer: Option<Result<T, QueryFailure>>, what: &str, errors: &mut Vec<String>) -> Option<T> {
    answer?.map_err(|failure| errors.push(format!("{what} cannot be listed: {failure}"))).ok()
}
