//! What the controllers of workloads share: pods from a template, and how pods stand.

use k8s_openapi::jiff::Timestamp;
use operator_controller::Clock;
use serde_json::{Value, json};

use super::{condition, is_ready, is_terminating, list, text};
use crate::FakeCluster;

/// The objects of a kind that another object controls.
pub(super) fn owned(cluster: &FakeCluster, api_version: &str, kind: &str, owner: &Value) -> Vec<Value> {
    let uid = text(owner, "/metadata/uid");
    let mut all = cluster.all(api_version, kind);
    all.retain(|object| controller(object).is_some_and(|by| text(by, "/uid") == uid));
    all
}

/// The pods of a workload.
pub(super) fn of(cluster: &FakeCluster, owner: &Value) -> Vec<Value> {
    owned(cluster, "v1", "Pod", owner)
}

/// The reference to the object that controls another one.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// `ownerReferences` of what an object controls.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!([{
        "apiVersion": text(owner, "/apiVersion"), "kind": text(owner, "/kind"), "name": text(owner, "/metadata/name"),
        "uid": text(owner, "/metadata/uid"), "controller": true, "blockOwnerDeletion": true,
    }])
}

/// A pod from the template of its owner, with more labels.
pub(super) fn from_template(owner: &Value, name: &str, labels: &[(&str, &str)]) -> Value {
    let mut metadata = owner.pointer("/spec/template/metadata").cloned().unwrap_or_else(|| json!({}));
    let spec = owner.pointer("/spec/template/spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".into(), name.into());
        metadata.insert("namespace".into(), text(owner, "/metadata/namespace").into());
        metadata.insert("ownerReferences".into(), owner_reference(owner));
        let all = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
}

/// The hash by which the pods of one template know each other.
pub(super) fn template_hash(owner: &Value, length: usize) -> String {
    let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
    short(&template.to_string(), length)
}

/// The first characters of a hash.
pub(super) fn short(text: &str, length: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(length).collect()
}

/// Whether a pod has come to its end.
pub(super) fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod serves: it runs, is ready, and stays.
pub(super) fn is_healthy(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && is_ready(pod) && !is_terminating(pod)
}

/// Whether a pod has been ready for as long as its owner's `minReadySeconds`.
pub(super) fn is_available(cluster: &FakeCluster, owner: &Value, pod: &Value) -> bool {
    let wanted = super::number(owner, "/spec/minReadySeconds").unwrap_or(0);
    let since = condition(pod, "Ready").and_then(|ready| seconds(text(ready, "/lastTransitionTime")));
    is_ready(pod) && (wanted == 0 || since.is_some_and(|since| since + wanted <= cluster.now()))
}

/// A time in Unix seconds.
pub(super) fn seconds(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}
