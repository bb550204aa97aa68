//! From what is observed to one state with its reason, and the conditions and events that tell it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use operator_guest::{Desired, Event};

use crate::{
    api::{LAS, LASNodeStatus, LASStatus, State},
    nodes::{Nodes, START},
    observe::{DaemonSetStatus, Observation, ObservedDaemonSet, unix_seconds},
    problem::Problem,
};

/// The node labels that other SCONE workloads select by.
pub(crate) const CAPABLE: &str = "las.scontain.com/capable";
pub(crate) const OK: &str = "las.scontain.com/ok";

/// Problems told in one message; the others are in the status of their nodes.
const MOST_PROBLEMS: usize = 5;

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
    /// Whether the `DaemonSet` runs only on nodes that the SGX plugin has labelled.
    pub(crate) needs_label: bool,
    /// Unix seconds.
    pub(crate) now: i64,
}

/// Judges one LAS.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let counts = evidence.observation.daemon_set.as_ref().and_then(ObservedDaemonSet::current_status);
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
    let unhealthy = |reason, message| (State::Unhealthy, Problem::new(reason, message));
    let pending = |reason, message: &str| (State::Pending, Problem::new(reason, message.to_owned()));
    let observation = evidence.observation;
    if let Some(nodes) = evidence.nodes.filter(|nodes| !nodes.problems.is_empty()) {
        return (State::Unhealthy, summary(&nodes.problems));
    }
    if !observation.errors.is_empty() {
        let message = format!("{}; let the operator list them", observation.errors.join("; "));
        return unhealthy("ClusterUnreadable", message);
    }
    if evidence.needs_label && observation.has_capable_node() == Some(false) {
        return pending(
            "NoSGXNode",
            "no node has label sgx.intel.com/capable=true, which the SGX plugin sets: create an SGXPlugin (kubectl apply, \
             or operator_controller), and see kubectl get sgxplugin if there is one",
        );
    }
    let Some(counts) = counts else {
        return pending("RollingOut", "the DaemonSet is not there yet, or its latest change has not been seen");
    };
    let Some(nodes) = evidence.nodes else { return pending("Observing", "the pods are not known yet") };
    let desired = counts.desired_number_scheduled;
    if desired == 0 {
        let message = "the DaemonSet selects no node: check spec.nodeSelector against kubectl get nodes --show-labels, and \
                       spec.tolerations against the nodes' taints";
        return unhealthy("NoNodeSelected", message.to_owned());
    }
    if nodes.statuses.is_empty() && evidence.is_overdue() {
        let message = format!(
            "none of {desired} pods has been made for {} minutes; see: kubectl describe daemonset, and let quotas and the pod \
             security level of the namespace allow them",
            START / 60
        );
        return unhealthy("PodsMissing", message);
    }
    let settled = status.las_replica_alert == Some(0) && status.las_probe_alert == Some(0) && !nodes.starting;
    if settled && counts.number_available >= desired && counts.updated_number_scheduled >= desired {
        let message = format!("LAS runs on all {desired} selected nodes, and every probe succeeds");
        return (State::Healthy, Problem::new("Healthy", message));
    }
    let ok = nodes.statuses.values().filter(|node| is_ok(node)).count();
    (State::Pending, Problem::new("PodsStarting", format!("LAS works on {ok} of {desired} selected nodes so far")))
}

impl Evidence<'_> {
    /// Whether the `DaemonSet` has had its time.
    fn is_overdue(&self) -> bool {
        let created = self.observation.daemon_set.as_ref().and_then(|set| set.metadata.creation_timestamp.as_deref());
        created.and_then(unix_seconds).is_some_and(|created| self.now - created >= START)
    }
}

/// Several problems as one: the first gives the reason.
fn summary(problems: &[Problem]) -> Problem {
    let reason = problems.first().map_or("Unknown", |problem| problem.reason);
    let told: Vec<_> = problems.iter().take(MOST_PROBLEMS).map(|problem| problem.message.as_str()).collect();
    let mut message = told.join("; ");
    if problems.len() > MOST_PROBLEMS {
        message.push_str(&format!("; and {} more, see status.nodes", problems.len() - MOST_PROBLEMS));
    }
    Problem::new(reason, message)
}

fn is_ok(node: &LASNodeStatus) -> bool {
    node.is_ready && node.las_probe_alert == 0
}

/// An event when the state changes, never otherwise.
pub(crate) fn event(parent: &LAS, judgement: &Judgement) -> Option<Event> {
    let before = parent.status.as_ref().map(|status| status.state);
    let Problem { reason, message } = &judgement.why;
    if before == Some(judgement.status.state) {
        return None;
    }
    Some(match judgement.status.state {
        State::Unhealthy => Event::warning(reason, "Check", message.clone()),
        State::Healthy | State::Pending => Event::normal(reason, "Check", message.clone()),
    })
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
