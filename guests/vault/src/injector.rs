//! The injector: it puts agents into pods that ask for secrets of this Vault.
//!
//! It has no rights at all. Its certificate is a Secret that somebody else makes, and the host tells the API server the
//! CA.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{
            MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, WebhookClientConfig,
        },
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Service,
            ServiceAccount, ServiceSpec, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use kube::core::ObjectMeta;

use crate::{
    certificate,
    objects::{Field, Part, Site, Works},
    server::{OF_ACCOUNT, OF_SERVICE, service_port},
    settings::InjectorScope,
};

/// The container of the injector.
pub(crate) const INJECTOR: &str = "sidecar-injector";
/// The application's name in labels.
const APP: &str = "vault-agent-injector";
/// Where it listens.
const PORT: i32 = 8080;
/// The user that its image runs as.
const USER: i64 = 100;
const GROUP: i64 = 1000;

/// The volume with its certificate, and where it is.
const VOLUME: &str = "certs";
const CERTIFICATES: &str = "/etc/webhook/certs";

const OF_DEPLOYMENT: &[Field] = &[
    ("replicas", "/spec/replicas"),
    ("args", "/spec/template/spec/containers/0/args"),
    ("volumeMounts", "/spec/template/spec/containers/0/volumeMounts"),
    ("volumes", "/spec/template/spec/volumes"),
];
const OF_WEBHOOKS: &[Field] = &[("webhooks", "/webhooks")];

/// The labels by which its pods are found.
pub(crate) fn labels(site: &Site<'_>) -> BTreeMap<String, String> {
    site.labels_of(APP, "webhook")
}

fn name(site: &Site<'_>) -> String {
    format!("{}-agent-injector", site.name)
}

fn service_name(site: &Site<'_>) -> String {
    format!("{}-agent-injector-svc", site.name)
}

/// The name of what the cluster has of it. Its Vault's namespace is in it: two namespaces may have a Vault of one name.
pub(crate) fn webhook_name(site: &Site<'_>) -> String {
    format!("{}.{}", name(site), site.namespace)
}

/// Under which name the API server reaches it.
pub(crate) fn dns_name(site: &Site<'_>) -> String {
    format!("{}.{}.svc", service_name(site), site.namespace)
}

/// Everything that it needs. Without an authority there is no webhook: the API server would believe nobody, and ask in
/// vain.
pub(crate) fn parts(site: &Site<'_>, authority: Option<ByteString>) -> Vec<Part> {
    let deployment = deployment(site);
    let template = deployment.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let account = ServiceAccount { metadata: site.metadata(name(site), labels(site)), ..ServiceAccount::default() };
    let mut parts = vec![
        Part::of(&account, "ServiceAccount", OF_ACCOUNT, Works::Passive("the injector runs under it")),
        Part::of(&service(site), "Service", OF_SERVICE, Works::Passive("the API server reaches the injector under it")),
        Part::of(&deployment, "Deployment", OF_DEPLOYMENT, Works::Pods(Box::new(template))).recreated(),
    ];
    parts.extend(authority.map(|authority| {
        Part::of(&webhooks(site, authority), "MutatingWebhookConfiguration", OF_WEBHOOKS, Works::Certified)
    }));
    parts
}

fn service(site: &Site<'_>) -> Service {
    Service {
        metadata: site.metadata(service_name(site), labels(site)),
        spec: Some(ServiceSpec {
            selector: Some(labels(site)),
            ports: Some(vec![service_port("https", 443, PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn deployment(site: &Site<'_>) -> Deployment {
    Deployment {
        metadata: site.metadata(name(site), labels(site)),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: LabelSelector { match_labels: Some(labels(site)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(site)), ..ObjectMeta::default() }),
                spec: Some(pod(site)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(site: &Site<'_>) -> PodSpec {
    let spec = site.spec;
    PodSpec {
        containers: vec![container(site)],
        image_pull_secrets: spec.global.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        // It needs no SGX, but whoever keeps Vault to some nodes may mean all of it.
        node_selector: spec.node_selector.clone().filter(|keys| !keys.is_empty()),
        service_account_name: Some(name(site)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(GROUP),
            fs_group: Some(GROUP),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        volumes: Some(vec![Volume {
            name: VOLUME.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(certificate::secret(site)),
                // For its group, which is the one of the volume.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

/// It serves as soon as it has read its certificate.
fn probe(failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/health/ready".to_owned()),
            port: IntOrString::Int(PORT),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(5),
        period_seconds: Some(5),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn container(site: &Site<'_>) -> Container {
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        Some(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    Container {
        name: INJECTOR.to_owned(),
        image: Some(site.settings.injector_image.clone()),
        args: Some(vec!["agent-inject".to_owned()]),
        env: Some(variables(site)),
        ports: Some(vec![ContainerPort {
            name: Some("https".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // It sees when the files change: a new certificate needs no new pod.
        volume_mounts: Some(vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: CERTIFICATES.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        readiness_probe: Some(probe(2)),
        // Generous: it reads its certificate first.
        liveness_probe: Some(probe(12)),
        resources: Some(ResourceRequirements {
            requests: amounts("50m", "64Mi"),
            limits: amounts("250m", "256Mi"),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn variables(site: &Site<'_>) -> Vec<EnvVar> {
    [
        ("AGENT_INJECT_LISTEN", format!(":{PORT}")),
        ("AGENT_INJECT_LOG_LEVEL", "info".to_owned()),
        ("AGENT_INJECT_VAULT_ADDR", site.address()),
        ("AGENT_INJECT_VAULT_AUTH_PATH", "auth/kubernetes".to_owned()),
        ("AGENT_INJECT_VAULT_IMAGE", site.settings.agent_image.clone()),
        ("AGENT_INJECT_TLS_CERT_FILE", format!("{CERTIFICATES}/tls.crt")),
        ("AGENT_INJECT_TLS_KEY_FILE", format!("{CERTIFICATES}/tls.key")),
    ]
    .map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() })
    .to_vec()
}

/// The namespaces whose pods the webhook sees. Whoever may make a Vault has a word in its namespace, and in no other.
fn namespaces(site: &Site<'_>) -> LabelSelector {
    const NAME: &str = "kubernetes.io/metadata.name";
    match site.settings.injector {
        InjectorScope::AllNamespaces => except(NAME, "kube-system"),
        InjectorScope::OwnNamespace | InjectorScope::Off => LabelSelector {
            match_labels: Some([(NAME.to_owned(), site.namespace.to_owned())].into()),
            ..LabelSelector::default()
        },
    }
}

fn except(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![value.to_owned()]),
        }]),
        ..LabelSelector::default()
    }
}

fn webhooks(site: &Site<'_>, authority: ByteString) -> MutatingWebhookConfiguration {
    let text = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    MutatingWebhookConfiguration {
        metadata: site.cluster_metadata(&name(site), labels(site)),
        webhooks: Some(vec![MutatingWebhook {
            name: "vault.hashicorp.com".to_owned(),
            admission_review_versions: vec!["v1".to_owned(), "v1beta1".to_owned()],
            client_config: WebhookClientConfig {
                service: Some(ServiceReference {
                    name: service_name(site),
                    namespace: site.namespace.to_owned(),
                    path: Some("/mutate".to_owned()),
                    ..ServiceReference::default()
                }),
                ca_bundle: Some(authority),
                ..WebhookClientConfig::default()
            },
            // A pod that asks for nothing must start also while the injector does not.
            failure_policy: Some("Ignore".to_owned()),
            match_policy: Some("Exact".to_owned()),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(10),
            namespace_selector: Some(namespaces(site)),
            object_selector: Some(except("app.kubernetes.io/name", APP)),
            rules: Some(vec![RuleWithOperations {
                api_groups: text(&[""]),
                api_versions: text(&["v1"]),
                operations: text(&["CREATE"]),
                resources: text(&["pods"]),
                scope: Some("Namespaced".to_owned()),
            }]),
            ..MutatingWebhook::default()
        }]),
    }
}
