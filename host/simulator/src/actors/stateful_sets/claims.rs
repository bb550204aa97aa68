//! The claims of a set's pods: made from its templates, and kept when pods or the set go, unless it says otherwise.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::Set;
use crate::{
    actors::{list, text},
    cluster::CLAIM_IN_USE,
};

/// The templates with the claim that each becomes for one pod.
fn of<'a>(set: &'a Set<'_>, ordinal: i64) -> impl Iterator<Item = (&'a Value, ObjectRef)> {
    let namespace = text(set.object, "/metadata/namespace");
    list(set.object, "/spec/volumeClaimTemplates").map(move |template| {
        let name = format!("{}-{}-{ordinal}", text(template, "/metadata/name"), set.name());
        (template, ObjectRef::namespaced("v1", "PersistentVolumeClaim", namespace, &name))
    })
}

fn goes_with(set: &Set<'_>, occasion: &str) -> bool {
    text(set.object, &format!("/spec/persistentVolumeClaimRetentionPolicy/{occasion}")) == "Delete"
}

/// Makes the claims of one pod that are not there; those that are there are used as they are.
pub(super) fn make(set: &Set<'_>, ordinal: i64) -> bool {
    let mut made = false;
    for (template, claim) in of(set, ordinal) {
        if set.cluster.object(&claim).is_some() {
            continue;
        }
        let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".into(), claim.name.clone().into());
            metadata.insert("namespace".into(), text(set.object, "/metadata/namespace").into());
            metadata.insert("finalizers".into(), json!([CLAIM_IN_USE]));
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            let selected = set.object.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned();
            if let Some(labels) = labels.as_object_mut() {
                labels.extend(selected.unwrap_or_default());
            }
            if goes_with(set, "whenDeleted") {
                metadata.insert("ownerReferences".into(), owner(set));
            }
        }
        let spec = template.get("spec").cloned().unwrap_or_default();
        set.cluster.put(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec,
            "status": {"phase": "Pending"},
        }));
        made = true;
    }
    made
}

fn owner(set: &Set<'_>) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set.name(), "uid": text(set.object, "/metadata/uid")}])
}

/// Lets the claims that exist belong to the set, or to nobody, as its policy says.
pub(super) fn follow_policy(set: &Set<'_>) -> bool {
    let uid = text(set.object, "/metadata/uid");
    let wanted = goes_with(set, "whenDeleted");
    let mut changed = false;
    for (_, claim) in set.pods.keys().flat_map(|ordinal| of(set, *ordinal)) {
        let Some(object) = set.cluster.object(&claim) else { continue };
        let owners: Vec<Value> = list(&object, "/metadata/ownerReferences").cloned().collect();
        let ours = |owner: &Value| text(owner, "/uid") == uid;
        if owners.iter().any(ours) == wanted {
            continue;
        }
        let mut kept: Vec<Value> = owners.into_iter().filter(|owner| !ours(owner)).collect();
        if let (Value::Array(own), true) = (owner(set), wanted) {
            kept.extend(own);
        }
        changed |= set.cluster.edit(&claim, |claim| {
            if let Some(metadata) = claim.get_mut("metadata").and_then(Value::as_object_mut) {
                if kept.is_empty() {
                    metadata.remove("ownerReferences");
                } else {
                    metadata.insert("ownerReferences".into(), Value::Array(kept));
                }
            }
        });
    }
    changed
}

/// Deletes the claims of a pod that is no longer wanted, when the policy says so.
pub(super) fn scaled_down(set: &Set<'_>, ordinal: i64) {
    if goes_with(set, "whenScaled") {
        for (_, claim) in of(set, ordinal) {
            set.cluster.remove(&claim);
        }
    }
}

/// Puts the claims of one pod among its volumes, in place of volumes of the same name.
pub(super) fn mount(set: &Set<'_>, ordinal: i64, pod: &mut Value) {
    let claims: Vec<(String, Value)> = of(set, ordinal)
        .map(|(template, claim)| {
            let name = text(template, "/metadata/name").to_owned();
            let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": claim.name}});
            (name, volume)
        })
        .collect();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut).filter(|_| !claims.is_empty()) else { return };
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.retain(|volume| !claims.iter().any(|(name, _)| text(volume, "/name") == name));
        volumes.extend(claims.into_iter().map(|(_, volume)| volume));
    }
}
