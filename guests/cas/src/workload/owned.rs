//! How each object stands to what is wanted.

use k8s_openapi::{
    api::{
        core::v1::{PodTemplateSpec, Service},
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Resource, core::ObjectMeta};
use operator_guest::{ObjectRef, Observed};
use scone_api::{
    owned::{Owned, Standing},
    template::contradicts,
};
use serde::Deserialize;
use serde_json::{Value, to_value};

use super::{Backup, Objects};
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

fn passives(objects: &Objects, children: &[Observed]) -> Vec<Piece> {
    let data = |wanted| vec![("data", wanted, (|there| &there.data) as Part)];
    let spec = |wanted| vec![("settings", wanted, (|there| &there.spec) as Part)];
    let labels = |wanted: &ObjectMeta| ("labels", to_value(&wanted.labels), (|there| &there.metadata.labels) as Part);
    let mut pieces = vec![passive(&objects.config, children, data(to_value(&objects.config.data)))];
    pieces.extend(objects.owner.as_ref().map(|secret| passive(secret, children, data(to_value(&secret.data)))));
    pieces.extend(objects.accounts.iter().map(|account| passive(account, children, vec![labels(&account.metadata)])));
    let Service { metadata, .. } = &objects.service;
    let annotations: Compared = ("annotations", to_value(&metadata.annotations), |there| &there.metadata.annotations);
    let mut service = vec![labels(metadata), annotations];
    service.extend(spec(to_value(&objects.service.spec)));
    pieces.push(passive(&objects.service, children, service));
    pieces.push(passive(&objects.budget, children, spec(to_value(&objects.budget.spec))));
    pieces.extend(objects.policy.as_ref().map(|policy| passive(policy, children, spec(to_value(&policy.spec)))));
    pieces.extend(objects.backup.iter().flat_map(|backup| rights(backup, children)));
    let safety = objects.safety.as_ref().map(|(_, budget)| budget);
    pieces.extend(safety.map(|budget| passive(budget, children, spec(to_value(&budget.spec)))));
    pieces
}

fn rights(backup: &Backup, children: &[Observed]) -> Vec<Piece> {
    let fields = |role: &RoleRef, subjects: &Option<Vec<Subject>>| -> Vec<Compared> {
        vec![
            ("roleRef", to_value(role), |there| &there.role_ref),
            ("subjects", to_value(subjects), |there| &there.subjects),
        ]
    };
    let bound = |binding: &RoleBinding| passive(binding, children, fields(&binding.role_ref, &binding.subjects));
    let mut pieces: Vec<_> = backup.workloads.iter().chain([&backup.las]).map(bound).collect();
    pieces.push(passive(&backup.nodes, children, fields(&backup.nodes.role_ref, &backup.nodes.subjects)));
    pieces
}

/// The parts of an object that are compared: reading only them, of all kinds alike, is several times faster than reading all.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parts {
    metadata: PartsMeta,
    data: Value,
    spec: Value,
    role_ref: Value,
    subjects: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartsMeta {
    deletion_timestamp: Option<String>,
    labels: Value,
    annotations: Value,
}

type Part = fn(&Parts) -> &Value;
type Written = serde_json::Result<Value>;
/// What messages call a field, what is wanted of it, and where it is.
type Compared = (&'static str, Written, Part);

/// The start of an object's conditions: a DNS name, as Kubernetes asks of them. Of the whole name, since two bindings
/// have the same end.
fn prefix(identity: &ObjectRef) -> String {
    format!("{}.{}", identity.kind.to_lowercase(), identity.name.replace(':', "."))
}

/// An object that works by being there. Nothing of it reaches a message, since it may be a Secret.
fn passive<K: Resource<DynamicType = ()>>(wanted: &K, children: &[Observed], fields: Vec<Compared>) -> Piece {
    let identity = ObjectRef::of(wanted);
    let there = children.iter().find(|child| child.identity == identity);
    let there = there.and_then(|child| serde_json::from_slice::<Parts>(&child.document).ok());
    let standing = match &there {
        None => Standing::Absent,
        Some(there) if there.metadata.deletion_timestamp.is_some() => Standing::Leaving,
        Some(there) => {
            // Types of Kubernetes can always be written; if not, it is better to wait than to call anything equal to it.
            let differs = |(_, wanted, part): &&Compared| {
                wanted.as_ref().map_or(true, |wanted| contradicts(Some(wanted), Some(part(there))))
            };
            fields.iter().find(differs).map_or(Standing::Wanted, |(name, ..)| Standing::Different(name))
        }
    };
    let owned = Owned::passive(prefix(&identity), kind(&identity), standing, "it is there, as the spec wants it");
    Piece { owned, workload: None }
}

/// Kinds as messages call them.
fn kind(identity: &ObjectRef) -> &'static str {
    const KINDS: [&str; 10] = [
        "ClusterRoleBinding",
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
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
