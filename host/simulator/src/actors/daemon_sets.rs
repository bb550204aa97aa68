//! The `DaemonSet` controller: one pod on each node that matches, replaced one at a time when the template changes.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{is_ready, pods, reference, selectors::tolerates, text};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let sets = cluster.all("apps/v1", "DaemonSet");
    let mut changed = false;
    for set in &sets {
        changed |= roll(cluster, set);
    }
    for set in &sets {
        changed |= report(cluster, set);
    }
    changed
}

fn roll(cluster: &FakeCluster, set: &Value) -> bool {
    if set.pointer("/metadata/deletionTimestamp").is_some() {
        return false;
    }
    let (pods, revision) = (pods::of(cluster, set), pods::template_hash(set, 8));
    let nodes: Vec<String> = wanted_nodes(cluster, set);
    // A taint that only keeps new pods off leaves those that run.
    let kept = nodes_without(cluster, set, &["NoExecute"]);
    let mut changed = false;
    for pod in pods.iter().filter(|pod| !kept.iter().any(|node| node == text(pod, "/spec/nodeName"))) {
        changed |= cluster.remove(&reference(pod));
    }
    for node in nodes.iter().filter(|node| !pods.iter().any(|pod| text(pod, "/spec/nodeName") == **node)) {
        cluster.put(pod(set, node, &revision));
        changed = true;
    }
    // Rolling update: an outdated pod goes when all others are ready, so that at most one is missing.
    let outdated = pods.iter().find(|pod| text(pod, "/metadata/labels/controller-revision-hash") != revision);
    let others_ready = |old: &Value| pods.iter().all(|pod| pod == old || is_ready(pod)) || !is_ready(old);
    if let Some(old) = outdated.filter(|old| !changed && others_ready(old)) {
        changed |= cluster.remove(&reference(old));
    }
    changed
}

/// The nodes that the pod template selects and that it tolerates.
fn wanted_nodes(cluster: &FakeCluster, set: &Value) -> Vec<String> {
    nodes_without(cluster, set, &["NoSchedule", "NoExecute"])
}

/// The nodes that the pod template selects and that have no taint with one of these effects that it does not tolerate.
fn nodes_without(cluster: &FakeCluster, set: &Value, effects: &[&str]) -> Vec<String> {
    let selector =
        set.pointer("/spec/template/spec/nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    let tolerations =
        set.pointer("/spec/template/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let matches = |node: &Value| {
        let labels = node.pointer("/metadata/labels");
        let selected = selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
        let taints = node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
        let repelled = taints
            .filter(|taint| effects.contains(&text(taint, "/effect")))
            // The DaemonSet controller tolerates what the node controller sets.
            .filter(|taint| !text(taint, "/key").starts_with("node.kubernetes.io/"))
            .any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)));
        selected && !repelled
    };
    cluster
        .all("v1", "Node")
        .iter()
        .filter(|node| matches(node))
        .map(|n| text(n, "/metadata/name").to_owned())
        .collect()
}

fn pod(set: &Value, node: &str, revision: &str) -> Value {
    let name = text(set, "/metadata/name");
    let name = format!("{name}-{}", pods::short(&format!("{name}/{node}"), 5));
    let mut pod = pods::from_template(set, &name, &[("controller-revision-hash", revision)]);
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".into(), node.into());
    }
    pod
}

fn report(cluster: &FakeCluster, set: &Value) -> bool {
    let (pods, revision) = (pods::of(cluster, set), pods::template_hash(set, 8));
    let wanted = wanted_nodes(cluster, set);
    let desired = wanted.len();
    // Counted are pods where they should be; those elsewhere are only told.
    let (pods, elsewhere): (Vec<_>, Vec<_>) =
        pods.into_iter().partition(|pod| wanted.iter().any(|node| node == text(pod, "/spec/nodeName")));
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let updated = pods.iter().filter(|pod| text(pod, "/metadata/labels/controller-revision-hash") == revision).count();
    let identity = reference(set);
    cluster.edit(&ObjectRef { ..identity }, |set| {
        let generation = set.pointer("/metadata/generation").cloned().unwrap_or_default();
        if let Some(map) = set.as_object_mut() {
            map.insert("status".into(), json!({
                "observedGeneration": generation, "desiredNumberScheduled": desired, "currentNumberScheduled": pods.len(),
                "numberMisscheduled": elsewhere.len(), "numberReady": ready, "numberAvailable": ready,
                "numberUnavailable": desired.saturating_sub(ready), "updatedNumberScheduled": updated,
            }));
        }
    })
}
