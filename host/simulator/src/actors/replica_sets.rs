//! The `ReplicaSet` controller: so many pods, whichever.

use serde_json::{Map, Value};

use super::{counts, is_ready, is_terminating, number, pods, reference, report as put_status, selectors, text};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let mut changed = false;
    for set in cluster.all("apps/v1", "ReplicaSet").iter().filter(|set| !is_terminating(set)) {
        changed |= scale(cluster, set);
        changed |= report(cluster, set);
    }
    changed
}

/// The pods that count: a pod on its way out has been replaced already.
fn active(cluster: &FakeCluster, set: &Value) -> Vec<Value> {
    let mut all = pods::of(cluster, set);
    all.retain(|pod| !is_terminating(pod) && !pods::is_over(pod));
    all
}

fn scale(cluster: &FakeCluster, set: &Value) -> bool {
    let mut there = active(cluster, set);
    let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    for _ in there.len()..wanted {
        let name = text(set, "/metadata/name");
        let name = format!("{name}-{}", pods::short(&format!("{name}/{}", cluster.counted()), 5));
        cluster.put(pods::from_template(set, &name, &[]));
    }
    // Those go first that matter least: without a node, not ready, the youngest.
    there.sort_by_key(|pod| {
        let youngest = std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned());
        (!text(pod, "/spec/nodeName").is_empty(), is_ready(pod), youngest, text(pod, "/metadata/name").to_owned())
    });
    let excess = there.len().saturating_sub(wanted);
    for pod in there.iter().take(excess) {
        cluster.remove(&reference(pod));
    }
    there.len() != wanted
}

fn report(cluster: &FakeCluster, set: &Value) -> bool {
    let there = active(cluster, set);
    let count = |holds: &dyn Fn(&Value) -> bool| there.iter().filter(|pod| holds(pod)).count();
    let labels = set.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let mut status = Map::new();
    status.insert("observedGeneration".into(), set.pointer("/metadata/generation").cloned().unwrap_or_default());
    status.insert("replicas".into(), there.len().into());
    let fields = [
        ("fullyLabeledReplicas", count(&|pod| selectors::has_all(labels, pod))),
        ("readyReplicas", count(&is_ready)),
        ("availableReplicas", count(&|pod| pods::is_available(cluster, set, pod))),
    ];
    counts(&mut status, &fields);
    put_status(cluster, set, Value::Object(status))
}
