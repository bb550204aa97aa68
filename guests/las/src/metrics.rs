//! Samples under the published names, so that published dashboards work.

use operator_guest::Sample;

use crate::api::LASStatus;

/// The samples of one LAS. It is cluster-scoped, so its namespace is that of its pods.
pub(crate) fn samples(name: &str, namespace: &str, status: &LASStatus) -> [Sample; 5] {
    let number = |value: Option<i32>| f64::from(value.unwrap_or(-1));
    [
        ("scone_las_state", status.state.code()),
        ("scone_las_desired_number_scheduled", number(status.desired_number_scheduled)),
        ("scone_las_number_available", number(status.number_available)),
        ("scone_las_las_replica_alert", number(status.las_replica_alert)),
        ("scone_las_las_probe_alert", number(status.las_probe_alert)),
    ]
    .map(|(metric, value)| Sample::gauge(metric, value).label("cr_name", name).label("cr_namespace", namespace))
}
