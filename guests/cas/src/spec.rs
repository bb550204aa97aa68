//! What a spec means, once its defaults are written into it.

use scone_api::cas::{BackupController, CASSpec, DatabaseSnapshots, Persistence, SafetyService};

use crate::{duration, workload::CLIENT_PORT};

/// Where the database is, unless the spec says.
pub(crate) const DATABASE_PATH: &str = "/etc/cas/db";
/// Where snapshots go, unless the spec says.
pub(crate) const SNAPSHOT_PATH: &str = "/var/mnt/cas-database-snapshots";
/// How often they are taken, unless the spec says.
pub(crate) const SNAPSHOT_INTERVAL: &str = "60s";

/// The volume of the database, when there is one.
pub(crate) fn database(spec: &CASSpec) -> Option<&Persistence> {
    spec.persistence.as_ref().filter(|persistence| persistence.enabled != Some(false))
}

/// Where the database is.
pub(crate) fn database_path(spec: &CASSpec) -> &str {
    spec.persistence.as_ref().and_then(|persistence| persistence.mount_path.as_deref()).unwrap_or(DATABASE_PATH)
}

/// The snapshots, when they are taken.
pub(crate) fn snapshots(spec: &CASSpec) -> Option<&DatabaseSnapshots> {
    spec.database_snapshots.as_ref().filter(|snapshots| snapshots.enabled)
}

/// Where snapshots go.
pub(crate) fn snapshot_path(snapshots: &DatabaseSnapshots) -> &str {
    snapshots.target_directory.as_deref().unwrap_or(SNAPSHOT_PATH)
}

/// How often snapshots are taken, in seconds.
pub(crate) fn snapshot_interval(snapshots: &DatabaseSnapshots) -> i64 {
    duration::seconds(snapshots.interval.as_deref().unwrap_or(SNAPSHOT_INTERVAL)).unwrap_or(60)
}

/// Whether snapshots outlive the pod.
pub(crate) fn snapshots_persist(snapshots: &DatabaseSnapshots) -> bool {
    snapshots.persistence.as_ref().is_some_and(|persistence| persistence.enabled)
}

/// The backup controller, when it runs.
pub(crate) fn backup(spec: &CASSpec) -> Option<&BackupController> {
    spec.backup_controller.as_ref().filter(|backup| backup.enabled == Some(true))
}

/// The safety service, when it runs.
pub(crate) fn safety(spec: &CASSpec) -> Option<&SafetyService> {
    spec.safety_service.as_ref().filter(|safety| safety.enabled)
}

/// How many pods the safety service should have, and how many it must have.
pub(crate) fn safety_replicas(safety: &SafetyService) -> (i32, i32) {
    (safety.desired_replicas.unwrap_or(3), safety.min_replicas.unwrap_or(2))
}

/// The port of the metrics, when they are served.
pub(crate) fn metrics_port(spec: &CASSpec) -> Option<i32> {
    spec.enclave_metrics.as_ref().filter(|metrics| metrics.enabled).map(|metrics| metrics.port)
}

/// The port of the REST API at the Service.
pub(crate) fn client_port(spec: &CASSpec) -> i32 {
    spec.service.as_ref().and_then(|service| service.client_port).unwrap_or(CLIENT_PORT)
}

/// The owner's configuration, with which CAS provisions itself.
pub(crate) fn owner_config(spec: &CASSpec) -> Option<&str> {
    spec.owner_config.as_deref().filter(|text| !text.is_empty())
}

/// The owner's certificate, when CAS provisions itself.
pub(crate) fn owner_certificate(spec: &CASSpec) -> Option<&str> {
    owner_config(spec).and(spec.owner_certificate.as_deref()).filter(|text| !text.is_empty())
}

/// Seconds that CAS may take to start: as long as its startup probe lets it, and never less than any pod.
pub(crate) fn start(spec: &CASSpec) -> i64 {
    let probe = spec.startup_probe.as_ref().filter(|probe| probe.enabled);
    let allowed = probe.map_or(0, |probe| {
        i64::from(probe.initial_delay_seconds.unwrap_or(0))
            + i64::from(probe.period_seconds.unwrap_or(60)) * i64::from(probe.failure_threshold.unwrap_or(3))
    });
    allowed.max(scone_api::missing::START)
}
