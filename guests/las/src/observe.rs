//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use std::collections::BTreeMap;

use crate::scone_api::LAS;
use operator_guest::{Failure, QueryFailure, Snapshot};
use serde::Deserialize;

use k8s_openapi::api::apps::v1::DaemonSet;

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
    /// The DaemonSet of this LAS.
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

/// Without knowing the others, a second DaemonSet might be made for the same host port: better wait.
fn cannot_list(what: &str, failure: &QueryFailure) -> Failure {
    Failure::Retry(format!("{what} cannot be listed: {failure}"))
}

/// A DaemonSet.
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

/// Counts of a DaemonSet.
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

/// A pod of the DaemonSet.
#[derive(Deserialize)]
pub(crate) struct ObservedPod {
    pub(crate) metadata: Meta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    containers: Vec<PodContainer>,
    affinity: Affinity,
}

#[derive(Deserialize)]
struct PodContainer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: NodeAffinity,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: NodeSelector,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelector {
    node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelectorTerm {
    match_fields: Vec<MatchField>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MatchField {
    key: String,
    values: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
}

/// What kubelet says of one container.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) restart_count: u32,
    pub(crate) state: ContainerState,
    pub(crate) last_state: ContainerState,
}

/// Where a container stands; at most one is set.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerState {
    pub(crate) waiting: Option<Waiting>,
    pub(crate) running: Option<Running>,
    pub(crate) terminated: Option<Terminated>,
}

/// A container that does not run yet.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A container that runs.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Running {
    pub(crate) started_at: String,
}

/// A container that ended.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
}

impl ObservedPod {
    /// The node it runs on, or the one that its DaemonSet made it for while the scheduler has not placed it.
    pub(crate) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref().or_else(|| {
            let terms = &self.spec.affinity.node_affinity.required.node_selector_terms;
            let fields = terms.iter().flat_map(|term| &term.match_fields);
            fields
                .filter(|field| field.key == "metadata.name")
                .find_map(|field| field.values.first())
                .map(String::as_str)
        })
    }

    /// Whether it is going away.
    pub(crate) fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The image that it was made with.
    pub(crate) fn image(&self, container: &str) -> Option<&str> {
        let found = self.spec.containers.iter().find(|c| c.name == container);
        found.map(|container| container.image.as_str()).filter(|image| !image.is_empty())
    }

    /// One container.
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.status.container_statuses.iter().find(|container| container.name == name)
    }

    /// Why the scheduler finds no place for it.
    pub(crate) fn unschedulable(&self) -> Option<&str> {
        let found = self.status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
        found.filter(|condition| condition.reason == "Unschedulable").map(|condition| condition.message.as_str())
    }
}

/// The pod that counts on each node: one that stays, and of several the youngest.
pub(crate) fn by_node(pods: &[ObservedPod]) -> BTreeMap<&str, &ObservedPod> {
    let mut chosen: BTreeMap<&str, &ObservedPod> = BTreeMap::new();
    let rank = |pod: &ObservedPod| (!pod.is_leaving(), pod.metadata.creation_timestamp.clone());
    for pod in pods {
        let Some(node) = pod.node() else { continue };
        let kept = chosen.entry(node).or_insert(pod);
        if rank(pod) > rank(kept) {
            *kept = pod;
        }
    }
    chosen
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
