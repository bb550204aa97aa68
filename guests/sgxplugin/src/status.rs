//! From what is observed to one state with its reason.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use scone_api::{
    State,
    missing::Pods,
    observe::DaemonSetStatus,
    owned::Owned,
    problem::Problem,
    report, selection,
    sgxplugin::{SGXPlugin, SGXPluginStatus},
};

use crate::{nodes::Nodes, observe::Observation};

/// The kind of device that alerts are about.
const DEVICE: &str = "enclave";

/// The verdict: the status, and why.
pub(crate) struct Judgement {
    pub(crate) status: SGXPluginStatus,
    /// The reason and message of `Ready` and `IsHealthy`.
    pub(crate) why: Problem,
}

impl Judgement {
    /// Nothing is known yet.
    pub(crate) fn waiting(why: &str) -> Self {
        Self { status: unknown(), why: Problem::new("Observing", why.to_owned()) }
    }
}

/// A status of which nothing could be computed.
pub(crate) fn unknown() -> SGXPluginStatus {
    SGXPluginStatus {
        state: State::Pending,
        serving_replica_ratio: "-1/-1".to_owned(),
        desired_replicas: Some(-1),
        ready_replicas: Some(-1),
        serving_replicas: Some(-1),
        healthy_serving_replicas: Some(-1),
        capacity_sgx_devices: Some(-1),
        used_sgx_devices: Some(-1),
        available_sgx_devices: Some(-1),
        sgx_replica_alert: Some(-1),
        sgx_device_alert: Some([(DEVICE.to_owned(), -1)].into()),
        ..SGXPluginStatus::default()
    }
}

/// The status of one that is being deleted: what was known of it, pending.
pub(crate) fn going(parent: &SGXPlugin) -> SGXPluginStatus {
    let earlier = parent.status.clone().unwrap_or_else(unknown);
    SGXPluginStatus { state: State::Pending, conditions: Vec::new(), observed_generation: None, ..earlier }
}

/// Everything that the verdict depends on.
pub(crate) struct Evidence<'a> {
    pub(crate) parent: &'a SGXPlugin,
    pub(crate) observation: &'a Observation,
    pub(crate) nodes: Option<&'a Nodes>,
    /// The `DaemonSet` beside what it should be.
    pub(crate) owned: &'a Owned,
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Evidence<'_> {
    /// The conditions as the host has dated them.
    fn said(&self) -> &[v1::Condition] {
        self.parent.status.as_ref().map_or(&[][..], |status| &status.conditions)
    }

    /// How many pods there are, once that is known.
    pub(crate) fn pods(&self) -> Option<Pods> {
        Pods::of(self.nodes?.present, self.observation.counts())
    }
}

/// Judges one `SGXPlugin`.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let Evidence { parent, observation, nodes, .. } = *evidence;
    let counts = observation.counts();
    let mut status = SGXPluginStatus {
        desired_replicas: Some(counts.map_or(-1, |counts| counts.desired_number_scheduled)),
        ..unknown()
    };
    match nodes {
        Some(nodes) => fill_nodes(&mut status, nodes, observation.used.as_ref()),
        // While the nodes are unknown, what was known of them stays, and so do their labels.
        None => keep(&mut status, parent.status.as_ref()),
    }
    let (healthy, serving) = (status.healthy_serving_replicas.unwrap_or(-1), status.serving_replicas.unwrap_or(-1));
    status.serving_replica_ratio = format!("{healthy}/{serving}");
    let (state, why) = state(evidence, &status);
    Judgement { status: SGXPluginStatus { state, ..status }, why }
}

fn keep(status: &mut SGXPluginStatus, earlier: Option<&SGXPluginStatus>) {
    let Some(earlier) = earlier else { return };
    status.capacity_sgx_devices_per_node.clone_from(&earlier.capacity_sgx_devices_per_node);
    status.used_sgx_devices_per_node.clone_from(&earlier.used_sgx_devices_per_node);
    status.available_sgx_devices_per_node.clone_from(&earlier.available_sgx_devices_per_node);
}

fn fill_nodes(status: &mut SGXPluginStatus, nodes: &Nodes, used: Option<&BTreeMap<String, i32>>) {
    let total = |per_node: &BTreeMap<String, i32>| Some(per_node.values().sum());
    status.ready_replicas = Some(count(nodes.ready));
    status.serving_replicas = Some(count(nodes.serving.len()));
    status.sgx_replica_alert = Some(count(nodes.unready.len()));
    status.capacity_sgx_devices = total(&nodes.capacity);
    status.capacity_sgx_devices_per_node.clone_from(&nodes.capacity);
    let Some(used) = used else { return };
    for (node, capacity) in &nodes.capacity {
        let used = used.get(node).copied().unwrap_or_default();
        status.used_sgx_devices_per_node.insert(node.clone(), used);
        // More are in use than there are when slots were taken away from running pods.
        status.available_sgx_devices_per_node.insert(node.clone(), (capacity - used).max(0));
    }
    status.used_sgx_devices = total(&status.used_sgx_devices_per_node);
    status.available_sgx_devices = total(&status.available_sgx_devices_per_node);
    let full = full(status, nodes).len();
    status.healthy_serving_replicas = Some(count(nodes.serving.len() - full));
    status.sgx_device_alert = Some([(DEVICE.to_owned(), count(full))].into());
}

/// Selected nodes with SGX and no free device.
fn full<'a>(status: &SGXPluginStatus, nodes: &'a Nodes) -> Vec<&'a str> {
    let free = &status.available_sgx_devices_per_node;
    nodes.serving.iter().filter(|node| free.get(*node) == Some(&0)).map(String::as_str).collect()
}

fn count(nodes: usize) -> i32 {
    i32::try_from(nodes).unwrap_or(i32::MAX)
}

/// The state and why. What needs a human comes first, what is on its way after that, and the alerts of a settled cluster last.
fn state(evidence: &Evidence<'_>, status: &SGXPluginStatus) -> (State, Problem) {
    let Evidence { observation, nodes, owned, .. } = *evidence;
    if let Some(problem) = nodes.and_then(|nodes| report::summary(&nodes.problems, "on other nodes")) {
        return (State::Unhealthy, problem);
    }
    if !observation.errors.is_empty() {
        let message = format!("{}; let the operator list them", observation.errors.join("; "));
        return (State::Unhealthy, Problem::new("ClusterUnreadable", message));
    }
    let (Some(nodes), Some(_)) = (nodes, &observation.used) else {
        return (State::Pending, Problem::new("Observing", "the nodes and pods are not known yet".to_owned()));
    };
    if let Some(found) = owned.waits(evidence.said(), evidence.now) {
        return found;
    }
    let Some(counts) = observation.counts() else {
        return (State::Pending, Problem::new("Observing", "the DaemonSet is not known yet".to_owned()));
    };
    coming(evidence, nodes, counts).unwrap_or_else(|| settled(nodes, counts.desired_number_scheduled, status))
}

/// What is wrong, or on its way, before every selected node has its plug-in.
fn coming(evidence: &Evidence<'_>, nodes: &Nodes, counts: &DaemonSetStatus) -> Option<(State, Problem)> {
    let desired = counts.desired_number_scheduled;
    if desired == 0 {
        return Some((selection::state(evidence.said(), evidence.now), selection::none()));
    }
    if let Some(problem) = evidence.pods().and_then(|pods| pods.overdue(evidence.said(), evidence.now, " (privileged)"))
    {
        return Some((State::Unhealthy, problem));
    }
    let ready = count(nodes.ready);
    let counted = counts.updated_number_scheduled.min(counts.number_available);
    if ready < desired || counted < desired || !nodes.unready.is_empty() {
        let message = if ready < desired {
            format!("the plug-in is ready on {ready} of {desired} selected nodes so far")
        } else {
            format!(
                "the plug-in is ready on all {desired} selected nodes, and the DaemonSet does not count all of them yet"
            )
        };
        return Some((State::Pending, Problem::new("PodsStarting", message)));
    }
    let waits = nodes.serving.is_empty() || nodes.serving.iter().any(|node| nodes.capacity.get(node) == Some(&0));
    let message = "the plug-in runs, and its devices are not listed yet by the nodes";
    (waits && nodes.registering).then(|| (State::Pending, Problem::new("DevicesComing", message.to_owned())))
}

/// The alerts of a cluster in which every plug-in runs.
fn settled(nodes: &Nodes, desired: i32, status: &SGXPluginStatus) -> (State, Problem) {
    let (state, reason, message) = match (nodes.serving.len(), full(status, nodes)) {
        (0, _) => (
            State::Unhealthy,
            "NoSGXDevice",
            format!(
                "the plug-in runs on {desired} selected nodes, but none of them offers sgx.intel.com/enclave; switch on SGX in \
                 their firmware, load a driver that makes /dev/sgx_enclave, or select other nodes in spec.nodeSelector"
            ),
        ),
        (serving, full) if full.is_empty() => (
            State::Healthy,
            "Healthy",
            format!("the plug-in is ready on all {desired} selected nodes; nodes with SGX devices: {serving}"),
        ),
        (_, full) => (
            State::Unhealthy,
            "NoFreeDevice",
            format!(
                "all SGX devices are in use on {}; raise spec.capacitySGXPods, end pods that hold a device, or add nodes with \
                 SGX",
                full.join(", ")
            ),
        ),
    };
    (state, Problem::new(reason, message))
}
