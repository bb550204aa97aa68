//! The `StatefulSet` of CAS: one pod that keeps its name and its volumes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, ExecAction,
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, SecretVolumeSource,
            TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::core::ObjectMeta;
use scone_api::cas::{self, CASSpec};

use super::{AUDIT, CAS, CLIENT_PORT, DATABASE, ENCLAVE_PORT, SNAPSHOTS, Site, files, part};
use crate::{
    admission::{host_ip, plain},
    cli,
    observe::{ClaimTemplate, Observation},
    spec,
};

/// Changes with what CAS reads at its start, so that its pod starts again.
const CONFIG_HASH: &str = "cas.scontain.com/config-hash";

/// What the claims of the volumes are made from, by volume.
#[derive(Default)]
pub(crate) struct Templates(BTreeMap<&'static str, ClaimTemplate>);

impl Templates {
    /// What the spec wants; of a volume that exists, what it was made from. A template says how a claim is made, and changes none
    /// that is there, so it is no reason to make the `StatefulSet` again.
    pub(crate) fn choose(spec: &CASSpec, observation: &Observation) -> Self {
        let wanted = [(DATABASE, database_claim(spec)), (SNAPSHOTS, snapshots_claim(spec))];
        let chosen = wanted.into_iter().filter_map(|(volume, wanted)| {
            let made = observation.set.as_ref().and_then(|set| set.spec.claim_template(volume));
            // While nobody knows whether the claim exists, it may.
            let gone = observation.is_claim_known(volume) && observation.claim(volume).is_none();
            Some((volume, made.filter(|_| !gone).cloned().unwrap_or(wanted?)))
        });
        Self(chosen.collect())
    }
}

/// The claim of the database that the spec wants.
pub(crate) fn database_claim(spec: &CASSpec) -> Option<ClaimTemplate> {
    let volume = spec::database(spec)?;
    Some(template(volume.size.as_ref(), volume.storage_class.as_deref(), volume.access_modes.as_deref()))
}

/// The claim of the snapshots that the spec wants.
pub(crate) fn snapshots_claim(spec: &CASSpec) -> Option<ClaimTemplate> {
    let snapshots = spec::snapshots(spec).filter(|snapshots| spec::snapshots_persist(snapshots))?;
    let volume = snapshots.persistence.as_ref()?;
    Some(template(volume.size.as_ref(), volume.storage_class.as_deref(), volume.access_modes.as_deref()))
}

fn template(size: Option<&Quantity>, class: Option<&str>, modes: Option<&[cas::AccessMode]>) -> ClaimTemplate {
    ClaimTemplate {
        access_modes: modes.into_iter().flatten().map(|mode| mode.name().to_owned()).collect(),
        // `-` switches dynamic provisioning off, as in the charts that it comes from.
        storage_class_name: class.filter(|class| !class.is_empty()).map(|class| class.trim_matches('-').to_owned()),
        size: size.map_or_else(|| "1Gi".to_owned(), |size| size.0.clone()),
    }
}

/// The `StatefulSet`. `spec` has its defaults already.
pub(super) fn stateful_set(site: &Site<'_>, spec: &CASSpec, templates: &Templates) -> StatefulSet {
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata: site.metadata(site.name.to_owned(), part::CAS),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(site.name.to_owned()),
            pod_management_policy: Some("OrderedReady".to_owned()),
            selector: LabelSelector { match_labels: Some(site.labels(part::CAS)), ..LabelSelector::default() },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            // Said although it is Kubernetes' own default: with Delete, the StatefulSet would own the claims, and take them along.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retain(),
                when_scaled: retain(),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(site.labels(part::CAS)),
                    annotations: Some(annotations(spec)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(site, spec)),
            },
            volume_claim_templates: Some(templates.0.iter().map(|(volume, made)| claim(volume, made)).collect())
                .filter(|claims: &Vec<_>| !claims.is_empty()),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn annotations(spec: &CASSpec) -> BTreeMap<String, String> {
    let mut annotations = spec.pod_annotations.clone().unwrap_or_default();
    annotations.insert(CONFIG_HASH.to_owned(), files::hash(spec));
    annotations
}

fn claim(volume: &str, made: &ClaimTemplate) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(volume.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(made.access_modes.clone()),
            storage_class_name: made.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(made.size.clone()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn pod(site: &Site<'_>, spec: &CASSpec) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        service_account_name: Some(site.name.to_owned()),
        init_containers: spec::owner_config(spec).map(|_| vec![provision(spec)]),
        containers: vec![cas(spec), audit(spec)],
        volumes: Some(volumes(site, spec)),
        image_pull_secrets: spec.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        node_selector: spec.node_selector.clone(),
        security_context: spec.pod_security_context.clone(),
        tolerations: spec.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        ..PodSpec::default()
    }
}

fn cas(spec: &CASSpec) -> Container {
    let command: &[&str] = if spec.attested_cli_probes == Some(false) { &cli::ASK } else { &cli::ATTEST };
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = vec![port("client", CLIENT_PORT), port("enclave", ENCLAVE_PORT)];
    ports.extend(spec::metrics_port(spec).map(|number| port("metrics", number)));
    Container {
        name: CAS.to_owned(),
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.clone(),
        ports: Some(ports),
        env: Some(variables(spec)),
        liveness_probe: probe(spec.liveness_probe.as_ref(), command),
        startup_probe: probe(spec.startup_probe.as_ref(), command),
        // So that the Service leads nowhere while CAS does not listen.
        readiness_probe: Some(Probe {
            tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(CLIENT_PORT), ..TCPSocketAction::default() }),
            period_seconds: Some(10),
            timeout_seconds: Some(3),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        resources: spec.resources.clone(),
        security_context: spec.container_security_context_cas.clone(),
        volume_mounts: Some(mounts(spec)),
        ..Container::default()
    }
}

fn variables(spec: &CASSpec) -> Vec<EnvVar> {
    let mut variables =
        vec![host_ip("SCONE_LAS_ADDR"), plain("SCONE_CLI_CONFIG", &format!("{}/config.json", cli::CLI_STATE))];
    let edmm = spec.edmm_mode.as_deref().filter(|mode| !matches!(*mode, "" | "disable"));
    variables.extend(edmm.map(|mode| plain("SCONE_EDMM_MODE", mode)));
    variables.extend(spec::metrics_port(spec).map(|port| plain("SCONE_METRICS", &format!("prometheus_port:{port}"))));
    // How CAS is told of snapshots is not published. A key that it does not know could keep it from reading its configuration; a
    // variable cannot.
    if let Some(snapshots) = spec::snapshots(spec) {
        let interval = spec::snapshot_interval(snapshots).to_string();
        variables.push(plain("CAS_DATABASE_SNAPSHOT_INTERVAL_SECONDS", &interval));
        variables.push(plain("CAS_DATABASE_SNAPSHOT_DIRECTORY", spec::snapshot_path(snapshots)));
    }
    let pccs = spec.pccs_config.as_ref().filter(|pccs| pccs.enabled).and_then(|pccs| pccs.address.as_deref());
    variables.extend(pccs.map(|address| plain("SCONE_PCCS_URL", address)));
    variables
}

fn probe(probe: Option<&cas::Probe>, command: &[&str]) -> Option<Probe> {
    let probe = probe.filter(|probe| probe.enabled)?;
    Some(Probe {
        exec: Some(ExecAction { command: Some(command.iter().map(|&word| word.to_owned()).collect()) }),
        initial_delay_seconds: probe.initial_delay_seconds,
        period_seconds: probe.period_seconds,
        timeout_seconds: probe.timeout_seconds,
        failure_threshold: probe.failure_threshold,
        ..Probe::default()
    })
}

/// Provisions CAS before it starts, and does nothing when it is.
fn provision(spec: &CASSpec) -> Container {
    let owner = VolumeMount { read_only: Some(true), ..mount("owner", cli::OWNER_DIRECTORY) };
    Container {
        name: "provision".to_owned(),
        command: Some(cli::provision(spec::owner_certificate(spec).is_some())),
        volume_mounts: Some(mounts(spec).into_iter().chain([owner]).collect()),
        ports: None,
        liveness_probe: None,
        startup_probe: None,
        readiness_probe: None,
        ..cas(spec)
    }
}

fn audit(spec: &CASSpec) -> Container {
    Container {
        name: AUDIT.to_owned(),
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.clone(),
        command: Some(cli::AUDIT.map(str::to_owned).to_vec()),
        security_context: spec.container_security_context_audit.clone(),
        volume_mounts: Some(vec![VolumeMount { read_only: Some(true), ..mount("audit-log", "/var/log/cas/audit") }]),
        ..Container::default()
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn mounts(spec: &CASSpec) -> Vec<VolumeMount> {
    let config = mount("config", cli::CAS_TOML);
    let mut mounts = vec![
        VolumeMount { sub_path: Some(files::CAS_TOML.to_owned()), read_only: Some(true), ..config },
        mount(DATABASE, spec::database_path(spec)),
        mount("healthcheck", cli::CLI_STATE),
        mount("audit-log", "/var/log/cas/audit"),
    ];
    mounts.extend(spec::snapshots(spec).map(|snapshots| mount(SNAPSHOTS, spec::snapshot_path(snapshots))));
    mounts
}

/// The volumes that the templates of claims do not make.
fn volumes(site: &Site<'_>, spec: &CASSpec) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let empty = |name: &str| Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named(name) };
    let config = ConfigMapVolumeSource { name: site.config(), ..ConfigMapVolumeSource::default() };
    let mut volumes =
        vec![Volume { config_map: Some(config), ..named("config") }, empty("healthcheck"), empty("audit-log")];
    if spec::owner_config(spec).is_some() {
        let owner = SecretVolumeSource { secret_name: Some(site.owner()), ..SecretVolumeSource::default() };
        volumes.push(Volume { secret: Some(owner), ..named("owner") });
    }
    if spec::database(spec).is_none() {
        volumes.push(empty(DATABASE));
    }
    if spec::snapshots(spec).is_some() && snapshots_claim(spec).is_none() {
        volumes.push(empty(SNAPSHOTS));
    }
    volumes
}
