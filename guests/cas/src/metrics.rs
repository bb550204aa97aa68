//! Samples under the published names, so that published dashboards work.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_guest::Sample;
use scone_api::cas::{Attestable, CASStatus, Phase, Provisioned, PvcStatus, SafetyStatus, SnapshotStatus};

/// The samples of one CAS.
pub(crate) fn samples(name: &str, namespace: &str, status: &CASStatus) -> Vec<Sample> {
    let number = |value: Option<i32>| f64::from(value.unwrap_or(-1));
    let mut samples = vec![
        ("state", status.state.code()),
        ("phase", phase(status.phase)),
        ("attestable", if status.attestable == Attestable::Yes { 1.0 } else { -1.0 }),
        ("provisioned", provisioned(status.provisioned)),
        ("replica_alert", number(status.replica_alert)),
        ("migration_controller_replica_alert", number(status.migration_controller_replica_alert)),
        ("migration_node_alert", number(status.migration_node_alert)),
        ("num_migratable_nodes", f64::from(status.num_migratable_nodes)),
        ("pod_disruption_budget_alert", f64::from(status.pod_disruption_budget_alert)),
        ("snapshot_status", snapshots(status.snapshot_status)),
        ("snapshot_alert", f64::from(u8::from(status.snapshot_status == Some(SnapshotStatus::Failed)))),
        ("safety_service_status", safety(status.safety_service_status)),
        ("safety_service_deployment_status", safety(status.safety_service_deployment_status)),
        ("safety_service_pdb_status", safety(status.safety_service_pdb_status)),
    ];
    let time = |time: &Option<Time>| time.as_ref().map(|time| seconds(time.0.as_second()));
    samples.extend(time(&status.snapshot_timestamp).map(|value| ("snapshot_timestamp", value)));
    samples.extend(time(&status.snapshot_checkup_timestamp).map(|value| ("snapshot_checked_timestamp", value)));
    samples.extend(status.snapshot_configured_interval.map(|value| ("snapshot_configured_interval", seconds(value))));
    samples.extend(status.database_pvc_status.map(|value| ("database_pvc_status", volume(value))));
    samples.extend(status.snapshot_pvc_status.map(|value| ("snapshot_pvc_status", volume(value))));
    let gauge = |(metric, value): (&str, f64)| {
        Sample::gauge(&format!("scone_cas_{metric}"), value).label("cr_name", name).label("cr_namespace", namespace)
    };
    samples.into_iter().map(gauge).collect()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this era fit")]
fn seconds(value: i64) -> f64 {
    value as f64
}

/// As the dashboards order them. That of upgrades is not published; it is that of the other change that takes its time.
fn phase(phase: Phase) -> f64 {
    match phase {
        Phase::Unhealthy => 0.0,
        Phase::SnapshotFailure => 0.125,
        Phase::AttestationFailure => 0.25,
        Phase::EnablingMigration | Phase::Upgrading => 0.375,
        Phase::Uninitialized => 0.5,
        Phase::Unprovisioned => 0.625,
        Phase::Provisioned => 0.75,
        Phase::Healthy => 0.875,
        Phase::Deleted => 1.0,
    }
}

fn provisioned(provisioned: Provisioned) -> f64 {
    match provisioned {
        Provisioned::Yes => 1.0,
        Provisioned::No => 0.0,
        Provisioned::Unknown => -1.0,
    }
}

fn snapshots(status: Option<SnapshotStatus>) -> f64 {
    match status {
        Some(SnapshotStatus::Failed) => 0.0,
        Some(SnapshotStatus::Disabled) => 0.25,
        Some(SnapshotStatus::Initializing) => 0.5,
        Some(SnapshotStatus::Ephemeral) => 0.75,
        Some(SnapshotStatus::Persisted) => 1.0,
        None => -1.0,
    }
}

fn safety(status: Option<SafetyStatus>) -> f64 {
    match status {
        Some(SafetyStatus::Healthy) => 3.0,
        Some(SafetyStatus::Alert) => 2.0,
        Some(SafetyStatus::Unhealthy) => 1.0,
        Some(SafetyStatus::Disabled) => 0.0,
        Some(SafetyStatus::Unknown) | None => -1.0,
    }
}

/// Not published; from bad to good like the others.
fn volume(status: PvcStatus) -> f64 {
    match status {
        PvcStatus::NotBound => 0.0,
        PvcStatus::Resizing => 1.0,
        PvcStatus::FileSystemResizePending => 2.0,
        PvcStatus::Bound => 3.0,
    }
}
