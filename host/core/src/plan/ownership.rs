//! Whose an existing object is, and when it may be taken over.
//!
//! A parent's author chooses its name, and children are named after their parents. Without a mark on the object, whoever may create a
//! parent could take over, and later delete, any object of a name that he can choose: the Service `kubernetes`, for one.

use serde_json::Value;

use super::DIGEST;
use crate::{Identity, ObjectRef, inventory};

/// Annotation of a parent: the children that may be taken over although nothing marks them, as `Kind/name`, separated by commas.
pub const ADOPT: &str = "operator.scone.cloud/adopt";

/// Whether an object carries the label of the parent's set.
pub(super) fn is_member(object: &Value, parent: &ObjectRef) -> bool {
    set(object) == Some(inventory::id(parent).as_str())
}

/// Who else the object belongs to: another controller, or another set.
pub(super) fn foreign_owner(object: &Value, parent: &Identity) -> Option<String> {
    controller(object, parent).or_else(|| set(object).map(|label| format!("the set {label}")))
}

/// Which other object controls this one.
pub(super) fn controller(object: &Value, parent: &Identity) -> Option<String> {
    let mut owners = owners(object);
    let other = owners.find(|owner| {
        owner.get("controller").and_then(Value::as_bool) == Some(true) && uid(owner) != Some(&parent.metadata.uid)
    })?;
    let text = |key: &str| other.get(key).and_then(Value::as_str).unwrap_or("?");
    Some(format!("{} {}", text("kind"), text("name")))
}

/// Whether an object that belongs to nobody may become this parent's: this operator made it (it carries the digest, and has lost its
/// other marks), another operator made it for this very parent (its UID is in an owner reference or a label: that is how the published
/// operators mark what they make), or the parent asks for it by name.
pub(super) fn may_adopt(object: &Value, parent: &Identity, identity: &ObjectRef) -> bool {
    let metadata = |key: &str| object.get("metadata").and_then(|metadata| metadata.get(key));
    let of_parent = |value: Option<&Value>| value.and_then(Value::as_str) == Some(&*parent.metadata.uid);
    let digest = metadata("annotations").is_some_and(|annotations| annotations.get(DIGEST).is_some());
    let labels = metadata("labels").and_then(Value::as_object);
    let labelled = labels.is_some_and(|labels| labels.values().any(|value| of_parent(Some(value))));
    let owned = owners(object).any(|owner| of_parent(owner.get("uid")));
    digest || labelled || owned || is_asked_for(parent, identity)
}

/// Whether the parent's annotation names this child.
fn is_asked_for(parent: &Identity, identity: &ObjectRef) -> bool {
    let asked = parent.metadata.annotations.get(ADOPT).map(String::as_str).unwrap_or_default();
    asked.split(',').map(str::trim).any(|name| name == adoptable(identity))
}

/// A child as [`ADOPT`] names it.
pub(crate) fn adoptable(identity: &ObjectRef) -> String {
    format!("{}/{}", identity.kind, identity.name)
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

fn uid(owner: &Value) -> Option<&str> {
    owner.get("uid").and_then(Value::as_str)
}

fn set(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("labels")?.get(inventory::PART_OF)?.as_str()
}
