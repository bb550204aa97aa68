//! From what is observed to one state with its reason.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1};
use operator_guest::{Condition, Desired};
use scone_api::{missing::Pods, owned::Owned, report, selection};

use crate::{
    api::{LAS, LASNodeStatus, LASStatus, State},
    nodes::Nodes,
    observe::{DaemonSetStatus, Observation, ObservedDaemonSet},
    problem::Problem,
};

/// The node labels that other SCONE workloads select by.
pub(crate) const CAPABLE: &str = "las.scontain.com/capable";
pub(crate) const OK: &str = "las.scontain.com/ok";

/// The verdict: the status, and why.
pub(crate) struct Judgement {
    pub(crate) status: LASStatus,
    /// The reason and message of `Ready` and `IsHealthy`.
    pub(crate) why: Problem,
}

/// Everything that the verdict depends on.
pub(crate) struct Evidence<'a> {
    pub(crate) parent: &'a LAS,
    pub(crate) observation: &'a Observation,
    pub(crate) nodes: Option<&'a Nodes>,
    /// The objects that it owns.
    pub(crate) owned: &'a [Owned],
    /// Whether the `DaemonSet` runs only on nodes that the SGX plugin has labelled.
    pub(crate) needs_label: bool,
    /// Unix seconds.
    pub(crate) now: i64,
}

/// Judges one LAS.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let counts = evidence.counts();
    let desired = counts.map_or(-1, |counts| counts.desired_number_scheduled);
    let nodes = evidence.nodes;
    let status = LASStatus {
        state: State::Healthy,
        version: version(nodes),
        desired_number_scheduled: Some(desired),
        number_available: Some(counts.map_or(-1, |counts| counts.number_available)),
        las_replica_alert: Some(replica_alert(desired, nodes)),
        las_probe_alert: Some(probe_alert(nodes)),
        // While the pods are unknown, what was known of them stays, and so do the labels of their nodes.
        nodes: nodes.map_or_else(|| earlier_nodes(evidence.parent), |nodes| Some(nodes.statuses.clone())),
        ..LASStatus::default()
    };
    let (state, why) = state(evidence, &status, counts);
    Judgement { status: LASStatus { state, ..status }, why }
}

fn earlier_nodes(parent: &LAS) -> Option<BTreeMap<String, LASNodeStatus>> {
    parent.status.as_ref().and_then(|status| status.nodes.clone())
}

fn version(nodes: Option<&Nodes>) -> String {
    let versions = nodes.map(|nodes| nodes.versions.join(",")).unwrap_or_default();
    if versions.is_empty() { "unknown".to_owned() } else { versions }
}

/// Expected minus running; -1 when not computable or when none is expected.
fn replica_alert(desired: i32, nodes: Option<&Nodes>) -> i32 {
    let Some(nodes) = nodes.filter(|_| desired > 0) else { return -1 };
    let running = nodes.statuses.values().filter(|node| node.is_ready).count();
    (desired - i32::try_from(running).unwrap_or(i32::MAX)).max(0)
}

/// Failed probes; -1 when one could not run, or when there is none.
fn probe_alert(nodes: Option<&Nodes>) -> i32 {
    let Some(nodes) = nodes.filter(|nodes| !nodes.statuses.is_empty()) else { return -1 };
    let alerts = || nodes.statuses.values().map(|node| node.las_probe_alert);
    if alerts().any(|alert| alert < 0) { -1 } else { alerts().sum() }
}

/// The state and why. What needs a human comes first, what is on its way last.
fn state(evidence: &Evidence<'_>, status: &LASStatus, counts: Option<&DaemonSetStatus>) -> (State, Problem) {
    let observation = evidence.observation;
    let problems = evidence.nodes.map_or(&[][..], |nodes| &nodes.problems);
    if let Some(problem) = report::summary(problems, "see status.nodes") {
        return (State::Unhealthy, problem);
    }
    if !observation.errors.is_empty() {
        let message = format!("{}; let the operator list them", observation.errors.join("; "));
        return (State::Unhealthy, Problem::new("ClusterUnreadable", message));
    }
    if evidence.needs_label && observation.has_capable_node() == Some(false) {
        let message = "no node has label sgx.intel.com/capable=true, which the SGX plugin sets: create an SGXPlugin (kubectl \
                       apply, or operator_controller), and see kubectl get sgxplugin if there is one";
        return (selection::state(evidence.said(), evidence.now), Problem::new("NoSGXNode", message.to_owned()));
    }
    if let Some(found) = evidence.owned.iter().find_map(|owned| owned.waits(evidence.said(), evidence.now)) {
        return found;
    }
    let (Some(counts), Some(nodes)) = (counts, evidence.nodes) else {
        return (State::Pending, Problem::new("Observing", "the pods are not known yet".to_owned()));
    };
    running(evidence, status, counts, nodes)
}

/// The same once everything is as wanted, and its pods are known.
fn running(evidence: &Evidence<'_>, status: &LASStatus, counts: &DaemonSetStatus, nodes: &Nodes) -> (State, Problem) {
    let desired = counts.desired_number_scheduled;
    if desired == 0 {
        return (selection::state(evidence.said(), evidence.now), selection::none());
    }
    if let Some(problem) = evidence.pods().and_then(|pods| pods.overdue(evidence.said(), evidence.now, "")) {
        return (State::Unhealthy, problem);
    }
    let settled = status.las_replica_alert == Some(0) && status.las_probe_alert == Some(0) && !nodes.starting;
    if settled && counts.number_available >= desired && counts.updated_number_scheduled >= desired {
        let message = format!("LAS runs on all {desired} selected nodes, and every probe succeeds");
        return (State::Healthy, Problem::new("Healthy", message));
    }
    let ok = nodes.statuses.values().filter(|node| is_ok(node)).count();
    let message = if settled {
        format!("LAS works on all {desired} selected nodes, and the DaemonSet does not count all of them yet")
    } else {
        format!("LAS works on {ok} of {desired} selected nodes so far")
    };
    (State::Pending, Problem::new("PodsStarting", message))
}

impl Evidence<'_> {
    /// The conditions as the host has dated them.
    fn said(&self) -> &[v1::Condition] {
        self.parent.status.as_ref().map_or(&[][..], |status| &status.conditions)
    }

    /// The counts of the `DaemonSet`, once its controller has seen the latest change.
    pub(crate) fn counts(&self) -> Option<&DaemonSetStatus> {
        self.observation.daemon_set.as_ref().and_then(ObservedDaemonSet::current_status)
    }

    /// How many pods there are, once that is known.
    pub(crate) fn pods(&self) -> Option<Pods> {
        Pods::of(self.nodes?.present, self.counts())
    }
}

/// The status of a LAS that is being deleted: what was known of it, pending.
pub(crate) fn going(parent: &LAS) -> LASStatus {
    let earlier =
        parent.status.clone().unwrap_or_else(|| LASStatus { version: "unknown".to_owned(), ..LASStatus::default() });
    LASStatus { state: State::Pending, conditions: Vec::new(), observed_generation: None, ..earlier }
}

/// Whether the probe checks all that it could.
pub(crate) fn checks(keyed: bool) -> Condition {
    if keyed {
        return Condition::true_("ChecksComplete", "DCAPKeySet", "the probe also asks for DCAP quotes");
    }
    let message = "without spec.dcapKey the probe asks for no DCAP quotes: set it to your key of the Intel PCS API, or to 32 \
                   zeros on Azure";
    Condition::false_("ChecksComplete", "DCAPKeyMissing", message)
}

fn is_ok(node: &LASNodeStatus) -> bool {
    node.is_ready && node.las_probe_alert == 0
}

/// Labels the nodes where LAS is ready, and those where it also works. The host takes back what is not named.
pub(crate) fn label_nodes(desired: Desired, judgement: &Judgement, observation: &Observation) -> Desired {
    let known: Option<BTreeSet<&str>> =
        observation.nodes.as_ref().map(|nodes| nodes.iter().map(|node| node.metadata.name.as_str()).collect());
    let exists = |name: &str| known.as_ref().is_none_or(|known| known.contains(name));
    let nodes = judgement.status.nodes.iter().flatten();
    nodes.filter(|(name, status)| status.is_ready && exists(name)).fold(desired, |desired, (name, status)| {
        let ok = is_ok(status).then_some((OK, "true"));
        desired.partial_labels::<Node>(name, [(CAPABLE, "true")].into_iter().chain(ok))
    })
}
