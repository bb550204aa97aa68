//! The disruption controller: how many pods of a budget may be evicted now.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{is_ready, is_terminating, number, pods, report as put_status, selectors, share, text, told};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let budgets = cluster.all("policy/v1", "PodDisruptionBudget");
    budgets
        .iter()
        .filter(|budget| !is_terminating(budget))
        .fold(false, |changed, budget| report(cluster, budget) | changed)
}

fn report(cluster: &FakeCluster, budget: &Value) -> bool {
    let namespace = text(budget, "/metadata/namespace");
    let mut covered = cluster.all("v1", "Pod");
    covered.retain(|pod| {
        text(pod, "/metadata/namespace") == namespace
            && !pods::is_over(pod)
            && selectors::selects(budget.pointer("/spec/selector"), pod)
    });
    let healthy = covered.iter().filter(|pod| is_ready(pod) && !is_terminating(pod)).count();
    let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
    let (expected, desired, uncontrolled) = wanted(cluster, budget, &covered);
    let allowed = if expected > 0 && !uncontrolled { (healthy - desired).max(0) } else { 0 };
    let (reason, message) = match (uncontrolled, allowed > 0) {
        (true, _) => ("SyncFailed", "found no controller for a pod that the selector matches"),
        (false, true) => ("SufficientPods", ""),
        (false, false) => ("InsufficientPods", ""),
    };
    let mut condition = told(budget, "DisruptionAllowed", allowed > 0, reason, message, &cluster.time());
    let generation = budget.pointer("/metadata/generation").cloned().unwrap_or_default();
    if let Some(map) = condition.as_object_mut() {
        map.insert("observedGeneration".into(), generation.clone());
    }
    let status = json!({
        "observedGeneration": generation, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": expected, "conditions": [condition],
    });
    put_status(cluster, budget, status)
}

/// How many pods there should be, how many of them must be healthy, and whether that cannot be told, because a pod has no
/// controller that would say how many it wants.
fn wanted(cluster: &FakeCluster, budget: &Value, covered: &[Value]) -> (i64, i64, bool) {
    let least = budget.pointer("/spec/minAvailable");
    let most = budget.pointer("/spec/maxUnavailable");
    if let (Some(least), None) = (least.and_then(Value::as_i64), most) {
        return (i64::try_from(covered.len()).unwrap_or(i64::MAX), least, false);
    }
    let mut owners: Vec<(ObjectRef, i64)> = Vec::new();
    for pod in covered {
        let Some(scale) = scale_of(cluster, pod) else { return (0, 0, true) };
        owners.push(scale);
    }
    owners.sort();
    owners.dedup();
    let expected: i64 = owners.iter().map(|(_, replicas)| replicas).sum();
    let desired = match (most, least) {
        (Some(most), _) => expected - share(Some(most), expected, true).unwrap_or(0),
        (None, least) => share(least, expected, true).unwrap_or(0),
    };
    (expected, desired.max(0), false)
}

/// What decides how many pods like this one there are, and how many it wants.
fn scale_of(cluster: &FakeCluster, pod: &Value) -> Option<(ObjectRef, i64)> {
    let mut object = pod.clone();
    let mut replicas = None;
    // A set may itself have a controller, which decides for it.
    while let Some(owner) = pods::controller(&object) {
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let identity =
            ObjectRef::namespaced(text(owner, "/apiVersion"), text(owner, "/kind"), &namespace, text(owner, "/name"));
        let Some(found) = cluster.object(&identity) else { break };
        let Some(wanted) = number(&found, "/spec/replicas") else { break };
        replicas = Some((identity, wanted));
        object = found;
    }
    replicas
}
