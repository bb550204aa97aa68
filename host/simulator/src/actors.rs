//! Who else works in a cluster: the `DaemonSet` controller, kubelets, device plug-ins, the garbage collector. Each acts one step
//! at a time, always in the same order, and knows nothing but what a script told it.

mod daemon_sets;
mod kubelet;

use operator_core::ObjectRef;
use serde_json::{Value, json};

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
        let rolled = daemon_sets::step(cluster);
        let ran = self.run_pods(cluster);
        let plugged = self.plug(cluster);
        let collected = !cluster.collect_garbage().is_empty();
        rolled | ran | plugged | collected
    }

    /// Device plug-ins register devices with the kubelet of their node while they are ready, and lose them with the hardware.
    fn plug(&self, cluster: &FakeCluster) -> bool {
        let mut changed = false;
        for node in cluster.all("v1", "Node") {
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
        text(pod, "/spec/nodeName") == device.node
            && pod.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value)
            && is_ready(pod)
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
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True")
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
