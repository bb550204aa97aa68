//! Each child of an answer against what exists: create, change, leave alone, wait, prune.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{DIGEST, Input, Step, Verb, check};
use crate::{
    Child, Document, Identity, ObjectRef, Readiness, Rejection, Strategy,
    diff::{self, Change},
    grants, handed, inventory,
    readiness::{self, Standing},
};

/// What to do with one child.
pub(super) fn step(input: &Input<'_>, parent: &ObjectRef, child: &Child, held_back: bool) -> Result<Step, Rejection> {
    let document = complete(input, parent, child)?;
    let existing = input.existing.get(&child.identity).map(Document::to_value).transpose();
    let existing = existing.map_err(|_| check::mismatch(&child.identity, "is unreadable in the cache"))?;
    let member = existing.as_ref().is_some_and(|object| is_member(object, parent));
    if let Some(owner) = existing.as_ref().filter(|_| !member).and_then(|object| foreign_owner(object, input.parent)) {
        return Err(Rejection::OwnedByOther { identity: child.identity.clone(), owner });
    }
    let changes = existing.as_ref().map(|object| without_digest(diff::changes(&document, object))).unwrap_or_default();
    let same_digest = existing.as_ref().is_some_and(|object| digest_of(object) == digest_of(&document));
    let verb = match (&existing, child.strategy) {
        (None, _) if held_back => Verb::Wait,
        (None, _) => Verb::Create,
        (Some(_), Strategy::CreateOnce | Strategy::OnDelete) if member => Verb::Keep,
        (Some(_), _) if member && same_digest && changes.is_empty() => Verb::Unchanged,
        (Some(_), _) if held_back => Verb::Wait,
        (Some(_), _) if member => Verb::Update,
        (Some(_), _) => Verb::Adopt,
    };
    Ok(Step {
        identity: child.identity.clone(),
        verb,
        stage: child.stage,
        document: verb.writes().then(|| Document::from_value(&document)),
        changes: if matches!(verb, Verb::Update | Verb::Adopt) { changes } else { Vec::new() },
        standing: readiness::standing(child.readiness, existing.as_ref()),
        exists_suffices: child.readiness == Readiness::Exists,
        recreate: child.strategy == Strategy::RecreateOnImmutable,
        uid: existing.as_ref().and_then(uid_of),
    })
}

/// The child's document with what the host adds: the set's label, the owner, the digest.
fn complete(input: &Input<'_>, parent: &ObjectRef, child: &Child) -> Result<Value, Rejection> {
    let mut document = check::child_document(child)?;
    handed::check(input.grants, &child.identity, &document, &input.desired.children)?;
    let owned = can_own(parent, &child.identity);
    if !owned && !input.finalizer {
        return Err(Rejection::NeedsFinalizer { identity: child.identity.clone(), parent: parent.clone() });
    }
    let metadata = entry(&mut document, "metadata");
    entry(metadata, "labels")
        .as_object_mut()
        .map(|l| l.insert(inventory::PART_OF.into(), inventory::id(parent).into()));
    if let (true, Some(map)) = (owned, metadata.as_object_mut()) {
        map.insert("ownerReferences".into(), json!([owner_reference(input.parent)]));
    }
    let digest = digest(&document);
    let metadata = entry(&mut document, "metadata");
    entry(metadata, "annotations").as_object_mut().map(|a| a.insert(DIGEST.into(), digest.into()));
    Ok(document)
}

/// Kubernetes lets a cluster-scoped object own anything, and a namespaced one own what is in its namespace.
fn can_own(parent: &ObjectRef, child: &ObjectRef) -> bool {
    parent.namespace.is_none() || parent.namespace == child.namespace
}

fn owner_reference(parent: &Identity) -> Value {
    json!({
        "apiVersion": parent.api_version, "kind": parent.kind, "name": parent.metadata.name, "uid": parent.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map.entry(key).or_insert_with(|| Value::Object(Map::new())),
        other => other,
    }
}

fn digest(document: &Value) -> String {
    blake3::hash(Document::from_value(document).bytes()).to_hex().chars().take(16).collect()
}

fn digest_of(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(DIGEST)?.as_str()
}

fn without_digest(changes: Vec<Change>) -> Vec<Change> {
    changes.into_iter().filter(|change| !change.path.contains(DIGEST)).collect()
}

fn uid_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn is_member(object: &Value, parent: &ObjectRef) -> bool {
    let label = object.get("metadata").and_then(|m| m.get("labels")).and_then(|l| l.get(inventory::PART_OF));
    label.and_then(Value::as_str) == Some(inventory::id(parent).as_str())
}

/// Who else the object belongs to: another controller, or another set.
fn foreign_owner(object: &Value, parent: &Identity) -> Option<String> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let other = owners.into_iter().flatten().find(|owner| {
        owner.get("controller").and_then(Value::as_bool) == Some(true)
            && owner.get("uid").and_then(Value::as_str) != Some(parent.metadata.uid.as_str())
    });
    if let Some(owner) = other {
        let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        return Some(format!("{} {}", text("kind"), text("name")));
    }
    let label = object.get("metadata")?.get("labels")?.get(inventory::PART_OF)?.as_str()?;
    Some(format!("the set {label}"))
}

/// What to delete: members that the answer no longer names, of kinds that this module may touch, never anything else. Those
/// that are being deleted already are listed too: the parent must not go before them.
pub(super) fn prune(input: &Input<'_>, parent: &ObjectRef, steps: &[Step]) -> Result<Vec<Step>, Rejection> {
    let wanted: BTreeSet<&ObjectRef> = steps.iter().map(|step| &step.identity).collect();
    let mut prune = Vec::new();
    for member in input.members.iter().filter(|member| !wanted.contains(&member.identity)) {
        let object = member.document.to_value().map_err(|_| check::mismatch(&member.identity, "is unreadable"))?;
        let ours = is_member(&object, parent) && foreign_owner_of_member(&object, input.parent).is_none();
        if !ours || grants::child(input.grants, &member.identity, input.place).is_err() {
            continue;
        }
        let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
        prune.push(Step {
            identity: member.identity.clone(),
            verb: if leaving { Verb::Wait } else { Verb::Prune },
            stage: 0,
            document: None,
            changes: Vec::new(),
            standing: if leaving { Standing::Terminating } else { Standing::Current },
            exists_suffices: false,
            recreate: false,
            uid: uid_of(&object),
        });
    }
    Ok(prune)
}

fn foreign_owner_of_member(object: &Value, parent: &Identity) -> Option<String> {
    foreign_owner(object, parent).filter(|owner| !owner.starts_with("the set "))
}
