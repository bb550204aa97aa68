//! The `StatefulSet` controller: pods with a number each, made and replaced in order, each with claims of its own.
//!
//! As in a real cluster, a set whose pods are ordered waits for a pod that is not ready, also when a newer template would
//! mend it: somebody must delete that pod.

mod claims;
mod history;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{counts, is_ready, is_terminating, number, pods, reference, report, text};
use crate::FakeCluster;

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let mut changed = false;
    for set in cluster.all("apps/v1", "StatefulSet") {
        changed |= !is_terminating(&set) && Set::of(cluster, &set).sync();
        changed |= Set::of(cluster, &set).report();
    }
    changed
}

/// One set as it is now.
struct Set<'a> {
    cluster: &'a FakeCluster,
    object: &'a Value,
    /// Pods by their numbers.
    pods: BTreeMap<i64, Value>,
    /// The numbers that there should be.
    wanted: std::ops::Range<i64>,
    /// The revision of the template.
    update: String,
    /// The revision that the set comes from.
    current: String,
}

impl<'a> Set<'a> {
    fn of(cluster: &'a FakeCluster, set: &'a Value) -> Self {
        let name = text(set, "/metadata/name");
        let prefix = format!("{name}-");
        let ordinal = |pod: &Value| text(pod, "/metadata/name").strip_prefix(&prefix)?.parse().ok();
        let pods = pods::of(cluster, set).into_iter().filter_map(|pod| Some((ordinal(&pod)?, pod))).collect();
        let start = number(set, "/spec/ordinals/start").unwrap_or(0);
        let wanted = start..start + number(set, "/spec/replicas").unwrap_or(1);
        let update = format!("{name}-{}", pods::template_hash(set, 10));
        let current = text(set, "/status/currentRevision");
        let current = if current.is_empty() { update.clone() } else { current.to_owned() };
        Self { cluster, object: set, pods, wanted, update, current }
    }

    fn name(&self) -> &str {
        text(self.object, "/metadata/name")
    }

    fn is_ordered(&self) -> bool {
        text(self.object, "/spec/podManagementPolicy") != "Parallel"
    }

    fn is_rolling(&self) -> bool {
        text(self.object, "/spec/updateStrategy/type") != "OnDelete"
    }

    fn partition(&self) -> i64 {
        number(self.object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    }

    fn is_settled(&self, pod: &Value) -> bool {
        pods::is_healthy(pod) && pods::is_available(self.cluster, self.object, pod)
    }

    /// One round of the controller.
    fn sync(&self) -> bool {
        let mut changed = history::record(self);
        changed |= claims::follow_policy(self);
        for ordinal in self.wanted.clone() {
            let acted = match self.pods.get(&ordinal) {
                None => Some(self.make(ordinal)),
                Some(pod) if pods::is_over(pod) => Some(self.cluster.remove(&reference(pod))),
                Some(pod) if self.is_settled(pod) => None,
                Some(_) => Some(claims::make(self, ordinal)),
            };
            changed |= acted.unwrap_or(false);
            if acted.is_some() && self.is_ordered() {
                return changed;
            }
        }
        let (shrunk, waits) = self.shrink();
        changed | shrunk || (!waits && self.is_rolling() && self.roll())
    }

    fn make(&self, ordinal: i64) -> bool {
        let name = format!("{}-{ordinal}", self.name());
        let made = claims::make(self, ordinal);
        let old = self.is_rolling() && ordinal < self.partition();
        let revision = if old { &self.current } else { &self.update };
        let of_revision = if old { history::with_template(self, revision) } else { None };
        let number = ordinal.to_string();
        let labels = [
            ("controller-revision-hash", revision.as_str()),
            ("statefulset.kubernetes.io/pod-name", name.as_str()),
            ("apps.kubernetes.io/pod-index", number.as_str()),
        ];
        let mut pod = pods::from_template(of_revision.as_ref().unwrap_or(self.object), &name, &labels);
        // A pod of that name may be somebody else's, or still on its way out.
        if self.cluster.object(&reference(&pod)).is_some() {
            return made;
        }
        claims::mount(self, ordinal, &mut pod);
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("hostname".into(), name.into());
            let service = text(self.object, "/spec/serviceName");
            if !service.is_empty() {
                spec.insert("subdomain".into(), service.into());
            }
        }
        self.cluster.put(pod);
        true
    }

    /// Pods beyond the wanted ones go, the highest first; tells whether one went, and whether one is to be waited for.
    fn shrink(&self) -> (bool, bool) {
        let beyond: Vec<_> = self.pods.iter().filter(|(ordinal, _)| !self.wanted.contains(*ordinal)).collect();
        let first_ill = beyond.iter().find(|(_, pod)| !pods::is_healthy(pod)).map(|(ordinal, _)| **ordinal);
        let mut changed = false;
        for (ordinal, pod) in beyond.iter().rev() {
            let blocked = first_ill.is_some_and(|first| first != **ordinal) && !pods::is_healthy(pod);
            if self.is_ordered() && (is_terminating(pod) || blocked) {
                return (changed, true);
            }
            if !is_terminating(pod) {
                changed |= self.cluster.remove(&reference(pod));
                claims::scaled_down(self, **ordinal);
                if self.is_ordered() {
                    return (changed, true);
                }
            }
        }
        (changed, changed)
    }

    /// The highest outdated pod is replaced when all above it are ready.
    fn roll(&self) -> bool {
        for ordinal in (self.wanted.start.max(self.partition())..self.wanted.end).rev() {
            let Some(pod) = self.pods.get(&ordinal) else { return false };
            if revision_of(pod) != self.update && !is_terminating(pod) {
                return self.cluster.remove(&reference(pod));
            }
            if !self.is_settled(pod) {
                return false;
            }
        }
        false
    }

    fn report(&self) -> bool {
        let all: Vec<&Value> = self.pods.values().collect();
        let count = |holds: &dyn Fn(&Value) -> bool| all.iter().filter(|pod| holds(pod)).count();
        let of = |revision: &str, pod: &Value| revision_of(pod) == revision && !is_terminating(pod);
        let updated = count(&|pod| of(&self.update, pod));
        let ready = count(&|pod| text(pod, "/status/phase") == "Running" && is_ready(pod));
        let available = count(&|pod| pods::is_available(self.cluster, self.object, pod));
        let wanted = usize::try_from(self.wanted.end - self.wanted.start).unwrap_or(0);
        let complete = self.is_rolling() && [updated, ready, all.len()].iter().all(|count| *count == wanted);
        let current = if complete { &self.update } else { &self.current };
        let mut status = Map::new();
        status.insert(
            "observedGeneration".into(),
            self.object.pointer("/metadata/generation").cloned().unwrap_or_default(),
        );
        status.insert("replicas".into(), all.len().into());
        status.insert("availableReplicas".into(), available.into());
        let at_current = count(&|pod| of(current, pod));
        let fields = [("readyReplicas", ready), ("currentReplicas", at_current), ("updatedReplicas", updated)];
        counts(&mut status, &fields);
        status.insert("currentRevision".into(), current.as_str().into());
        status.insert("updateRevision".into(), self.update.as_str().into());
        status.insert("collisionCount".into(), json!(0));
        report(self.cluster, self.object, Value::Object(status))
    }
}

fn revision_of(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}
