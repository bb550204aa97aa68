//! What an administrator may leave out: every default, written into the spec.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, EnvVar, EnvVarSource, ObjectFieldSelector, PodSecurityContext, ResourceRequirements,
        SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use scone_api::cas::{
    AccessMode, BackupController, CASSpec, DatabaseSnapshots, NetworkAccess, Persistence, Probe, SafetyService,
    SconeSettings, ServiceOptions, SnapshotPersistence,
};

use crate::{
    spec::{DATABASE_PATH, SNAPSHOT_INTERVAL, SNAPSHOT_PATH},
    workload::{CLIENT_PORT, ENCLAVE, ENCLAVE_PORT},
};

/// The label of nodes on which LAS can quote (published).
pub(crate) const LAS_CAPABLE: &str = "las.scontain.com/capable";
/// The label of nodes on which LAS works (published).
pub(crate) const LAS_OK: &str = "las.scontain.com/ok";
/// The user and group of the images from 5.9 on (published).
const USER: i64 = 1000;

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
pub(crate) fn fill(spec: &mut CASSpec, settings: &SconeSettings) {
    settings.fill_image(&mut spec.image, "cas");
    let always = || "Always".to_owned();
    spec.image_pull_policy.get_or_insert_with(always);
    spec.auto_update.get_or_insert(false);
    spec.reinstall_on_fatal.get_or_insert(false);
    spec.attested_cli_probes.get_or_insert(true);
    spec.edmm_mode.get_or_insert_with(|| "disable".to_owned());
    let selector = spec.node_selector.get_or_insert_default();
    if !selector.contains_key(LAS_CAPABLE) {
        selector.insert(LAS_CAPABLE.to_owned(), "true".to_owned());
    }
    fill_resources(spec.resources.get_or_insert_default());
    let root = spec.image.as_deref().is_some_and(is_5_8);
    fill_cas_pod(spec.pod_security_context.get_or_insert_default(), root);
    let cas = spec.container_security_context_cas.get_or_insert_default();
    fill_container(cas);
    // The SGX device needs it (published), also beside other capabilities of one's own.
    cas.capabilities.get_or_insert_default().add.get_or_insert_with(|| vec!["SYS_RAWIO".to_owned()]);
    fill_container(spec.container_security_context_audit.get_or_insert_default());
    fill_probe(spec.liveness_probe.get_or_insert_default(), 3);
    fill_probe(spec.startup_probe.get_or_insert_default(), 15);
    fill_persistence(spec.persistence.get_or_insert_default());
    fill_snapshots(spec.database_snapshots.get_or_insert_default());
    fill_service(spec.service.get_or_insert_default());
    spec.network_policy.get_or_insert_with(NetworkAccess::default);
    spec.enclave_metrics.get_or_insert_default();
    let secrets = spec.image_pull_secrets.clone();
    let backup = spec.backup_controller.get_or_insert_default();
    fill_backup(backup, settings);
    if let Some(secrets) = secrets {
        backup.image_pull_secrets.get_or_insert(secrets);
    }
    // Published: absent, it follows the backup controller. Once that is written down it can be switched off by itself, so it is
    // written no sooner than the backup controller runs.
    if backup.enabled == Some(true) {
        spec.safety_service.get_or_insert_with(|| SafetyService { enabled: true, ..SafetyService::default() });
    }
    if let Some(safety) = &mut spec.safety_service {
        fill_safety(safety, settings);
    }
}

/// Whether an image is of 5.8, which runs as root (published).
fn is_5_8(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_some_and(|(_, tag)| tag.starts_with("5.8."))
}

fn fill_resources(resources: &mut ResourceRequirements) {
    // Always injected, as published: without the device CAS cannot work.
    resources.limits.get_or_insert_default().extend(enclave());
    // Kubernetes refuses a request for a device that differs from its limit.
    if let Some(request) = resources.requests.as_mut().and_then(|requests| requests.get_mut(ENCLAVE)) {
        "1".clone_into(&mut request.0);
    }
}

/// One slot of the SGX device.
pub(crate) fn enclave() -> BTreeMap<String, Quantity> {
    [(ENCLAVE.to_owned(), Quantity("1".to_owned()))].into()
}

fn fill_cas_pod(context: &mut PodSecurityContext, root: bool) {
    context.run_as_non_root.get_or_insert(!root);
    // `kubectl provision` replaces this field, which must be there for that.
    context.fs_group.get_or_insert(if root { 0 } else { USER });
    fill_seccomp(context);
}

/// Field by field: a user who sets a group still runs as somebody else than root.
fn fill_pod(context: &mut PodSecurityContext) {
    context.run_as_non_root.get_or_insert(true);
    fill_seccomp(context);
}

fn fill_seccomp(context: &mut PodSecurityContext) {
    context
        .seccomp_profile
        .get_or_insert_with(|| SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() });
}

fn fill_container(context: &mut SecurityContext) {
    // A privileged container may escalate by definition: Kubernetes refuses it otherwise.
    context.allow_privilege_escalation.get_or_insert(context.privileged == Some(true));
    let capabilities: &mut Capabilities = context.capabilities.get_or_insert_default();
    capabilities.drop.get_or_insert_with(|| vec!["ALL".to_owned()]);
}

fn fill_probe(probe: &mut Probe, delay: i32) {
    probe.initial_delay_seconds.get_or_insert(delay);
    probe.period_seconds.get_or_insert(60);
    probe.timeout_seconds.get_or_insert(20);
    probe.failure_threshold.get_or_insert(3);
}

fn fill_persistence(persistence: &mut Persistence) {
    persistence.enabled.get_or_insert(true);
    persistence.mount_path.get_or_insert_with(|| DATABASE_PATH.to_owned());
    fill_volume(&mut persistence.size, &mut persistence.storage_class, &mut persistence.access_modes);
}

fn fill_volume(size: &mut Option<Quantity>, class: &mut Option<String>, modes: &mut Option<Vec<AccessMode>>) {
    size.get_or_insert_with(|| Quantity("1Gi".to_owned()));
    class.get_or_insert_default();
    modes.get_or_insert_with(|| vec![AccessMode::ReadWriteOnce]);
}

fn fill_snapshots(snapshots: &mut DatabaseSnapshots) {
    snapshots.interval.get_or_insert_with(|| SNAPSHOT_INTERVAL.to_owned());
    snapshots.target_directory.get_or_insert_with(|| SNAPSHOT_PATH.to_owned());
    let persistence: &mut SnapshotPersistence = snapshots.persistence.get_or_insert_default();
    fill_volume(&mut persistence.size, &mut persistence.storage_class, &mut persistence.access_modes);
}

fn fill_service(service: &mut ServiceOptions) {
    service.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    service.client_port.get_or_insert(CLIENT_PORT);
    service.enclave_port.get_or_insert(ENCLAVE_PORT);
}

fn fill_backup(backup: &mut BackupController, settings: &SconeSettings) {
    backup.enabled.get_or_insert(false);
    // `kubectl provision` replaces this field, which must be there for that.
    backup.session.get_or_insert_default();
    settings.fill_image(&mut backup.image, "backup-controller");
    backup.image_pull_policy.get_or_insert_with(|| "Always".to_owned());
    backup.debug.get_or_insert(false);
    fill_pod(backup.pod_security_context.get_or_insert_default());
    fill_container(backup.container_security_context.get_or_insert_default());
    let env = backup.env.get_or_insert_default();
    for variable in variables(settings) {
        if !env.iter().any(|given| given.name == variable.name) {
            env.push(variable);
        }
    }
}

/// The variables of the backup controller, as published.
fn variables(settings: &SconeSettings) -> [EnvVar; 6] {
    let mut image = None;
    settings.fill_image(&mut image, "cas");
    let selector = [LAS_CAPABLE, LAS_OK, scone_api::SGX_CAPABLE].map(|label| format!("\"{label}\":\"true\"")).join(",");
    [
        plain("LAS_SELECTOR_LABEL", "app.kubernetes.io/name=las"),
        plain("BACKUP_CAS_IMAGE", &image.unwrap_or_default()),
        host_ip("SCONE_LAS_ADDR"),
        plain("BACKUP_CAS_CLIENT_PORT", &CLIENT_PORT.to_string()),
        plain("BACKUP_CAS_ENCLAVE_PORT", &ENCLAVE_PORT.to_string()),
        plain("SELECTOR_LABELS", &format!("{{{selector}}}")),
    ]
}

/// A variable.
pub(crate) fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}

/// A variable with the address of the pod's node.
pub(crate) fn host_ip(name: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: "status.hostIP".to_owned(), ..ObjectFieldSelector::default() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn fill_safety(safety: &mut SafetyService, settings: &SconeSettings) {
    settings.fill_image(&mut safety.image, "cas-safety-service");
    safety.desired_replicas.get_or_insert(3);
    safety.min_replicas.get_or_insert(2);
    let context = safety.pod_security_context.get_or_insert_default();
    context.run_as_user.get_or_insert(USER);
    fill_pod(context);
    fill_container(safety.container_security_context.get_or_insert_default());
}
