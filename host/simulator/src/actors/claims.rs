//! Storage: claims are bound by their class, grow, and go when no pod uses them any more.
//!
//! Volumes are no objects here, and are reached from every node.

use serde_json::{Value, json};

use super::{condition, is_terminating, list, reference, text, told};
use crate::{
    FakeCluster,
    cluster::{CLAIM_IN_USE, quantity},
};

/// The annotation by which a class is the default one.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The annotation by which the scheduler says where a claim is wanted.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub(super) fn step(cluster: &FakeCluster) -> bool {
    let classes = cluster.all("storage.k8s.io/v1", "StorageClass");
    let mut changed = false;
    for claim in cluster.all("v1", "PersistentVolumeClaim") {
        changed |= if is_terminating(&claim) {
            !is_used(cluster, &claim, |_| true) && release(cluster, &claim)
        } else if text(&claim, "/status/phase") == "Bound" {
            grow(cluster, &claim)
        } else {
            bind(cluster, &claim, &classes)
        };
    }
    changed
}

/// The names of the claims that a pod mounts.
pub(super) fn of_pod(pod: &Value) -> impl Iterator<Item = &str> {
    list(pod, "/spec/volumes").filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}

/// Whether a claim waits for a pod that wants it.
pub(super) fn waits_for_consumer(cluster: &FakeCluster, claim: &Value) -> bool {
    let classes = cluster.all("storage.k8s.io/v1", "StorageClass");
    class_of(claim, &classes).is_some_and(|class| text(class, "/volumeBindingMode") == "WaitForFirstConsumer")
}

fn class_of<'a>(claim: &Value, classes: &'a [Value]) -> Option<&'a Value> {
    match claim.pointer("/spec/storageClassName").and_then(Value::as_str) {
        Some(name) => classes.iter().find(|class| text(class, "/metadata/name") == name),
        None => classes.iter().find(|class| annotation(class, DEFAULT_CLASS) == Some("true")),
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn is_used(cluster: &FakeCluster, claim: &Value, counts: impl Fn(&Value) -> bool) -> bool {
    let (namespace, name) = (text(claim, "/metadata/namespace"), text(claim, "/metadata/name"));
    let pods = cluster.all("v1", "Pod");
    pods.iter()
        .any(|pod| text(pod, "/metadata/namespace") == namespace && of_pod(pod).any(|of| of == name) && counts(pod))
}

fn release(cluster: &FakeCluster, claim: &Value) -> bool {
    cluster.edit(&reference(claim), |claim| {
        if let Some(finalizers) = claim.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|finalizer| finalizer != CLAIM_IN_USE);
        }
    })
}

/// A claim is bound when its class exists; without a class, the default one is its class.
fn bind(cluster: &FakeCluster, claim: &Value, classes: &[Value]) -> bool {
    let Some(class) = class_of(claim, classes) else { return false };
    let waits = text(class, "/volumeBindingMode") == "WaitForFirstConsumer";
    if waits && annotation(claim, SELECTED_NODE).is_none() {
        return false;
    }
    let (class, volume) = (text(class, "/metadata/name"), format!("pvc-{}", text(claim, "/metadata/uid")));
    cluster.edit(&reference(claim), |claim| {
        let size = claim.pointer("/spec/resources/requests/storage").cloned().unwrap_or_default();
        let modes = claim.pointer("/spec/accessModes").cloned().unwrap_or_default();
        if let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("storageClassName".into(), class.into());
            spec.insert("volumeName".into(), volume.into());
        }
        if let Some(map) = claim.as_object_mut() {
            let status = json!({"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}});
            map.insert("status".into(), status);
        }
    })
}

/// A claim that asks for more than it has grows: the volume first, then, while a pod uses it, the file system on it.
fn grow(cluster: &FakeCluster, claim: &Value) -> bool {
    let wanted = claim.pointer("/spec/resources/requests/storage").cloned().unwrap_or_default();
    let has = claim.pointer("/status/capacity/storage").cloned().unwrap_or_default();
    if quantity::parse(&wanted) <= quantity::parse(&has) {
        return false;
    }
    let now = cluster.time();
    let waits = condition(claim, "FileSystemResizePending").is_some();
    let next = match condition(claim, "Resizing") {
        _ if waits && !is_used(cluster, claim, |pod| text(pod, "/status/phase") == "Running") => return false,
        _ if waits => None,
        None => Some(told(claim, "Resizing", true, "", "", &now)),
        Some(_) => {
            let message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node.";
            Some(told(claim, "FileSystemResizePending", true, "", message, &now))
        }
    };
    cluster.edit(&reference(claim), |claim| {
        let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) else { return };
        if let Some(condition) = next {
            status.insert("conditions".into(), json!([condition]));
        } else {
            status.remove("conditions");
            status.insert("capacity".into(), json!({ "storage": wanted }));
        }
    })
}
