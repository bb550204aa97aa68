//! Secrets of the wanted name that this resource has not made. They are somebody's, and stay as they are.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use operator_guest::{ObjectQuery, Query, Snapshot};
use scone_api::{imagepullsecret::ImagePullSecret, observe::or_default};
use serde::Deserialize;

use crate::{
    copies::{OWNER, PART_OF, name},
    select::Blind,
};

/// The host's label of a set's parent.
const SET: &str = "applyset.kubernetes.io/id";
/// Query id.
const NAMED: &str = "named";
const FIELDS: [&str; 2] = ["metadata.labels", "metadata.ownerReferences"];

/// Which Secrets have that name already.
pub(crate) fn query(parent: &ImagePullSecret) -> Query {
    ObjectQuery::of::<Secret>().named(name(parent)).fields(FIELDS).ask(NAMED)
}

/// Secrets of the wanted name that belong to somebody else: by namespace, whose they are.
pub(crate) type Others = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Named {
    metadata: NamedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    owner_references: Vec<Owner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
    controller: bool,
}

/// Which Secrets of the wanted name are not this resource's. The host would take over those that belong to nobody.
pub(crate) fn read(snapshot: &Snapshot<ImagePullSecret>, parent: &ImagePullSecret) -> Result<Others, Blind> {
    let found = match snapshot.objects::<Named>(NAMED) {
        None => return Err(Blind::default()),
        // The text of the failure may quote a Secret.
        Some(Err(_)) => return Err(Blind(vec!["Secrets cannot be listed; see the log of the operator".to_owned()])),
        Some(Ok(found)) => found,
    };
    let uid = parent.uid().unwrap_or_default();
    let set = parent.labels().get(SET);
    let foreign = |named: Named| whose(&named.metadata, &uid, set).map(|whose| (named.metadata.namespace, whose));
    // The answer may still be one to the name that the spec had before.
    Ok(found.into_iter().filter(|named| named.metadata.name == name(parent)).filter_map(foreign).collect())
}

/// Who else a Secret belongs to; none when it is this resource's.
fn whose(secret: &NamedMeta, uid: &str, set: Option<&String>) -> Option<String> {
    let controller = secret.owner_references.iter().find(|owner| owner.controller);
    match (controller, secret.labels.get(PART_OF), secret.labels.get(OWNER)) {
        (Some(owner), _, _) if owner.uid == uid => None,
        (Some(owner), _, _) => Some(format!("{} {}", owner.kind, owner.name)),
        (None, Some(part), _) if Some(part) == set => None,
        (None, Some(part), _) => Some(format!("the set {part}")),
        // Made by the published operator for this very resource: it goes on under this one.
        (None, None, Some(owner)) if owner == uid => None,
        (None, None, _) => Some("nobody".to_owned()),
    }
}
