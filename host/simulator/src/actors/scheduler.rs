//! The scheduler: a node for each pod that has none. Pods of `DaemonSet`s come with theirs.

use std::collections::BTreeMap;

use operator_core::ObjectRef;
use serde_json::{Map, Value, json};

use super::{claims, condition, is_ready, is_terminating, kubelet, list, pods, reference, selectors, text};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let nodes = cluster.all("v1", "Node");
    let waiting = cluster.all("v1", "Pod");
    let waiting = waiting.iter().filter(|pod| text(pod, "/spec/nodeName").is_empty() && !is_terminating(pod));
    waiting.fold(false, |changed, pod| place(cluster, &nodes, pod) | changed)
}

fn place(cluster: &FakeCluster, nodes: &[Value], pod: &Value) -> bool {
    // Each pod sees those that were placed before it.
    let mut others = cluster.all("v1", "Pod");
    others.retain(|other| !text(other, "/spec/nodeName").is_empty() && !pods::is_over(other));
    let unbound = match unbound(cluster, pod) {
        Ok(unbound) => unbound,
        Err(why) => return refuse(cluster, pod, &format!("0/{} nodes are available: {why}.", nodes.len())),
    };
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut fitting = Vec::new();
    for node in nodes {
        match objection(pod, node, nodes, &others) {
            None => fitting.push(node),
            Some(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    // The emptiest node, but first one that the pod would rather have.
    let best = fitting.iter().min_by_key(|node| {
        let name = text(node, "/metadata/name").to_owned();
        let there = others.iter().filter(|other| text(other, "/spec/nodeName") == name).count();
        (std::cmp::Reverse(preference(pod, node, nodes, &others)), there, name)
    });
    let Some(node) = best else {
        let mut listed: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        listed.sort();
        let message = if nodes.is_empty() {
            "no nodes available to schedule pods".to_owned()
        } else {
            format!("0/{} nodes are available: {}.", nodes.len(), listed.join(", "))
        };
        return refuse(cluster, pod, &message);
    };
    let node = text(node, "/metadata/name");
    if !unbound.is_empty() {
        // They are bound where the pod will run; it follows.
        return unbound.iter().fold(false, |changed, claim| select(cluster, claim, node) | changed);
    }
    cluster.edit(&reference(pod), |pod| {
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".into(), node.into());
        }
        // It no longer lacks a place.
        if let Some(map) = pod.as_object_mut() {
            map.insert("status".into(), json!({"phase": "Pending"}));
        }
    })
}

/// The claims of a pod that wait for it, or why they keep it waiting.
fn unbound(cluster: &FakeCluster, pod: &Value) -> Result<Vec<ObjectRef>, String> {
    let mut waiting = Vec::new();
    for name in claims::of_pod(pod) {
        let claim = ObjectRef::namespaced("v1", "PersistentVolumeClaim", text(pod, "/metadata/namespace"), name);
        let object = cluster.object(&claim).ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        if is_terminating(&object) {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        if text(&object, "/status/phase") != "Bound" {
            if !claims::waits_for_consumer(cluster, &object) {
                return Err("pod has unbound immediate PersistentVolumeClaims".into());
            }
            waiting.push(claim);
        }
    }
    Ok(waiting)
}

fn select(cluster: &FakeCluster, claim: &ObjectRef, node: &str) -> bool {
    cluster.edit(claim, |claim| {
        let Some(metadata) = claim.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(claims::SELECTED_NODE.into(), node.into());
        }
    })
}

/// Why a pod cannot run on a node.
fn objection(pod: &Value, node: &Value, nodes: &[Value], others: &[Value]) -> Option<String> {
    let name = text(node, "/metadata/name");
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        return Some("node(s) were unschedulable".into());
    }
    if !is_ready(node) {
        return Some("node(s) had untolerated taint {node.kubernetes.io/unreachable: }".into());
    }
    if let Some(taint) = repelled(pod, node) {
        return Some(format!("node(s) had untolerated taint {{{}: {}}}", text(taint, "/key"), text(taint, "/value")));
    }
    if !selected(pod, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".into());
    }
    let bound = |other: &&Value| text(other, "/spec/nodeName") == name && !is_unschedulable(other);
    let there: Vec<&Value> = others.iter().filter(bound).collect();
    if let Some(resource) = kubelet::too_little(pod, node, &there) {
        return Some(format!("Insufficient {resource}"));
    }
    company(pod, node, nodes, others).map(str::to_owned)
}

fn is_unschedulable(pod: &Value) -> bool {
    condition(pod, "PodScheduled").is_some_and(|condition| text(condition, "/status") == "False")
}

/// The taint that keeps a pod off a node.
fn repelled<'a>(pod: &Value, node: &'a Value) -> Option<&'a Value> {
    list(node, "/spec/taints")
        .filter(|taint| matches!(text(taint, "/effect"), "NoSchedule" | "NoExecute"))
        .find(|taint| !list(pod, "/spec/tolerations").any(|toleration| selectors::tolerates(toleration, taint)))
}

/// Whether a node is one that the pod asks for, by `nodeSelector` and by required node affinity.
fn selected(pod: &Value, node: &Value) -> bool {
    let labels = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let required = pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    let name = text(node, "/metadata/name");
    let meets = |term: &Value| {
        list(term, "/matchExpressions").all(|e| selectors::fits(e, selectors::label(node, text(e, "/key"))))
            && list(term, "/matchFields").all(|e| selectors::fits(e, Some(name)))
    };
    selectors::has_all(labels, node) && required.is_none_or(|required| list(required, "/nodeSelectorTerms").any(meets))
}

/// Whether a term of pod affinity means a pod that runs in the same place as a node: same zone, same host.
fn meets(term: &Value, of: &Value, other: &Value, node: &Value, nodes: &[Value]) -> bool {
    let key = text(term, "/topologyKey");
    let home = nodes.iter().find(|node| text(node, "/metadata/name") == text(other, "/spec/nodeName"));
    let place = selectors::label(node, key);
    let mut named = list(term, "/namespaces").peekable();
    let namespace = text(other, "/metadata/namespace");
    let same_namespace = if named.peek().is_some() {
        named.any(|name| name.as_str() == Some(namespace))
    } else {
        namespace == text(of, "/metadata/namespace")
    };
    same_namespace
        && place.is_some()
        && home.and_then(|home| selectors::label(home, key)) == place
        && selectors::selects(term.get("labelSelector"), other)
}

const ANTI_AFFINITY: &str = "/spec/affinity/podAntiAffinity";

/// What a pod requires of its neighbours, and they of it.
fn company(pod: &Value, node: &Value, nodes: &[Value], others: &[Value]) -> Option<&'static str> {
    let required = |of: &Value, kind: &str| -> Vec<Value> {
        list(of, &format!("{kind}/requiredDuringSchedulingIgnoredDuringExecution")).cloned().collect()
    };
    let shunned = required(pod, ANTI_AFFINITY);
    if shunned.iter().any(|term| others.iter().any(|other| meets(term, pod, other, node, nodes))) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let unwelcome = others.iter().any(|other| {
        let home = text(other, "/spec/nodeName");
        // As if the pod ran on the node already.
        let placed = json!({"metadata": pod.get("metadata"), "spec": {"nodeName": text(node, "/metadata/name")}});
        let around = nodes.iter().find(|node| text(node, "/metadata/name") == home);
        around.is_some_and(|home| {
            required(other, ANTI_AFFINITY).iter().any(|term| meets(term, other, &placed, home, nodes))
        })
    });
    if unwelcome {
        return Some("node(s) didn't satisfy existing pods anti-affinity rules");
    }
    let sought = required(pod, "/spec/affinity/podAffinity");
    let alone = !sought.iter().all(|term| others.iter().any(|other| meets(term, pod, other, node, nodes)));
    alone.then_some("node(s) didn't match pod affinity rules")
}

/// How much a pod would rather run on a node, by its preferred affinities.
fn preference(pod: &Value, node: &Value, nodes: &[Value], others: &[Value]) -> i64 {
    let weighed = |kind: &str, holds: &dyn Fn(&Value) -> bool| -> i64 {
        list(pod, &format!("{kind}/preferredDuringSchedulingIgnoredDuringExecution"))
            .filter(|preferred| preferred.get("podAffinityTerm").is_some_and(holds))
            .filter_map(|preferred| preferred.get("weight")?.as_i64())
            .sum()
    };
    let near = |term: &Value| others.iter().any(|other| meets(term, pod, other, node, nodes));
    weighed("/spec/affinity/podAffinity", &near) - weighed(ANTI_AFFINITY, &near)
}

fn refuse(cluster: &FakeCluster, pod: &Value, message: &str) -> bool {
    let status = kubelet::unschedulable(pod, message, &cluster.time());
    super::report(cluster, pod, status)
}
