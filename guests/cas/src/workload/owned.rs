//! How each object stands to what is wanted.

use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::util::intstr::IntOrString};
use kube::Resource;
use operator_guest::{ObjectRef, Observed};
use scone_api::{
    observe::Meta,
    owned::{Owned, Standing},
    template::contradiction,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Objects;
use crate::observe::{Observation, ObservedWorkload};

/// One object, and how to have it made again when the cluster refuses to change it.
pub(crate) struct Piece {
    pub(crate) owned: Owned,
    /// Only of workloads: which one, and its UID.
    pub(crate) workload: Option<(ObjectRef, String)>,
}

/// All objects, the `StatefulSet` first: of several that have to be waited for, it is the one to tell of.
pub(crate) fn pieces(objects: &Objects, observation: &Observation, children: &[Observed]) -> Vec<Piece> {
    let set = objects.set.spec.as_ref();
    let mut pieces = vec![running(
        &objects.set,
        set.map(|spec| &spec.template),
        observation.set.as_ref(),
        set.and_then(|spec| spec.volume_claim_templates.as_ref()).map_or(0, Vec::len),
        1,
    )];
    if let Some(backup) = &objects.backup {
        let template = backup.deployment.spec.as_ref().map(|spec| &spec.template);
        pieces.push(running(&backup.deployment, template, observation.backup.as_ref(), 0, 1));
    }
    if let Some((deployment, budget)) = &objects.safety {
        let least = match budget.spec.as_ref().and_then(|spec| spec.min_available.as_ref()) {
            Some(IntOrString::Int(least)) => *least,
            _ => 1,
        };
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        pieces.push(running(deployment, template, observation.safety.as_ref(), 0, least));
    }
    pieces.extend(passives(objects, children));
    pieces
}

const SPEC: (&str, &str) = ("settings", "/spec");
const LABELS: (&str, &str) = ("labels", "/metadata/labels");

fn passives(objects: &Objects, children: &[Observed]) -> Vec<Piece> {
    let mut pieces = vec![passive(&objects.config, children, &[("data", "/data")])];
    pieces.extend(objects.owner.as_ref().map(|secret| passive(secret, children, &[("data", "/data")])));
    pieces.extend(objects.accounts.iter().map(|account| passive(account, children, &[LABELS])));
    let annotations = ("annotations", "/metadata/annotations");
    pieces.push(passive(&objects.service, children, &[LABELS, annotations, SPEC]));
    pieces.push(passive(&objects.budget, children, &[SPEC]));
    pieces.extend(objects.policy.as_ref().map(|policy| passive(policy, children, &[SPEC])));
    if let Some(backup) = &objects.backup {
        let rules = [("rules", "/rules")];
        let binding = [("roleRef", "/roleRef"), ("subjects", "/subjects")];
        pieces.push(passive(&backup.role, children, &rules));
        pieces.push(passive(&backup.binding, children, &binding));
        pieces.push(passive(&backup.cluster_role, children, &rules));
        pieces.push(passive(&backup.cluster_binding, children, &binding));
    }
    pieces.extend(objects.safety.as_ref().map(|(_, budget)| passive(budget, children, &[SPEC])));
    pieces
}

/// The start of an object's conditions: a DNS name, as Kubernetes asks of them.
fn prefix(identity: &ObjectRef) -> String {
    let name = identity.name.rsplit(':').next().unwrap_or_default();
    format!("{}.{name}", identity.kind.to_lowercase())
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: Meta,
}

/// An object that works by being there. Nothing of it reaches a message, since it may be a Secret.
fn passive<K>(wanted: &K, children: &[Observed], fields: &[(&'static str, &str)]) -> Piece
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let identity = ObjectRef::of(wanted);
    let there = children.iter().find(|child| child.identity == identity);
    let there = there.and_then(|child| serde_json::from_slice::<Value>(&child.document).ok());
    let meta = there.as_ref().and_then(|there| OnlyMeta::deserialize(there).ok()).map(|there| there.metadata);
    let difference = there.and_then(|there| {
        let wanted = serde_json::to_value(wanted).unwrap_or_default();
        contradiction(&wanted, &there, fields)
    });
    let standing = Standing::of(meta.as_ref(), difference);
    let owned = Owned::passive(prefix(&identity), kind(&identity), standing, "it is there, as the spec wants it");
    Piece { owned, workload: None }
}

/// Kinds as messages call them.
fn kind(identity: &ObjectRef) -> &'static str {
    const KINDS: [&str; 12] = [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    ];
    KINDS.into_iter().find(|kind| *kind == identity.kind).unwrap_or("object")
}

/// An object that works when at least so many of its pods do.
fn running<K: Resource<DynamicType = ()>>(
    wanted: &K,
    template: Option<&PodTemplateSpec>,
    there: Option<&ObservedWorkload>,
    volumes: usize,
    least: i32,
) -> Piece {
    let identity = ObjectRef::of(wanted);
    let difference = there.zip(template).and_then(|(there, wanted)| there.spec.template.difference(wanted));
    let difference = difference
        .or_else(|| there.filter(|there| there.spec.volume_claim_templates.len() != volumes).map(|_| "volumes"));
    let standing = Standing::of(there.map(|there| &there.metadata), difference);
    let (works, message) = match there.and_then(ObservedWorkload::current) {
        None if there.is_none() => (None, "it does not exist yet".to_owned()),
        None => (None, "its controller has not seen the latest change yet".to_owned()),
        Some(status) => {
            let desired = there.map_or(0, |there| there.spec.replicas.unwrap_or(1));
            let works = status.ready_replicas >= least && status.updated_replicas >= desired;
            (Some(works), format!("{} of {desired} pods are ready", status.ready_replicas.min(desired)))
        }
    };
    let workload = there.map(|there| (identity.clone(), there.metadata.uid.clone()));
    Piece { owned: Owned::running(prefix(&identity), kind(&identity), standing, works, message), workload }
}
