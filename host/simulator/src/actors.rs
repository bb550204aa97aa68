//! Who else works in a cluster: the controllers of workloads, claims and disruption budgets, the scheduler, kubelets, device
//! plug-ins, the garbage collector. Each acts one step at a time, always in the same order, and knows nothing but what a
//! script told it.

mod budgets;
mod claims;
mod daemon_sets;
mod deployments;
mod kubelet;
mod pods;
mod replica_sets;
mod scheduler;
mod selectors;
mod stateful_sets;

use operator_core::ObjectRef;
use serde_json::{Map, Value, json};

use crate::FakeCluster;

/// What a script says about the world.
#[derive(Clone, Debug, Default)]
pub struct Actors {
    /// Images that cannot be pulled: part of the name, and the message.
    pub bad_images: Vec<(String, String)>,
    /// Containers that never become ready: node and container.
    pub failing_probes: Vec<(String, String)>,
    /// Devices of nodes, advertised while a pod with the label is ready on the node.
    pub devices: Vec<Device>,
}

/// One kind of device of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node.
    pub node: String,
    /// The extended resource, such as `vendor.example/device`.
    pub resource: String,
    /// How many.
    pub count: i64,
    /// The label of the plug-in's pods.
    pub label: (String, String),
}

impl Actors {
    /// Lets everybody act once; tells whether anything changed.
    pub fn step(&self, cluster: &FakeCluster) -> bool {
        let mut changed = daemon_sets::step(cluster);
        changed |= stateful_sets::step(cluster);
        changed |= deployments::step(cluster);
        changed |= replica_sets::step(cluster);
        changed |= claims::step(cluster);
        changed |= scheduler::step(cluster);
        changed |= self.run_pods(cluster);
        changed |= self.plug(cluster);
        changed |= budgets::step(cluster);
        changed | !cluster.collect_garbage().is_empty()
    }

    /// Device plug-ins register devices with the kubelet of their node while they are ready, and lose them with the hardware. A
    /// silent node stays in the API server as it was.
    fn plug(&self, cluster: &FakeCluster) -> bool {
        let mut changed = false;
        for node in cluster.all("v1", "Node").into_iter().filter(is_ready) {
            let name = text(&node, "/metadata/name").to_owned();
            let identity = ObjectRef::cluster("v1", "Node", &name);
            let there: Vec<(String, Value)> = self
                .devices
                .iter()
                .filter(|device| device.node == name && plugin_ready(cluster, device))
                .map(|device| (device.resource.clone(), Value::from(device.count.to_string())))
                .collect();
            changed |= cluster.edit(&identity, |node| set_devices(node, &there));
        }
        changed
    }
}

fn plugin_ready(cluster: &FakeCluster, device: &Device) -> bool {
    let (key, value) = &device.label;
    cluster.all("v1", "Pod").iter().any(|pod| {
        text(pod, "/spec/nodeName") == device.node && selectors::label(pod, key) == Some(value) && is_ready(pod)
    })
}

fn set_devices(node: &mut Value, devices: &[(String, Value)]) {
    for part in ["capacity", "allocatable"] {
        let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else { return };
        let Some(resources) = status.entry(part).or_insert_with(|| json!({})).as_object_mut() else { return };
        resources.retain(|resource, _| !resource.contains('/') || devices.iter().any(|(name, _)| name == resource));
        resources.extend(devices.iter().cloned());
    }
}

/// The condition Ready of a pod or a node.
fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|condition| text(condition, "/status") == "True")
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").find(|condition| text(condition, "/type") == type_)
}

/// The elements of a list; of none when there is no list.
fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Replaces the status of an object; tells whether it was another one.
fn report(cluster: &FakeCluster, object: &Value, status: Value) -> bool {
    cluster.edit(&reference(object), |object| {
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), status);
        }
    })
}

/// Counts as their types write them: nothing for none.
fn counts(status: &mut Map<String, Value>, fields: &[(&str, usize)]) {
    for (field, count) in fields.iter().filter(|(_, count)| *count > 0) {
        status.insert((*field).to_owned(), (*count).into());
    }
}

/// A number, or a percentage of a whole: rounded up or down.
fn share(value: Option<&Value>, whole: i64, up: bool) -> Option<i64> {
    let value = value?;
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok());
    match percent {
        Some(percent) => Some((percent * whole + if up { 99 } else { 0 }) / 100),
        None => value.as_i64(),
    }
}

/// A condition with the times of the one before while they hold: of its status and, if it has one, of its latest news.
fn told(object: &Value, type_: &str, holds: bool, reason: &str, message: &str, now: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = condition(object, type_).filter(|before| text(before, "/status") == status);
    let since = before.map_or(now, |before| text(before, "/lastTransitionTime"));
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn reference(object: &Value) -> ObjectRef {
    ObjectRef {
        api_version: text(object, "/apiVersion").to_owned(),
        kind: text(object, "/kind").to_owned(),
        namespace: Some(text(object, "/metadata/namespace").to_owned()).filter(|namespace| !namespace.is_empty()),
        name: text(object, "/metadata/name").to_owned(),
    }
}
