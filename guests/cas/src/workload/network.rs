//! How CAS is reached, by whom, and that its pod is not evicted.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use scone_api::cas::{CASSpec, ServiceOptions};

use super::{CLIENT_PORT, ENCLAVE_PORT, INSTANCE, Site, part};
use crate::spec;

/// Services with this label are scraped (published).
const COLLECT: &str = "collect-runtime-metrics.monitoring.scone.cloud";

/// An account without rights.
pub(super) fn account(site: &Site<'_>, name: String, part: &str) -> ServiceAccount {
    ServiceAccount { metadata: site.metadata(name, part), ..ServiceAccount::default() }
}

/// The Service, by the name of the CAS.
pub(super) fn service(site: &Site<'_>, spec: &CASSpec) -> Service {
    let options = spec.service.clone().unwrap_or_default();
    let mut metadata = site.metadata(site.name.to_owned(), part::CAS);
    metadata.annotations = options.annotations.clone().filter(|annotations| !annotations.is_empty());
    let metrics = spec::metrics_port(spec);
    if let (Some(labels), Some(_)) = (&mut metadata.labels, metrics) {
        labels.insert(COLLECT.to_owned(), "true".to_owned());
    }
    let type_ = options.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
    let balancer = options.load_balancer_ip.clone().filter(|ip| type_ == "LoadBalancer" && !ip.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(ports(&options, &type_, metrics)),
            type_: Some(type_),
            load_balancer_ip: balancer,
            selector: Some(site.labels(part::CAS)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn ports(options: &ServiceOptions, type_: &str, metrics: Option<i32>) -> Vec<ServicePort> {
    let chosen = options.node_ports.clone().filter(|_| type_ == "NodePort").unwrap_or_default();
    // Zero is how the charts leave the choice to the cluster.
    let port = |name: &str, number: i32, target: i32, node: Option<i32>| ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::Int(target)),
        protocol: Some("TCP".to_owned()),
        node_port: node.filter(|node| *node != 0),
        ..ServicePort::default()
    };
    let client = options.client_port.unwrap_or(CLIENT_PORT);
    let enclave = options.enclave_port.unwrap_or(ENCLAVE_PORT);
    let mut ports = vec![
        port("client", client, CLIENT_PORT, chosen.client_port),
        port("enclave", enclave, ENCLAVE_PORT, chosen.enclave_port),
    ];
    ports.extend(metrics.map(|number| port("metrics", number, number, None)));
    ports
}

/// Nobody evicts the one pod: on a node without a registered backup it could not start again.
pub(super) fn budget(site: &Site<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: site.metadata(site.name.to_owned(), part::CAS),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(0)),
            selector: Some(selector(site.labels(part::CAS))),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// Who may reach CAS, when that is limited.
pub(super) fn policy(site: &Site<'_>, spec: &CASSpec) -> Option<NetworkPolicy> {
    let access = spec.network_policy.as_ref().filter(|access| access.enabled)?;
    let port = |number: i32| NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    let ports = [CLIENT_PORT, ENCLAVE_PORT].into_iter().chain(spec::metrics_port(spec)).map(port).collect();
    let given = |labels: &Option<BTreeMap<String, String>>| labels.clone().filter(|labels| !labels.is_empty());
    let from = peers(site, given(&access.ingress_ns_match_labels), given(&access.ingress_pod_match_labels));
    Some(NetworkPolicy {
        metadata: site.metadata(site.name.to_owned(), part::CAS),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(site.labels(part::CAS))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(from), ports: Some(ports) }]),
            ..NetworkPolicySpec::default()
        }),
    })
}

/// The other pods of this CAS, the operator, and whom the spec names: pods with those labels in namespaces with those, pods of
/// this namespace when no namespace is named, all pods of it when nothing is.
fn peers(
    site: &Site<'_>,
    namespaces: Option<BTreeMap<String, String>>,
    pods: Option<BTreeMap<String, String>>,
) -> Vec<NetworkPolicyPeer> {
    let own = [(INSTANCE.to_owned(), site.name.to_owned())].into();
    let operator = [("kubernetes.io/metadata.name".to_owned(), site.settings.namespace.clone())].into();
    let pod_selector = if namespaces.is_none() { Some(pods.unwrap_or_default()) } else { pods };
    vec![
        NetworkPolicyPeer { pod_selector: Some(selector(own)), ..NetworkPolicyPeer::default() },
        NetworkPolicyPeer { namespace_selector: Some(selector(operator)), ..NetworkPolicyPeer::default() },
        NetworkPolicyPeer {
            namespace_selector: namespaces.map(selector),
            pod_selector: pod_selector.map(selector),
            ..NetworkPolicyPeer::default()
        },
    ]
}

/// Objects with all these labels.
pub(super) fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels).filter(|labels| !labels.is_empty()), ..LabelSelector::default() }
}
