//! The Vault itself: a `StatefulSet` of one pod, its Services and its service account.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
            LifecycleHandler, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecurityContext, Service,
            ServiceAccount, ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements,
        },
        rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::core::ObjectMeta;
use scone_api::vault::VaultSpec;
use serde_json::Value;

use crate::{
    admission::{enabled, image},
    objects::{Field, Part, Site, Works},
};

/// The container of Vault.
pub(crate) const VAULT: &str = "vault";
/// Where its data is.
const DATA: &str = "/mnt/vault/data";
/// The volume with the data.
const VOLUME: &str = "data";
/// The group that may write to the volume.
const GROUP: i64 = 1000;
/// API, cluster address, and the second listener of the published configuration.
const PORTS: [(&str, i32); 3] = [("https", 8200), ("https-internal", 8201), ("http-plain", 8300)];

const OF_SET: &[Field] = &[
    ("serviceName", "/spec/serviceName"),
    ("dataStorage", "/spec/volumeClaimTemplates"),
    ("extraInitContainers", "/spec/template/spec/initContainers"),
    ("postStart", "/spec/template/spec/containers/0/lifecycle"),
    ("readinessProbe", "/spec/template/spec/containers/0/readinessProbe"),
    ("args", "/spec/template/spec/containers/0/args"),
    ("nodeSelector", "/spec/template/spec/nodeSelector"),
];
pub(crate) const OF_SERVICE: &[Field] = &[("selector", "/spec/selector"), ("ports", "/spec/ports")];
pub(crate) const OF_ACCOUNT: &[Field] = &[("labels", "/metadata/labels")];
const OF_BINDING: &[Field] = &[("roleRef", "/roleRef"), ("subjects", "/subjects")];

/// Whether it is one for a trial.
pub(crate) fn is_dev(spec: &VaultSpec) -> bool {
    enabled(spec.server.dev.as_ref(), false)
}

/// Whether its data is on a volume. A Vault for a trial keeps nothing.
pub(crate) fn is_stored(spec: &VaultSpec) -> bool {
    !is_dev(spec) && enabled(spec.server.data_storage.as_ref(), true)
}

/// Everything but the injector.
pub(crate) fn parts(site: &Site<'_>) -> Vec<Part> {
    let set = stateful_set(site);
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let set = Part::of(&set, "StatefulSet", OF_SET, Works::Pods(Box::new(template))).compared_as(without_amounts);
    let may = site.spec.reinstall_on_fatal == Some(true);
    let mut parts = vec![
        if may { set.recreated() } else { set },
        Part::of(&service(site, false), "Service", OF_SERVICE, Works::Passive("pods reach Vault under its name")),
        Part::of(&service(site, true), "Service", OF_SERVICE, Works::Passive("the pod has a name of its own")),
        Part::of(&account(site), "ServiceAccount", OF_ACCOUNT, Works::Passive("the pod runs under it")),
    ];
    if site.settings.auth_delegator {
        let message = "Vault may ask whose a token is";
        parts.push(Part::of(&delegator(site), "ClusterRoleBinding", OF_BINDING, Works::Passive(message)));
    }
    parts
}

/// The server writes amounts in its own way.
fn without_amounts(set: &mut Value) {
    let containers = set.pointer_mut("/spec/template/spec/initContainers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        container.remove("resources");
    }
}

fn stateful_set(site: &Site<'_>) -> StatefulSet {
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata: site.metadata(site.name.to_owned(), site.labels()),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(format!("{}-internal", site.name)),
            selector: LabelSelector { match_labels: Some(site.labels()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(site.labels()), ..ObjectMeta::default() }),
                spec: Some(pod(site)),
            },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            // The data outlives whatever is made again.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retain(),
                when_scaled: retain(),
            }),
            volume_claim_templates: is_stored(site.spec).then(|| vec![claim()]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim() -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(VOLUME.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity("10Gi".to_owned()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn pod(site: &Site<'_>) -> PodSpec {
    let spec = site.spec;
    // A container that starts again finds its data also without a volume that stays.
    let fleeting =
        Volume { name: VOLUME.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    PodSpec {
        containers: vec![container(site)],
        init_containers: spec.server.extra_init_containers.clone().filter(|containers| !containers.is_empty()),
        image_pull_secrets: spec.global.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        node_selector: spec.node_selector.clone().filter(|keys| !keys.is_empty()),
        service_account_name: Some(site.name.to_owned()),
        security_context: Some(PodSecurityContext {
            fs_group: Some(GROUP),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        volumes: (!is_stored(spec)).then(|| vec![fleeting]),
        ..PodSpec::default()
    }
}

fn container(site: &Site<'_>) -> Container {
    let server = &site.spec.server;
    let command = server.post_start.clone().filter(|command| !command.is_empty());
    Container {
        name: VAULT.to_owned(),
        image: Some(image(server.image.as_ref())),
        image_pull_policy: server.image.as_ref().and_then(|image| image.pull_policy.clone()),
        args: is_dev(site.spec).then(|| ["server", "-dev"].map(str::to_owned).to_vec()),
        env: Some(variables(site)),
        ports: Some(PORTS.map(|(name, port)| container_port(name, port)).to_vec()),
        volume_mounts: Some(vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: DATA.to_owned(),
            ..VolumeMount::default()
        }]),
        readiness_probe: enabled(server.readiness_probe.as_ref(), true).then(|| probe(site.spec)),
        lifecycle: command.map(|command| Lifecycle {
            post_start: Some(LifecycleHandler {
                exec: Some(ExecAction { command: Some(command) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: server.resources.clone(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Ready is who has been initialised and is not sealed: only then does it serve anybody.
fn probe(spec: &VaultSpec) -> Probe {
    let scheme = if is_dev(spec) { "HTTP" } else { "HTTPS" };
    Probe {
        http_get: Some(HTTPGetAction {
            path: spec.server.path.clone(),
            port: IntOrString::Int(8200),
            scheme: Some(scheme.to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: spec.server.initial_delay_seconds,
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// What the container knows of where it is, and then what the spec says: later variables may refer to earlier ones.
fn variables(site: &Site<'_>) -> Vec<EnvVar> {
    let extra = site.spec.server.extra_environment_vars.clone().unwrap_or_default();
    let field = |path: &str| EnvVarSource {
        field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() }),
        ..EnvVarSource::default()
    };
    let of_pod = [("HOST_IP", "status.hostIP"), ("POD_IP", "status.podIP"), ("HOSTNAME", "metadata.name")]
        .map(|(name, path)| EnvVar { name: name.to_owned(), value_from: Some(field(path)), ..EnvVar::default() });
    let cluster = format!("https://$(HOSTNAME).{}-internal:8201", site.name);
    let mut told: BTreeMap<&str, String> = [("VAULT_ADDR", site.address()), ("VAULT_CLUSTER_ADDR", cluster)].into();
    if is_dev(site.spec) {
        told.insert("VAULT_DEV_LISTEN_ADDRESS", "[::]:8200".to_owned());
    }
    let told = told.into_iter().map(|(name, value)| (name.to_owned(), value));
    let plain = |(name, value): (String, String)| EnvVar { name, value: Some(value), ..EnvVar::default() };
    let known = of_pod.into_iter().chain(told.map(plain)).filter(|variable| !extra.contains_key(&variable.name));
    let known: Vec<_> = known.collect();
    known.into_iter().chain(extra.into_iter().map(plain)).collect()
}

fn service(site: &Site<'_>, headless: bool) -> Service {
    let name = if headless { format!("{}-internal", site.name) } else { site.name.to_owned() };
    Service {
        metadata: site.metadata(name, site.labels()),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".to_owned()),
            // It is initialised under this name, and before that it is not ready.
            publish_not_ready_addresses: Some(true),
            selector: Some(site.labels()),
            ports: Some(PORTS.map(|(name, port)| service_port(name, port, port)).to_vec()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A port of a Service.
pub(crate) fn service_port(name: &str, port: i32, target: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::Int(target)),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

fn account(site: &Site<'_>) -> ServiceAccount {
    ServiceAccount { metadata: site.metadata(site.name.to_owned(), site.labels()), ..ServiceAccount::default() }
}

fn delegator(site: &Site<'_>) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: site.cluster_metadata(&format!("{}-auth-delegator", site.name), site.labels()),
        role_ref: role_ref(DELEGATOR.to_owned()),
        subjects: Some(vec![subject(site, site.name.to_owned())]),
    }
}

/// The role of Kubernetes that lets a server ask whose a token is.
pub(crate) const DELEGATOR: &str = "system:auth-delegator";

/// A role of the cluster.
fn role_ref(name: String) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: "ClusterRole".to_owned(), name }
}

/// A service account in the namespace of the Vault.
fn subject(site: &Site<'_>, name: String) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name,
        namespace: Some(site.namespace.to_owned()),
        ..Subject::default()
    }
}
