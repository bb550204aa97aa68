//! What an `SGXPlugin` is made of: one `DaemonSet`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy},
        core::v1::{
            Container, EnvVar, HostPathVolumeSource, PodSpec, PodTemplateSpec, SecurityContext, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::ObjectMeta;
use operator_guest::{Child, Strategy};
use scone_api::{observe::ObservedDaemonSet, sgxplugin::SGXPluginSpec};

use crate::observe::Observation;

/// The only container.
pub(crate) const CONTAINER: &str = "sgxplugin";
/// How many devices the plug-in offers on its node. A variable, since an argument that an image does not know would end it.
pub(crate) const SLOTS: &str = "CAPACITY_SGX_PODS";
/// The annotation of the `DaemonSet` that says where its slots are from: `spec` or `nodes`.
const SLOTS_FROM: &str = "base.scone.cloud/slots-from";
/// The published default of the stand-alone plug-in, when nothing is known of the nodes.
const USUAL_SLOTS: i32 = 110;
/// Where the plug-in announces itself to kubelet, and where the device is. The whole of `/dev`, since the device has other
/// names under other drivers.
const HOST_PATHS: [(&str, &str); 2] = [("device-plugins", "/var/lib/kubelet/device-plugins"), ("dev", "/dev")];

/// Where and under which name things are made.
pub(crate) struct Site<'a> {
    /// The name of the `SGXPlugin`.
    pub(crate) name: &'a str,
    /// The namespace of its pods.
    pub(crate) namespace: &'a str,
}

impl Site<'_> {
    /// The labels by which pods are found; immutable in a `DaemonSet`.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [("app.kubernetes.io/name", "sgxplugin"), ("app.kubernetes.io/instance", self.name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }
}

/// Device slots on each node: as asked for, or else as at the creation of the plug-in, the most pods that a node takes. None
/// while there is no plug-in yet and the nodes are unknown.
pub(crate) fn slots(spec: &SGXPluginSpec, observation: &Observation) -> Option<i32> {
    if spec.capacity_sgx_pods.is_some() {
        return spec.capacity_sgx_pods;
    }
    let set = observation.set.as_ref();
    let made = set.and_then(|set| set.spec.template.variable(CONTAINER, SLOTS)?.parse().ok());
    let nodes = observation.nodes.as_ref().map(|nodes| {
        let pods = nodes.iter().filter_map(|node| node.status.capacity.pods());
        pods.max().unwrap_or(USUAL_SLOTS).clamp(1, 10_000)
    });
    // A DaemonSet that does not tell must not go because of that.
    let usual = set.map(|_| USUAL_SLOTS);
    if set.is_some_and(were_asked_for) { nodes.or(made).or(usual) } else { made.or(nodes).or(usual) }
}

/// Whether the slots of a `DaemonSet` are those of an earlier spec, so that they mean nothing without it.
fn were_asked_for(set: &ObservedDaemonSet) -> bool {
    set.metadata.annotations.get(SLOTS_FROM).is_some_and(|from| from == "spec")
}

/// The `DaemonSet`. `spec` has its defaults already.
pub(crate) fn daemon_set(site: &Site<'_>, spec: &SGXPluginSpec, slots: i32) -> DaemonSet {
    let from = if spec.capacity_sgx_pods.is_some() { "spec" } else { "nodes" };
    DaemonSet {
        metadata: ObjectMeta {
            name: Some(site.name.to_owned()),
            namespace: Some(site.namespace.to_owned()),
            labels: Some(site.labels()),
            annotations: Some([(SLOTS_FROM.to_owned(), from.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(site.labels()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(site.labels()),
                    annotations: spec.pod_annotations.clone().filter(|annotations| !annotations.is_empty()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(spec, slots)),
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..DaemonSetUpdateStrategy::default()
            }),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// The `DaemonSet` as a child.
pub(crate) fn child(spec: &SGXPluginSpec, set: &DaemonSet) -> Child {
    let may_recreate = spec.reinstall_on_fatal == Some(true);
    Child::of(set).strategy(if may_recreate { Strategy::RecreateOnImmutable } else { Strategy::Apply })
}

fn pod(spec: &SGXPluginSpec, slots: i32) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(spec, slots)],
        image_pull_secrets: spec.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        node_selector: spec.node_selector.clone().filter(|selector| !selector.is_empty()),
        tolerations: spec.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        volumes: Some(HOST_PATHS.map(|(name, path)| host_path(name, path)).to_vec()),
        ..PodSpec::default()
    }
}

fn host_path(name: &str, path: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: Some("Directory".to_owned()) }),
        ..Volume::default()
    }
}

fn container(spec: &SGXPluginSpec, slots: i32) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.clone(),
        env: Some(vec![EnvVar { name: SLOTS.to_owned(), value: Some(slots.to_string()), ..EnvVar::default() }]),
        resources: spec.resources.clone(),
        // It opens the device itself, before any plug-in could hand it to it, and writes a socket that belongs to kubelet.
        security_context: Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() }),
        volume_mounts: Some(
            HOST_PATHS
                .map(|(name, path)| VolumeMount {
                    name: name.to_owned(),
                    mount_path: path.to_owned(),
                    ..VolumeMount::default()
                })
                .to_vec(),
        ),
        ..Container::default()
    }
}
