//! The injector: it puts agents into pods that ask for secrets of this Vault.
//!
//! It makes its own certificate, and writes its CA into its webhook configuration: so it may read and patch those. The host
//! leaves that field alone, since it is not in what it applies.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, WebhookClientConfig,
        },
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Service, ServiceAccount,
            ServiceSpec,
        },
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use kube::core::ObjectMeta;

use crate::{
    objects::{Field, Part, Site, Works},
    server::{OF_ACCOUNT, OF_BINDING, OF_SERVICE, role_ref, service_port, subject},
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

const OF_DEPLOYMENT: &[Field] = &[("replicas", "/spec/replicas"), ("args", "/spec/template/spec/containers/0/args")];
const OF_ROLE: &[Field] = &[("rules", "/rules")];
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
fn cluster_name(site: &Site<'_>) -> String {
    format!("{}.{}", name(site), site.namespace)
}

/// Everything that it needs.
pub(crate) fn parts(site: &Site<'_>) -> Vec<Part> {
    let deployment = deployment(site);
    let template = deployment.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let account = ServiceAccount { metadata: site.metadata(name(site), labels(site)), ..ServiceAccount::default() };
    vec![
        Part::of(&account, "ServiceAccount", OF_ACCOUNT, Works::Passive("the injector runs under it")),
        Part::of(&role(site), "ClusterRole", OF_ROLE, Works::Passive("it says what the injector may do")),
        Part::of(&binding(site), "ClusterRoleBinding", OF_BINDING, Works::Passive("the injector may do it"))
            .recreated(),
        Part::of(&service(site), "Service", OF_SERVICE, Works::Passive("the API server reaches the injector under it")),
        Part::of(&deployment, "Deployment", OF_DEPLOYMENT, Works::Pods(Box::new(template))).recreated(),
        Part::of(&webhooks(site), "MutatingWebhookConfiguration", OF_WEBHOOKS, Works::Certified),
    ]
}

/// What the injector does with webhook configurations.
pub(crate) const VERBS: [&str; 4] = ["get", "list", "watch", "patch"];

/// What `AGENT_INJECT_TLS_AUTO` needs: the injector finds its configuration by a watch, and patches the CA into it.
fn role(site: &Site<'_>) -> ClusterRole {
    ClusterRole {
        metadata: site.cluster_metadata(&name(site), labels(site)),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec!["admissionregistration.k8s.io".to_owned()]),
            resources: Some(vec!["mutatingwebhookconfigurations".to_owned()]),
            verbs: VERBS.map(str::to_owned).to_vec(),
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    }
}

fn binding(site: &Site<'_>) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: site.cluster_metadata(&name(site), labels(site)),
        role_ref: role_ref(cluster_name(site)),
        subjects: Some(vec![subject(site, name(site))]),
    }
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
        ..PodSpec::default()
    }
}

fn container(site: &Site<'_>) -> Container {
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        Some(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    let probe = |failures: i32| Probe {
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
        readiness_probe: Some(probe(2)),
        // Generous: it waits for its certificate first.
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
    let (service, namespace) = (service_name(site), site.namespace);
    let hosts = format!("{service},{service}.{namespace},{service}.{namespace}.svc");
    [
        ("AGENT_INJECT_LISTEN", format!(":{PORT}")),
        ("AGENT_INJECT_LOG_LEVEL", "info".to_owned()),
        ("AGENT_INJECT_VAULT_ADDR", site.address()),
        ("AGENT_INJECT_VAULT_AUTH_PATH", "auth/kubernetes".to_owned()),
        ("AGENT_INJECT_VAULT_IMAGE", site.settings.agent_image.clone()),
        ("AGENT_INJECT_TLS_AUTO", cluster_name(site)),
        ("AGENT_INJECT_TLS_AUTO_HOSTS", hosts),
    ]
    .map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() })
    .to_vec()
}

/// Without `caBundle`, which is the injector's to write.
fn webhooks(site: &Site<'_>) -> MutatingWebhookConfiguration {
    let text = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let except = |key: &str, value: &str| LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![value.to_owned()]),
        }]),
        ..LabelSelector::default()
    };
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
                ..WebhookClientConfig::default()
            },
            // A pod that asks for nothing must start also while the injector does not.
            failure_policy: Some("Ignore".to_owned()),
            match_policy: Some("Exact".to_owned()),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(10),
            namespace_selector: Some(except("kubernetes.io/metadata.name", "kube-system")),
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
