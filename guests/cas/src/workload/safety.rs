//! The safety service: pods on different nodes, some of which are always there.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Container, PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, ResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::core::ObjectMeta;
use scone_api::cas::{CASSpec, SafetyService};

use super::{SAFETY, Site, network::selector, part};
use crate::{
    admission::{LAS_OK, enclave, host_ip, plain},
    spec,
};

/// The Deployment and its budget.
pub(super) fn safety(site: &Site<'_>, spec: &CASSpec, safety: &SafetyService) -> (Deployment, PodDisruptionBudget) {
    let (desired, least) = spec::safety_replicas(safety);
    let deployment = Deployment {
        metadata: site.metadata(site.safety(), part::SAFETY),
        spec: Some(DeploymentSpec {
            replicas: Some(desired),
            selector: selector(site.labels(part::SAFETY)),
            strategy: Some(rolling()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(site.labels(part::SAFETY)), ..ObjectMeta::default() }),
                spec: Some(pod(site, spec, safety)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let budget = PodDisruptionBudget {
        metadata: site.metadata(site.safety(), part::SAFETY),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(least)),
            selector: Some(selector(site.labels(part::SAFETY))),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    (deployment, budget)
}

fn pod(site: &Site<'_>, spec: &CASSpec, safety: &SafetyService) -> PodSpec {
    let container = Container {
        name: SAFETY.to_owned(),
        image: safety.image.clone(),
        image_pull_policy: spec.image_pull_policy.clone(),
        env: Some(vec![
            host_ip("SCONE_LAS_ADDR"),
            plain("SCONE_CAS_ADDR", &format!("{}:{}", site.host(), spec::client_port(spec))),
        ]),
        resources: Some(ResourceRequirements { limits: Some(enclave()), ..ResourceRequirements::default() }),
        security_context: safety.container_security_context.clone(),
        ..Container::default()
    };
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container],
        affinity: Some(apart(site, safety)),
        image_pull_secrets: spec.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        // Nodes with a healthy LAS can run it (published).
        node_selector: Some([(LAS_OK.to_owned(), "true".to_owned())].into()),
        security_context: safety.pod_security_context.clone(),
        tolerations: safety.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        ..PodSpec::default()
    }
}

/// One goes before its successor comes: where every node has one already, an additional one finds no place, and by default the
/// update would wait for it for ever.
fn rolling() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(0)),
            max_unavailable: Some(IntOrString::Int(1)),
        }),
    }
}

/// No two of them in one place.
fn apart(site: &Site<'_>, safety: &SafetyService) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector(site.labels(part::SAFETY))),
        topology_key: safety.pod_anti_affinity_topology_key.clone(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
