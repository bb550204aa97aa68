//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use k8s_openapi::api::apps::v1::DaemonSet;
use operator_guest::{Failure, QueryFailure, Snapshot};
use serde::Deserialize;

use crate::{api::LAS, pod::ObservedPod};

/// Query ids.
pub(crate) const NODES: &str = "nodes";
pub(crate) const PODS: &str = "pods";
pub(crate) const OTHERS: &str = "las";

/// The fields that the queries ask for; the manifest asks to be granted the same.
pub(crate) const NODE_FIELDS: [&str; 1] = ["metadata.labels"];
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
    /// Whether the Secret with the DCAP key is there.
    pub(crate) secret_present: bool,
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
}

/// Reads the snapshot.
pub(crate) fn observe(snapshot: &Snapshot<LAS>, daemon_set: &str, secret: &str) -> Result<Observation, Failure> {
    let mut errors = Vec::new();
    Ok(Observation {
        daemon_set: snapshot.child_as::<DaemonSet, _>(daemon_set)?,
        secret_present: snapshot
            .observed()
            .iter()
            .any(|child| child.identity.kind == "Secret" && child.identity.name == secret),
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

/// A `DaemonSet`.
#[derive(Deserialize)]
pub(crate) struct ObservedDaemonSet {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) status: DaemonSetStatus,
}

impl ObservedDaemonSet {
    /// The status, once its controller has seen the latest change.
    pub(crate) fn current_status(&self) -> Option<&DaemonSetStatus> {
        let seen = self.status.observed_generation?;
        self.metadata.generation.is_none_or(|generation| seen >= generation).then_some(&self.status)
    }
}

/// Counts of a `DaemonSet`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DaemonSetStatus {
    pub(crate) observed_generation: Option<i64>,
    pub(crate) desired_number_scheduled: i32,
    pub(crate) number_available: i32,
    pub(crate) updated_number_scheduled: i32,
}

/// The metadata that matters.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) generation: Option<i64>,
    pub(crate) creation_timestamp: Option<String>,
    pub(crate) deletion_timestamp: Option<String>,
}

/// Another LAS, or this one.
#[derive(Deserialize)]
pub(crate) struct OtherLas {
    pub(crate) metadata: Meta,
}

/// A node.
#[derive(Deserialize)]
pub(crate) struct ObservedNode {
    pub(crate) metadata: NodeMeta,
}

/// The metadata of a node that matters.
#[derive(Deserialize)]
pub(crate) struct NodeMeta {
    pub(crate) name: String,
    #[serde(default)]
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

/// Unix seconds of a time as Kubernetes writes it (RFC 3339 in UTC, whole seconds or finer). None for anything else.
pub(crate) fn unix_seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    // Days since 1970-01-01 of the civil calendar, with years that start in March so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    Some(days * 86_400 + seconds)
}
