//! The `Deployment` controller: a `ReplicaSet` for each template, the newest grows while the others shrink.

mod status;

use serde_json::{Value, json};

use super::{is_terminating, number, pods, reference, share, text};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let mut changed = false;
    for deployment in cluster.all("apps/v1", "Deployment").iter().filter(|deployment| !is_terminating(deployment)) {
        changed |= Rollout::of(cluster, deployment).go();
        changed |= status::report(&Rollout::of(cluster, deployment));
    }
    changed
}

/// One deployment as it is now.
struct Rollout<'a> {
    cluster: &'a FakeCluster,
    deployment: &'a Value,
    /// The name of the set for the template of now.
    name: String,
    /// That set, when it is there.
    newest: Option<Value>,
    /// The sets of other templates, the oldest first.
    old: Vec<Value>,
    wanted: i64,
    /// Pods that there may be beyond the wanted ones.
    surge: i64,
    /// Pods that may be missing.
    missing: i64,
}

fn replicas(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(0)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}

fn sum<'a>(sets: impl IntoIterator<Item = &'a Value>, count: impl Fn(&Value) -> i64) -> i64 {
    sets.into_iter().map(count).sum()
}

impl<'a> Rollout<'a> {
    fn of(cluster: &'a FakeCluster, deployment: &'a Value) -> Self {
        let name = format!("{}-{}", text(deployment, "/metadata/name"), pods::template_hash(deployment, 10));
        let sets = pods::owned(cluster, "apps/v1", "ReplicaSet", deployment);
        let (newest, mut old): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| text(set, "/metadata/name") == name);
        // UIDs are counted.
        old.sort_by(|a, b| text(a, "/metadata/uid").cmp(text(b, "/metadata/uid")));
        let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
        let part =
            |field: &str, up| share(deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}")), wanted, up);
        let surge = part("maxSurge", true).unwrap_or(0);
        let missing = part("maxUnavailable", false).unwrap_or(0);
        // One of them must give, or nothing would ever move.
        let missing = if surge == 0 && missing == 0 { 1 } else { missing };
        Self { cluster, deployment, name, newest: newest.into_iter().next(), old, wanted, surge, missing }
    }

    fn recreates(&self) -> bool {
        text(self.deployment, "/spec/strategy/type") == "Recreate"
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        self.newest.iter().chain(&self.old)
    }

    /// One round of the controller.
    fn go(&self) -> bool {
        if self.deployment.pointer("/spec/paused") == Some(&Value::Bool(true)) {
            return false;
        }
        if self.recreates() {
            let stopped = self.old.iter().filter(|set| self.scale(set, 0)).count() > 0;
            let remain = self.old.iter().any(|set| !pods::of(self.cluster, set).is_empty());
            return stopped || (!remain && self.grow(self.wanted)) || self.forget();
        }
        let room = self.wanted + self.surge - sum(self.all(), replicas);
        let there = self.newest.as_ref().map_or(0, replicas);
        let target = if there < self.wanted { there + room.clamp(0, self.wanted - there) } else { self.wanted };
        self.grow(target) || self.shrink() || self.forget()
    }

    /// Makes the newest set, or scales it.
    fn grow(&self, replicas: i64) -> bool {
        if let Some(set) = &self.newest {
            return self.scale(set, replicas);
        }
        self.cluster.put(self.set(replicas));
        true
    }

    /// The set for the template of now.
    fn set(&self, replicas: i64) -> Value {
        let hash = pods::template_hash(self.deployment, 10);
        let mut template = self.deployment.pointer("/spec/template").cloned().unwrap_or_default();
        let mut selector = self.deployment.pointer("/spec/selector").cloned().unwrap_or_default();
        let labels = [template.pointer_mut("/metadata/labels"), selector.pointer_mut("/matchLabels")];
        for labels in labels.into_iter().flatten().filter_map(Value::as_object_mut) {
            labels.insert("pod-template-hash".into(), hash.clone().into());
        }
        let ready = number(self.deployment, "/spec/minReadySeconds").unwrap_or(0);
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": self.name, "namespace": text(self.deployment, "/metadata/namespace"),
                "labels": template.pointer("/metadata/labels"), "ownerReferences": pods::owner_reference(self.deployment),
            },
            "spec": {"replicas": replicas, "minReadySeconds": ready, "selector": selector, "template": template},
        })
    }

    fn scale(&self, set: &Value, replicas: i64) -> bool {
        self.cluster.edit(&reference(set), |set| {
            if let Some(spec) = set.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("replicas".into(), replicas.into());
            }
        })
    }

    /// Takes pods from the old sets: first those that are not ready, then as many as may be missing.
    fn shrink(&self) -> bool {
        let not_yet = self.newest.as_ref().map_or(0, |set| replicas(set) - available(set));
        let mut spare = sum(self.all(), replicas) - (self.wanted - self.missing) - not_yet;
        let mut changed = false;
        let mut left: Vec<(&Value, i64)> = self.old.iter().map(|set| (set, replicas(set))).collect();
        for (set, count) in &mut left {
            let ill = (*count - available(set)).clamp(0, spare.max(0));
            *count -= ill;
            spare -= ill;
        }
        let mut spare = (sum(self.all(), available) - (self.wanted - self.missing)).clamp(0, spare.max(0));
        for (set, count) in left {
            let fewer = count.min(spare);
            spare -= fewer;
            changed |= self.scale(set, count - fewer);
        }
        changed
    }

    /// Deletes the oldest sets that are empty, beyond the history that is kept.
    fn forget(&self) -> bool {
        let empty = |set: &&Value| replicas(set) == 0 && number(set, "/status/replicas").unwrap_or(0) == 0;
        let spare: Vec<&Value> = self.old.iter().filter(empty).collect();
        let limit = number(self.deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
        let excess = spare.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        spare.iter().take(excess).filter(|set| self.cluster.remove(&reference(set))).count() > 0
    }
}
