//! Samples under the published names, so that published dashboards work.

use std::collections::BTreeMap;

use operator_guest::Sample;
use scone_api::sgxplugin::SGXPluginStatus;

/// The samples of one `SGXPlugin`. It is cluster-scoped, so its namespace is that of its pods.
pub(crate) fn samples(name: &str, namespace: &str, status: &SGXPluginStatus) -> Vec<Sample> {
    let gauge = |metric: &str, value: f64| {
        Sample::gauge(&format!("scone_sgxplugin_{metric}"), value)
            .label("cr_name", name)
            .label("cr_namespace", namespace)
    };
    let number = |value: Option<i32>| f64::from(value.unwrap_or(-1));
    let mut samples = vec![
        gauge("state", status.state.code()),
        gauge("desired_replicas", number(status.desired_replicas)),
        gauge("ready_replicas", number(status.ready_replicas)),
        gauge("serving_replicas", number(status.serving_replicas)),
        gauge("healthy_serving_replicas", number(status.healthy_serving_replicas)),
        gauge("serving_replica_ratio", ratio(status)),
        gauge("sgx_replica_alert", number(status.sgx_replica_alert)),
        gauge("capacity_sgx_devices", number(status.capacity_sgx_devices)),
        gauge("used_sgx_devices", number(status.used_sgx_devices)),
        gauge("available_sgx_devices", number(status.available_sgx_devices)),
    ];
    let alerts = status.sgx_device_alert.iter().flatten();
    samples
        .extend(alerts.map(|(device, alert)| gauge("sgx_device_alert", f64::from(*alert)).label("sgxDevice", device)));
    let mut per_node = |metric: &str, nodes: &BTreeMap<String, i32>| {
        samples.extend(nodes.iter().map(|(node, count)| gauge(metric, f64::from(*count)).label("nodeName", node)));
    };
    per_node("capacity_sgx_devices_per_node", &status.capacity_sgx_devices_per_node);
    per_node("used_sgx_devices_per_node", &status.used_sgx_devices_per_node);
    per_node("available_sgx_devices_per_node", &status.available_sgx_devices_per_node);
    samples
}

/// Healthy of serving nodes, from 0 to 1; -1 when one is unknown, or when no node serves.
fn ratio(status: &SGXPluginStatus) -> f64 {
    match (status.healthy_serving_replicas, status.serving_replicas) {
        (Some(healthy @ 0..), Some(serving @ 1..)) => f64::from(healthy) / f64::from(serving),
        _ => -1.0,
    }
}
