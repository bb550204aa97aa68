//! Each node: is it selected, does it offer SGX, does the plug-in run there, and what stands in the way.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use scone_api::{
    SGX_CAPABLE,
    missing::START,
    observe::unix_seconds,
    pod::{ObservedPod, by_node},
    problem::{self, Problem},
    sgxplugin::SGXPluginSpec,
};

use crate::{
    observe::{Observation, ObservedNode, ObservedTaint},
    workload::CONTAINER,
};

/// Seconds that the devices of a ready plug-in may take to appear in the status of its node, which kubelet writes every ten.
const REGISTRATION: i64 = 60;
/// Taints that every `DaemonSet` tolerates (`pkg/controller/daemon/util` of Kubernetes).
const ALWAYS_TOLERATED: [&str; 6] =
    ["disk-pressure", "memory-pressure", "not-ready", "pid-pressure", "unreachable", "unschedulable"];

/// What is found on all nodes.
#[derive(Default)]
pub(crate) struct Nodes {
    /// Device slots of the nodes with SGX.
    pub(crate) capacity: BTreeMap<String, i32>,
    /// The selected ones among these.
    pub(crate) serving: Vec<String>,
    /// Of these, without a plug-in that is ready.
    pub(crate) unready: Vec<String>,
    /// Selected nodes with a plug-in that is ready.
    pub(crate) ready: usize,
    /// Selected nodes with a pod.
    pub(crate) present: usize,
    /// Whether the devices of some plug-in may still be on their way.
    pub(crate) registering: bool,
    /// What stands in the way, each named with its node.
    pub(crate) problems: Vec<Problem>,
}

impl Nodes {
    /// Looks at every node. None while the nodes or the pods are unknown.
    pub(crate) fn look(spec: &SGXPluginSpec, observation: &Observation, now: i64) -> Option<Self> {
        let nodes = observation.nodes.as_deref()?;
        let pods = by_node(observation.pods.as_deref()?);
        let mut found = Self::default();
        for node in nodes {
            let name = &node.metadata.name;
            let pod = pods.get(name.as_str()).copied();
            let look = Look { node, pod, is_selected: is_selected(node, spec), now };
            found.note(&look);
        }
        Some(found)
    }

    fn note(&mut self, look: &Look<'_>) {
        let name = &look.node.metadata.name;
        let is_ready = look.is_ready();
        if look.is_capable() {
            self.capacity.insert(name.clone(), look.node.status.allocatable.enclaves());
        }
        if !look.is_selected {
            return;
        }
        self.ready += usize::from(is_ready);
        self.present += usize::from(look.pod.is_some_and(|pod| pod.is_present(look.now)));
        self.registering |= look.is_young() && look.node.status.allocatable.enclaves() == 0;
        self.problems.extend(look.problem());
        if look.is_capable() {
            self.serving.push(name.clone());
            if !is_ready {
                self.unready.push(name.clone());
            }
        }
    }
}

/// One look at one node.
struct Look<'a> {
    node: &'a ObservedNode,
    pod: Option<&'a ObservedPod>,
    is_selected: bool,
    now: i64,
}

impl Look<'_> {
    fn is_ready(&self) -> bool {
        self.pod.is_some_and(|pod| pod.is_ready() && !pod.is_leaving())
    }

    /// Whether a ready plug-in has started so recently that its devices may not be listed yet.
    fn is_young(&self) -> bool {
        let since = self.pod.filter(|_| self.is_ready()).and_then(|pod| pod.running_since(CONTAINER));
        since.is_some_and(|since| self.now - since < REGISTRATION)
    }

    /// Whether the node offers SGX. While its plug-in is replaced the devices are away for some seconds; if the label went for
    /// that time, everything that selects by it would lose its pods.
    fn is_capable(&self) -> bool {
        let status = &self.node.status;
        let labelled = self.node.metadata.labels.get(SGX_CAPABLE).is_some_and(|value| value == "true");
        let away = !self.is_ready() || (self.is_young() && status.capacity.enclaves() > 0);
        status.allocatable.enclaves() > 0 || (self.is_selected && labelled && away)
    }

    fn problem(&self) -> Option<Problem> {
        let node = &self.node.metadata.name;
        let pod = self.pod.filter(|pod| !pod.is_leaving() && !pod.is_ready())?;
        let name = &pod.metadata.name;
        if !self.node.is_ready() {
            return Some(problem::node_not_ready(node, "the plug-in"));
        }
        let unschedulable = pod.unschedulable().map(|message| problem::unschedulable(node, name, message));
        unschedulable
            .or_else(|| {
                let container = pod.container(CONTAINER)?;
                problem::of_container(node, name, container, CONTAINER)
            })
            .or_else(|| self.is_late(pod).then(|| problem::not_ready(node, name)))
    }

    /// Whether the pod has had its time to start.
    fn is_late(&self, pod: &ObservedPod) -> bool {
        let made = pod.metadata.creation_timestamp.as_deref().and_then(unix_seconds);
        pod.running_since(CONTAINER).max(made).is_some_and(|since| self.now - since >= START)
    }
}

/// Whether the `DaemonSet` wants a pod there, as its controller decides.
fn is_selected(node: &ObservedNode, spec: &SGXPluginSpec) -> bool {
    let labels = &node.metadata.labels;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let mut taints =
        node.spec.taints.iter().filter(|taint| ["NoSchedule", "NoExecute"].contains(&taint.effect.as_str()));
    spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && taints.all(|taint| is_always_tolerated(taint) || tolerations.iter().any(|one| tolerates(one, taint)))
}

fn is_always_tolerated(taint: &ObservedTaint) -> bool {
    taint.key.strip_prefix("node.kubernetes.io/").is_some_and(|key| ALWAYS_TOLERATED.contains(&key))
}

fn tolerates(toleration: &Toleration, taint: &ObservedTaint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || (key.is_empty() && exists))
        && (exists || text(&toleration.value) == taint.value)
}
