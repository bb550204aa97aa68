//! Samples under the published names, so that published dashboards work.

use operator_guest::Sample;

use crate::api::{LASStatus, State};

/// The samples of one LAS. It is cluster-scoped, so its namespace is that of its pods.
pub(crate) fn samples(name: &str, namespace: &str, status: &LASStatus) -> [Sample; 5] {
    let state = match status.state {
        State::Healthy => 1,
        State::Pending => 0,
        State::Unhealthy => -1,
    };
    [
        ("scone_las_state", Some(state)),
        ("scone_las_desired_number_scheduled", status.desired_number_scheduled),
        ("scone_las_number_available", status.number_available),
        ("scone_las_las_replica_alert", status.las_replica_alert),
        ("scone_las_las_probe_alert", status.las_probe_alert),
    ]
    .map(|(metric, value)| {
        let sample = Sample::gauge(metric, f64::from(value.unwrap_or(-1)));
        sample.label("cr_name", name).label("cr_namespace", namespace)
    })
}
