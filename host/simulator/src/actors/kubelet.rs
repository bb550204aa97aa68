//! Kubelets: pods on live nodes start, become ready, or say why they do not.

use k8s_openapi::jiff::Timestamp;
use operator_controller::Clock;
use serde_json::{Map, Value, json};

use super::{Actors, is_ready, is_terminating, list, number, pods, reference, selectors::tolerates, text};
use crate::{FakeCluster, cluster::quantity};

/// How long a pod stays on a silent node when it says nothing, in seconds.
const PATIENCE: i64 = 300;

impl Actors {
    /// One step of each pod on each node.
    pub(super) fn run_pods(&self, cluster: &FakeCluster) -> bool {
        let nodes = cluster.all("v1", "Node");
        let now = Timestamp::from_second(cluster.now()).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
        let pods = cluster.all("v1", "Pod");
        let mut changed = false;
        for pod in pods.iter().filter(|pod| !text(pod, "/spec/nodeName").is_empty()) {
            let node = nodes.iter().find(|node| text(node, "/metadata/name") == text(pod, "/spec/nodeName"));
            let status = match node {
                // Nothing can run there any more.
                None => {
                    changed |= cluster.remove(&reference(pod));
                    continue;
                }
                Some(node) if is_ready(node) && is_terminating(pod) => {
                    // Finalizers may still hold it.
                    changed |= pod.pointer("/metadata/finalizers").is_none() && cluster.remove_now(&reference(pod));
                    continue;
                }
                Some(node) if !is_ready(node) => {
                    if !is_terminating(pod) && evicted(pod, node, cluster.now()) {
                        changed |= cluster.remove(&reference(pod));
                    }
                    lost(pod, "NodeNotReady", &now)
                }
                Some(node) => match lacking(pod, node, &pods) {
                    Some(resource) => {
                        let message = format!("0/1 nodes are available: 1 Insufficient {resource}.");
                        unschedulable(pod, &message, &now)
                    }
                    None => self.run(pod, &now),
                },
            };
            changed |= cluster.edit(&reference(pod), |pod| {
                if let Some(map) = pod.as_object_mut() {
                    map.insert("status".into(), status);
                }
            });
        }
        changed
    }

    /// The status of a pod that runs or is about to.
    fn run(&self, pod: &Value, now: &str) -> Value {
        let node = text(pod, "/spec/nodeName");
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        let created = pod.pointer("/status/containerStatuses").is_some();
        let started = text(pod, "/status/startTime");
        let started = if started.is_empty() { now } else { started };
        let statuses: Vec<Value> =
            containers.iter().map(|container| self.container(pod, node, container, created, now)).collect();
        let ready = statuses.iter().all(|status| status.get("ready") == Some(&Value::Bool(true)));
        let running = statuses.iter().all(|status| status.pointer("/state/running").is_some());
        let phase = if running { "Running" } else { "Pending" };
        json!({
            "phase": phase, "startTime": started, "containerStatuses": statuses,
            "conditions": [condition(pod, "PodScheduled", true, "", now), condition(pod, "Ready", ready, "ContainersNotReady", now)],
        })
    }

    fn container(&self, pod: &Value, node: &str, container: &Value, created: bool, now: &str) -> Value {
        let (name, image) = (text(container, "/name"), text(container, "/image"));
        let mut status = Map::new();
        status.insert("name".into(), name.into());
        status.insert("image".into(), image.into());
        status.insert("restartCount".into(), 0.into());
        let before = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
        let running = before
            .into_iter()
            .find(|status| text(status, "/name") == name)
            .and_then(|status| status.pointer("/state/running").cloned());
        // Who runs has its image already.
        let bad = self.bad_images.iter().find(|(part, _)| running.is_none() && image.contains(part.as_str()));
        let (ready, state) = match bad {
            Some((_, message)) if created => {
                (false, json!({"waiting": {"reason": "ImagePullBackOff", "message": message}}))
            }
            Some((_, message)) => (false, json!({"waiting": {"reason": "ErrImagePull", "message": message}})),
            None if !created => (false, json!({"waiting": {"reason": "ContainerCreating"}})),
            None => {
                let fails = self.failing_probes.iter().any(|(n, c)| n == node && c == name);
                // A container is ready one step after it runs, as a first probe comes after the start.
                (running.is_some() && !fails, json!({"running": running.unwrap_or_else(|| json!({"startedAt": now}))}))
            }
        };
        status.insert("ready".into(), ready.into());
        status.insert("started".into(), ready.into());
        status.insert("state".into(), state);
        Value::Object(status)
    }
}

/// A condition that keeps its time while it keeps its status.
fn condition(pod: &Value, type_: &str, holds: bool, reason: &str, now: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let since = before
        .into_iter()
        .find(|c| text(c, "/type") == type_ && text(c, "/status") == status)
        .map_or(now, |c| text(c, "/lastTransitionTime"));
    let mut condition = json!({"type": type_, "status": status, "lastTransitionTime": since});
    if let (Some(map), false) = (condition.as_object_mut(), holds || reason.is_empty()) {
        map.insert("reason".into(), reason.into());
    }
    condition
}

/// Whether a pod has tolerated for long enough that its node is silent. It is marked then; that it has ended, only its node
/// could say.
fn evicted(pod: &Value, node: &Value, now: i64) -> bool {
    let since = super::condition(node, "Ready").and_then(|ready| pods::seconds(text(ready, "/lastTransitionTime")));
    let Some(since) = since else { return false };
    let of_every_node = pods::controller(pod).is_some_and(|owner| text(owner, "/kind") == "DaemonSet");
    let taint = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"});
    let mut for_it = list(pod, "/spec/tolerations").filter(|toleration| tolerates(toleration, &taint));
    let patience = match for_it.next() {
        None => Some(PATIENCE),
        Some(toleration) => number(toleration, "/tolerationSeconds"),
    };
    !of_every_node && patience.is_some_and(|patience| since + patience <= now)
}

/// A pod whose node is gone or silent: it keeps what it was, but is not ready.
fn lost(pod: &Value, reason: &str, now: &str) -> Value {
    let mut status = pod.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(map) = status.as_object_mut() {
        map.insert("conditions".into(), json!([condition(pod, "Ready", false, reason, now)]));
    }
    status
}

/// The status of a pod for which there is no place.
pub(super) fn unschedulable(pod: &Value, message: &str, now: &str) -> Value {
    let mut condition = condition(pod, "PodScheduled", false, "Unschedulable", now);
    if let Some(map) = condition.as_object_mut() {
        map.insert("message".into(), message.into());
    }
    json!({"phase": "Pending", "conditions": [condition]})
}

/// The extended resource that the node has too little of for this pod; pods that run already keep theirs.
fn lacking(pod: &Value, node: &Value, pods: &[Value]) -> Option<String> {
    if text(pod, "/status/phase") == "Running" {
        return None;
    }
    let name = text(node, "/metadata/name");
    let running = |other: &&Value| text(other, "/spec/nodeName") == name && text(other, "/status/phase") == "Running";
    too_little(pod, node, &pods.iter().filter(running).collect::<Vec<_>>())
}

/// The extended resource that a node has too little of for one more pod beside these.
pub(super) fn too_little(pod: &Value, node: &Value, there: &[&Value]) -> Option<String> {
    requests(pod).into_iter().find_map(|(resource, wanted)| {
        let whole = node.pointer("/status/allocatable")?.get(&resource).map_or(Some(0), whole)?;
        let same = |(other, _): &(String, i64)| *other == resource;
        let used: i64 = there.iter().flat_map(|other| requests(other)).filter(same).map(|(_, count)| count).sum();
        (used + wanted > whole).then_some(resource)
    })
}

/// The extended resources that a pod asks for, all containers together.
fn requests(pod: &Value) -> Vec<(String, i64)> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    containers
        .filter_map(|container| container.pointer("/resources/limits")?.as_object())
        .flatten()
        .filter(|(resource, _)| resource.contains('/'))
        .filter_map(|(resource, count)| Some((resource.clone(), whole(count)?)))
        .collect()
}

fn whole(value: &Value) -> Option<i64> {
    i64::try_from(quantity::parse(value)? / 1000).ok()
}
