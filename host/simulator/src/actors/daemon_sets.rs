//! The `DaemonSet` controller: one pod on each node that matches, replaced one at a time when the template changes.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{is_ready, reference, text};
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

/// The hash by which the pods of one template know each other.
fn revision(set: &Value) -> String {
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    blake3::hash(template.to_string().as_bytes()).to_hex().chars().take(8).collect()
}

fn pods_of(cluster: &FakeCluster, set: &Value) -> Vec<Value> {
    let uid = text(set, "/metadata/uid");
    let mut pods = cluster.all("v1", "Pod");
    pods.retain(|pod| text(pod, "/metadata/ownerReferences/0/uid") == uid);
    pods
}

fn roll(cluster: &FakeCluster, set: &Value) -> bool {
    if set.pointer("/metadata/deletionTimestamp").is_some() {
        return false;
    }
    let (pods, revision) = (pods_of(cluster, set), revision(set));
    let nodes: Vec<String> = wanted_nodes(cluster, set);
    let mut changed = false;
    for pod in pods.iter().filter(|pod| !nodes.iter().any(|node| node == text(pod, "/spec/nodeName"))) {
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
    let selector =
        set.pointer("/spec/template/spec/nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    let tolerations =
        set.pointer("/spec/template/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let matches = |node: &Value| {
        let labels = node.pointer("/metadata/labels");
        let selected = selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
        let taints = node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
        let repelled = taints
            .filter(|taint| matches!(text(taint, "/effect"), "NoSchedule" | "NoExecute"))
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

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let same = |key: &str| toleration.get(key) == taint.get(key);
    let effect = toleration.get("effect").is_none() || same("effect");
    let exists = text(toleration, "/operator") == "Exists";
    let key = (exists && toleration.get("key").is_none()) || same("key");
    effect && key && (exists || same("value"))
}

fn pod(set: &Value, node: &str, revision: &str) -> Value {
    let name = text(set, "/metadata/name");
    let suffix: String = blake3::hash(format!("{name}/{node}").as_bytes()).to_hex().chars().take(5).collect();
    let mut metadata = set.pointer("/spec/template/metadata").cloned().unwrap_or_else(|| json!({}));
    let mut spec = set.pointer("/spec/template/spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("nodeName".into(), node.into());
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".into(), format!("{name}-{suffix}").into());
        metadata.insert("namespace".into(), text(set, "/metadata/namespace").into());
        metadata.insert(
            "ownerReferences".into(),
            json!([{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": text(set, "/metadata/uid"),
                "controller": true, "blockOwnerDeletion": true,
            }]),
        );
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("controller-revision-hash".into(), revision.into());
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
}

fn report(cluster: &FakeCluster, set: &Value) -> bool {
    let (pods, revision) = (pods_of(cluster, set), revision(set));
    let desired = wanted_nodes(cluster, set).len();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let updated = pods.iter().filter(|pod| text(pod, "/metadata/labels/controller-revision-hash") == revision).count();
    let identity = reference(set);
    cluster.edit(&ObjectRef { ..identity }, |set| {
        let generation = set.pointer("/metadata/generation").cloned().unwrap_or_default();
        if let Some(map) = set.as_object_mut() {
            map.insert("status".into(), json!({
                "observedGeneration": generation, "desiredNumberScheduled": desired, "currentNumberScheduled": pods.len(),
                "numberMisscheduled": 0, "numberReady": ready, "numberAvailable": ready,
                "numberUnavailable": desired.saturating_sub(ready), "updatedNumberScheduled": updated,
            }));
        }
    })
}
