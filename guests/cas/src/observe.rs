//! What the module reads of other objects: only the fields that matter, so that reading costs little.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    policy::v1::PodDisruptionBudget,
};
use operator_guest::{Failure, QueryFailure, Snapshot};
use scone_api::{
    cas::CAS,
    observe::{Meta, NodeCondition, is_node_ready, or_default},
    pod::ObservedPod,
    quantity,
    template::Template,
};
use serde::Deserialize;

use crate::workload::{self, Site};

/// Query ids.
pub(crate) const NODES: &str = "nodes";
pub(crate) const PODS: &str = "pods";

/// The fields that the queries ask for; the manifest asks to be granted the same.
pub(crate) const NODE_FIELDS: [&str; 5] =
    ["metadata.labels", "metadata.uid", "spec.unschedulable", "status.conditions.status", "status.conditions.type"];
pub(crate) const CLAIM_FIELDS: [&str; 5] =
    ["spec.resources.requests", "spec.storageClassName", "status.capacity", "status.conditions", "status.phase"];
pub(crate) const POD_FIELDS: [&str; 11] = [
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "metadata.uid",
    "spec.containers.image",
    "spec.containers.name",
    "spec.nodeName",
    "status.conditions",
    "status.containerStatuses",
    "status.initContainerStatuses",
    "status.phase",
];

/// The label of nodes on which LAS works (published).
const LAS_OK: &str = "las.scontain.com/ok";

/// The id of the query about the claim of a volume.
pub(crate) fn claim_id(volume: &str) -> String {
    format!("claim-{volume}")
}

/// What is known of the cluster. None where a query has no answer yet.
pub(crate) struct Observation {
    /// The `StatefulSet` of CAS.
    pub(crate) set: Option<ObservedWorkload>,
    /// The backup controller.
    pub(crate) backup: Option<ObservedWorkload>,
    /// The safety service.
    pub(crate) safety: Option<ObservedWorkload>,
    /// The budget of CAS.
    pub(crate) budget: Option<ObservedBudget>,
    /// The budget of the safety service.
    pub(crate) safety_budget: Option<ObservedBudget>,
    /// All nodes.
    pub(crate) nodes: Option<Vec<ObservedNode>>,
    /// The pods of this CAS.
    pub(crate) pods: Option<Vec<ObservedPod>>,
    /// The claims of its volumes.
    claims: BTreeMap<&'static str, Option<ObservedClaim>>,
    /// Why something could not be listed.
    pub(crate) errors: Vec<String>,
}

impl Observation {
    /// The claim of a volume, if there is one.
    pub(crate) fn claim(&self, volume: &str) -> Option<&ObservedClaim> {
        self.claims.get(volume)?.as_ref()
    }

    /// Whether it is known that there is one, or none.
    pub(crate) fn is_claim_known(&self, volume: &str) -> bool {
        self.claims.contains_key(volume)
    }

    /// Nodes whose kubelet does not report any more. What it said last of its containers stays, and tells nothing.
    pub(crate) fn silent_nodes(&self) -> BTreeSet<&str> {
        let nodes = self.nodes.iter().flatten();
        nodes.filter(|node| !is_node_ready(&node.status.conditions)).map(|node| &*node.metadata.name).collect()
    }

    /// Whether LAS works on a node, as far as the node tells.
    pub(crate) fn has_las(&self, node: &str) -> bool {
        let found = self.nodes.iter().flatten().find(|found| found.metadata.name == node);
        found.is_none_or(|node| node.metadata.labels.get(LAS_OK).is_some_and(|value| value == "true"))
    }

    /// The one pod of CAS.
    pub(crate) fn main_pod(&self, site: &Site<'_>) -> Option<&ObservedPod> {
        let name = site.pod();
        self.pods.iter().flatten().find(|pod| pod.metadata.name == name)
    }

    /// The pods with a container of this name that stay.
    pub(crate) fn pods_with(&self, container: &str) -> impl Iterator<Item = &ObservedPod> {
        self.pods.iter().flatten().filter(move |pod| pod.has_container(container) && !pod.is_leaving())
    }
}

/// Reads the snapshot.
pub(crate) fn observe(snapshot: &Snapshot<CAS>, site: &Site<'_>) -> Result<Observation, Failure> {
    let mut errors = Vec::new();
    let mut claims = BTreeMap::new();
    for volume in [workload::DATABASE, workload::SNAPSHOTS] {
        let found = known::<ObservedClaim>(snapshot.objects(&claim_id(volume)), "claims of volumes", &mut errors);
        claims.extend(found.map(|found| (volume, found.into_iter().next())));
    }
    Ok(Observation {
        set: snapshot.child_in_as::<StatefulSet, _>(site.namespace, site.name)?,
        backup: snapshot.child_in_as::<Deployment, _>(site.namespace, &site.backup())?,
        safety: snapshot.child_in_as::<Deployment, _>(site.namespace, &site.safety())?,
        budget: snapshot.child_in_as::<PodDisruptionBudget, _>(site.namespace, site.name)?,
        safety_budget: snapshot.child_in_as::<PodDisruptionBudget, _>(site.namespace, &site.safety())?,
        nodes: known(snapshot.objects(NODES), "nodes", &mut errors),
        pods: known(snapshot.objects(PODS), "pods", &mut errors),
        claims,
        errors,
    })
}

fn known<T>(answer: Option<Result<Vec<T>, QueryFailure>>, what: &str, errors: &mut Vec<String>) -> Option<Vec<T>> {
    answer?.map_err(|failure| errors.push(format!("{what} cannot be listed: {failure}"))).ok()
}

/// A `StatefulSet` or a Deployment.
#[derive(Deserialize)]
pub(crate) struct ObservedWorkload {
    pub(crate) metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) spec: WorkloadSpec,
    #[serde(default, deserialize_with = "or_default")]
    status: WorkloadStatus,
}

/// What it was made with.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadSpec {
    pub(crate) replicas: Option<i32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) template: Template,
    #[serde(deserialize_with = "or_default")]
    pub(crate) volume_claim_templates: Vec<ObservedTemplate>,
}

impl WorkloadSpec {
    /// What the claims of a volume are made from.
    pub(crate) fn claim_template(&self, volume: &str) -> Option<&ClaimTemplate> {
        let found = self.volume_claim_templates.iter().find(|template| template.metadata.name == volume);
        found.map(|template| &template.spec)
    }
}

/// Its counts.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadStatus {
    observed_generation: Option<i64>,
    pub(crate) ready_replicas: i32,
    pub(crate) updated_replicas: i32,
    pub(crate) unavailable_replicas: i32,
}

impl ObservedWorkload {
    /// The counts, once its controller has seen the latest change.
    pub(crate) fn current(&self) -> Option<&WorkloadStatus> {
        let seen = self.status.observed_generation?;
        self.metadata.generation.is_none_or(|generation| seen >= generation).then_some(&self.status)
    }
}

/// One template of claims.
#[derive(Deserialize)]
pub(crate) struct ObservedTemplate {
    metadata: Meta,
    #[serde(default, deserialize_with = "or_default")]
    spec: ClaimTemplate,
}

/// What a claim is made from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "RawClaim")]
pub(crate) struct ClaimTemplate {
    pub(crate) access_modes: Vec<String>,
    pub(crate) storage_class_name: Option<String>,
    pub(crate) size: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawClaim {
    #[serde(deserialize_with = "or_default")]
    access_modes: Vec<String>,
    storage_class_name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    resources: Resources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    #[serde(deserialize_with = "or_default")]
    requests: Amounts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Amounts {
    storage: String,
}

impl From<RawClaim> for ClaimTemplate {
    fn from(raw: RawClaim) -> Self {
        let RawClaim { access_modes, storage_class_name, resources } = raw;
        Self { access_modes, storage_class_name, size: resources.requests.storage }
    }
}

/// The claim of a volume.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ObservedClaim {
    #[serde(deserialize_with = "or_default")]
    spec: ClaimSpec,
    #[serde(deserialize_with = "or_default")]
    pub(crate) status: ClaimStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    #[serde(deserialize_with = "or_default")]
    resources: Resources,
    storage_class_name: Option<String>,
}

/// Where a claim stands.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClaimStatus {
    pub(crate) phase: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) conditions: Vec<NodeCondition>,
    #[serde(deserialize_with = "or_default")]
    capacity: Amounts,
}

/// What a storage class lets claims do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObservedClass {
    pub(crate) metadata: Meta,
    pub(crate) allow_volume_expansion: Option<bool>,
}

impl ObservedClaim {
    /// Whether it asks for less than this.
    pub(crate) fn is_smaller(&self, size: &str) -> bool {
        let asked = quantity::number(&self.spec.resources.requests.storage);
        asked.zip(quantity::number(size)).is_some_and(|(asked, wanted)| asked < wanted * (1.0 - 1e-9))
    }

    /// Whether the volume is as large as this.
    pub(crate) fn has(&self, size: &str) -> bool {
        let pair = quantity::number(&self.status.capacity.storage).zip(quantity::number(size));
        pair.is_none_or(|(has, wanted)| has >= wanted * (1.0 - 1e-9))
    }

    /// How large the volume is.
    pub(crate) fn capacity(&self) -> &str {
        &self.status.capacity.storage
    }

    /// Its storage class; the API server has written the default one into it.
    pub(crate) fn class(&self) -> Option<&str> {
        self.spec.storage_class_name.as_deref()
    }

    /// How much it asks for.
    pub(crate) fn size(&self) -> &str {
        &self.spec.resources.requests.storage
    }
}

/// A budget of disruptions.
#[derive(Deserialize)]
pub(crate) struct ObservedBudget {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: BudgetStatus,
}

/// Its counts.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BudgetStatus {
    pub(crate) observed_generation: Option<i64>,
    pub(crate) disruptions_allowed: i32,
    pub(crate) current_healthy: i32,
    pub(crate) desired_healthy: i32,
}

/// A node.
#[derive(Deserialize)]
pub(crate) struct ObservedNode {
    pub(crate) metadata: NodeMeta,
    #[serde(default, deserialize_with = "or_default")]
    spec: NodeSpec,
    #[serde(default, deserialize_with = "or_default")]
    status: NodeStatus,
}

/// The metadata of a node that matters.
#[derive(Deserialize)]
pub(crate) struct NodeMeta {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(deserialize_with = "or_default")]
    unschedulable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

impl ObservedNode {
    /// Whether the SGX plugin offers SGX there.
    pub(crate) fn is_capable(&self) -> bool {
        self.metadata.labels.get(scone_api::SGX_CAPABLE).is_some_and(|value| value == "true")
    }

    /// Whether new pods may go there.
    pub(crate) fn is_schedulable(&self) -> bool {
        !self.spec.unschedulable
    }

    /// Whether new pods with this selector may go there, and would start.
    pub(crate) fn takes(&self, selector: &BTreeMap<String, String>) -> bool {
        self.is_schedulable()
            && is_node_ready(&self.status.conditions)
            && selector.iter().all(|(key, value)| self.metadata.labels.get(key) == Some(value))
    }
}
