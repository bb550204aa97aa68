//! What modules read of pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    missing::START,
    observe::{Meta, or_default, unix_seconds},
};

/// A pod.
#[derive(Deserialize)]
pub struct ObservedPod {
    pub metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    spec: PodSpec,
    #[serde(default, deserialize_with = "or_default")]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<PodContainer>,
    #[serde(deserialize_with = "or_default")]
    affinity: Affinity,
}

#[derive(Deserialize)]
struct PodContainer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    #[serde(deserialize_with = "or_default")]
    node_affinity: NodeAffinity,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", deserialize_with = "or_default")]
    required: NodeSelector,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelector {
    #[serde(deserialize_with = "or_default")]
    node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelectorTerm {
    #[serde(deserialize_with = "or_default")]
    match_fields: Vec<MatchField>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MatchField {
    key: String,
    #[serde(deserialize_with = "or_default")]
    values: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<PodCondition>,
    #[serde(deserialize_with = "or_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
}

/// What kubelet says of one container.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    pub ready: bool,
    pub restart_count: u32,
    #[serde(rename = "imageID")]
    pub image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub state: ContainerState,
    #[serde(deserialize_with = "or_default")]
    pub last_state: ContainerState,
}

/// Where a container stands; at most one is set.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

/// A container that does not run yet.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// A container that runs.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    pub started_at: String,
}

/// A container that ended.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    pub exit_code: i32,
    pub reason: String,
}

impl ContainerStatus {
    /// The digest of the image that it runs, as far as the container runtime tells it.
    pub fn digest(&self) -> Option<&str> {
        self.image_id.split_once('@').map(|(_, digest)| digest)
    }
}

impl ObservedPod {
    /// The node it runs on, or the one that its `DaemonSet` made it for while the scheduler has not placed it.
    pub fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref().or_else(|| {
            let terms = &self.spec.affinity.node_affinity.required.node_selector_terms;
            let fields = terms.iter().flat_map(|term| &term.match_fields);
            fields
                .filter(|field| field.key == "metadata.name")
                .find_map(|field| field.values.first())
                .map(String::as_str)
        })
    }

    /// Whether it is going away.
    pub fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether its node has a pod with it. A pod that is replaced counts until it should be gone for long, or every rolling
    /// update would be a time without pods.
    pub fn is_present(&self, now: i64) -> bool {
        let gone = self.metadata.deletion_timestamp.as_deref().and_then(unix_seconds);
        gone.is_none_or(|gone| now - gone < START)
    }

    /// The image that it was made with.
    pub fn image(&self, container: &str) -> Option<&str> {
        let found = self.spec.containers.iter().find(|c| c.name == container);
        found.map(|container| container.image.as_str()).filter(|image| !image.is_empty())
    }

    /// One container.
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.status.container_statuses.iter().find(|container| container.name == name)
    }

    /// The containers that run before the others.
    pub fn init_containers(&self) -> &[ContainerStatus] {
        &self.status.init_container_statuses
    }

    /// Whether all of it works; false too when its node has fallen silent, which its containers cannot tell.
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// Whether it has not started: without a node, or its node has not got to it.
    pub fn is_pending(&self) -> bool {
        self.status.phase == "Pending"
    }

    /// Whether it has a container of this name.
    pub fn has_container(&self, name: &str) -> bool {
        self.spec.containers.iter().any(|container| container.name == name)
    }

    /// Since when a container runs, in Unix seconds.
    pub fn running_since(&self, container: &str) -> Option<i64> {
        unix_seconds(&self.container(container)?.state.running.as_ref()?.started_at)
    }

    /// Why the scheduler finds no place for it.
    pub fn unschedulable(&self) -> Option<&str> {
        let found = self.status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
        found.filter(|condition| condition.reason == "Unschedulable").map(|condition| condition.message.as_str())
    }
}

/// The pod that counts on each node: one that stays, and of several the youngest.
pub fn by_node(pods: &[ObservedPod]) -> BTreeMap<&str, &ObservedPod> {
    let mut chosen: BTreeMap<&str, &ObservedPod> = BTreeMap::new();
    let rank = |pod: &ObservedPod| (!pod.is_leaving(), pod.metadata.creation_timestamp.clone());
    for pod in pods {
        let Some(node) = pod.node() else { continue };
        let kept = chosen.entry(node).or_insert(pod);
        if rank(pod) > rank(kept) {
            *kept = pod;
        }
    }
    chosen
}
