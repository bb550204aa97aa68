//! Each child of an answer against what exists: create, change, leave alone, wait, prune.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    DIGEST, Input, Step, Verb, check,
    ownership::{self, foreign_owner, is_member},
};
use crate::{
    Child, Document, Identity, ObjectRef, Readiness, Rejection, Strategy,
    diff::{self, Change},
    grants, handed,
    inventory::{self, Inventory},
    readiness::{self, Standing},
};

/// What to do with one child; none when an object of its name exists that is not this parent's and must not become it.
pub(super) fn step(
    input: &Input<'_>,
    parent: &ObjectRef,
    child: &Child,
    held_back: bool,
) -> Result<Option<Step>, Rejection> {
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
        (Some(_), Strategy::CreateOnce) => Verb::Keep,
        (Some(_), Strategy::OnDelete) if member => Verb::Keep,
        (Some(_), _) if member && same_digest && changes.is_empty() => Verb::Unchanged,
        (Some(_), _) if held_back => Verb::Wait,
        (Some(_), _) if member => Verb::Update,
        (Some(object), _) if ownership::may_adopt(object, input.parent, &child.identity) => Verb::Adopt,
        (Some(_), _) => return Ok(None),
    };
    let uid = existing.as_ref().and_then(uid_of);
    Ok(Some(Step {
        identity: child.identity.clone(),
        verb,
        stage: child.stage,
        document: verb.writes().then(|| Document::from_value(&exactly(document, uid.as_deref()))),
        changes: if matches!(verb, Verb::Update | Verb::Adopt) { changes } else { Vec::new() },
        standing: readiness::standing(child.readiness, existing.as_ref()),
        exists_suffices: child.readiness == Readiness::Exists,
        recreate: child.strategy == Strategy::RecreateOnImmutable,
        once: child.strategy == Strategy::CreateOnce,
        uid,
    }))
}

/// The document, for exactly the object that exists: an apply makes what does not exist, and one that comes late, such as from a process
/// that was stopped meanwhile, would bring back what somebody deleted.
fn exactly(mut document: Value, uid: Option<&str>) -> Value {
    if let (Some(uid), Some(metadata)) = (uid, entry(&mut document, "metadata").as_object_mut()) {
        metadata.insert("uid".into(), uid.into());
    }
    document
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

/// What to delete: members that the answer no longer names, of kinds that this module may touch, never anything else. Those
/// that are being deleted already are listed too: the parent must not go before them.
///
/// A rule such as `target` moves with the parent, and what was made before does not: where the inventory says that members may be, they
/// go although nothing may be made there any more.
pub(super) fn prune(input: &Input<'_>, parent: &ObjectRef, steps: &[Step]) -> Result<Vec<Step>, Rejection> {
    let wanted: BTreeSet<&ObjectRef> = steps.iter().map(|step| &step.identity).collect();
    let recorded = Inventory::read(&input.parent.metadata.annotations);
    let mut prune = Vec::new();
    for member in input.members.iter().filter(|member| !wanted.contains(&member.identity)) {
        let object = member.document.to_value().map_err(|_| check::mismatch(&member.identity, "is unreadable"))?;
        let ours = is_member(&object, parent) && ownership::controller(&object, input.parent).is_none();
        let placed = || grants::child(input.grants, &member.identity, input.place).is_ok();
        let granted = grants::child_kind(input.grants, &member.identity)
            && (recorded.covers(parent, &member.identity) || placed());
        if !ours || !granted {
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
            once: false,
            uid: uid_of(&object),
        });
    }
    Ok(prune)
}
