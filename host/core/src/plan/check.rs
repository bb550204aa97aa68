//! What every answer must keep to, before anything is decided about it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Input, OBJECT_LIMIT};
use crate::{Child, Deed, Desired, ObjectRef, Rejection, grants, inventory};

/// Fields that a module must not set on its children, with who sets them.
const FOREIGN: [(&str, &str); 8] = [
    ("/metadata/ownerReferences", "the host"),
    ("/metadata/managedFields", "the API server"),
    ("/metadata/uid", "the API server"),
    ("/metadata/resourceVersion", "the API server"),
    ("/metadata/creationTimestamp", "the API server"),
    ("/metadata/deletionTimestamp", "the API server"),
    ("/metadata/generateName", "nobody, since names must be deterministic, and"),
    ("/status", "the object's own controller"),
];

pub(super) fn mismatch(identity: &ObjectRef, why: &str) -> Rejection {
    Rejection::Mismatch { identity: identity.clone(), why: why.to_owned() }
}

/// Grants, duplicates and shapes of everything but the documents' contents.
pub(super) fn answer(input: &Input<'_>) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    if let Some(identity) = named(input.desired).find(|identity| !identity.is_addressable()) {
        let place = format!("{} {:?}", identity.kind, identity.name);
        let why = "has a namespace or name that no Kubernetes object can have; use letters, digits, - and .";
        return Err(malformed(place, why));
    }
    for child in &input.desired.children {
        grants::child(input.grants, &child.identity, input.place)?;
        if child.document.bytes().len() > OBJECT_LIMIT {
            let size = child.document.bytes().len();
            return Err(Rejection::Oversized { identity: child.identity.clone(), size, limit: OBJECT_LIMIT });
        }
        if !seen.insert(&child.identity) {
            return Err(Rejection::Duplicate { identity: child.identity.clone() });
        }
    }
    for query in &input.desired.queries {
        grants::question(input.grants, &query.question, input.place)?;
    }
    for action in &input.desired.actions {
        grants::deed(input.grants, &action.deed, input.place)?;
    }
    ids(input)?;
    conditions(input)?;
    samples(input)
}

/// Every object that an answer has written to: its name becomes part of a path.
fn named(desired: &Desired) -> impl Iterator<Item = &ObjectRef> {
    let deleted = desired.actions.iter().filter_map(|action| match &action.deed {
        Deed::Delete { identity, .. } => Some(identity),
        Deed::Http(_) => None,
    });
    let regarding = desired.events.iter().filter_map(|event| event.regarding.as_ref());
    let children = desired.children.iter().map(|child| &child.identity);
    children.chain(desired.partials.iter().map(|partial| &partial.identity)).chain(deleted).chain(regarding)
}

fn ids(input: &Input<'_>) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    let ids = input.desired.queries.iter().map(|q| &q.id).chain(input.desired.actions.iter().map(|a| &a.id));
    for id in ids {
        if id.is_empty() || id.len() > 253 {
            return Err(malformed(format!("query or action {id:?}"), "needs an id of 1 to 253 bytes"));
        }
        if !seen.insert(id) {
            return Err(malformed(format!("id {id:?}"), "is used twice; ids must be unique within an answer"));
        }
    }
    Ok(())
}

fn conditions(input: &Input<'_>) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for condition in &input.desired.conditions {
        let place = || format!("conditions[{}]", condition.type_);
        if matches!(condition.type_.as_str(), "Reconciling" | "Stalled") {
            return Err(malformed(place(), "is written by the host; use another type"));
        }
        // The patterns and lengths of metav1.Condition.
        let type_ok = word(&condition.type_, 316, |c| matches!(c, '-' | '_' | '.' | '/'));
        if !type_ok || !word(&condition.reason, 1024, |c| matches!(c, '_' | ',' | ':')) {
            return Err(malformed(place(), "needs a type and a reason in CamelCase"));
        }
        if condition.message.len() > 32 * 1024 {
            return Err(malformed(place(), "has a message over 32 KiB; shorten it"));
        }
        if !seen.insert(&condition.type_) {
            return Err(malformed(place(), "is there twice; answer with each type once"));
        }
    }
    Ok(())
}

fn word(text: &str, limit: usize, also: fn(char) -> bool) -> bool {
    text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
        && text.len() <= limit
        && text.chars().all(|c| c.is_ascii_alphanumeric() || also(c))
}

fn samples(input: &Input<'_>) -> Result<(), Rejection> {
    let name_ok = |name: &str| {
        name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for sample in &input.desired.samples {
        if !name_ok(&sample.name) || !sample.labels.iter().all(|(key, _)| name_ok(key)) {
            let place = format!("samples[{}]", sample.name);
            return Err(malformed(place, "needs metric and label names of letters, digits and underscores"));
        }
    }
    Ok(())
}

fn malformed(place: String, why: &str) -> Rejection {
    Rejection::Malformed { place, why: why.to_owned() }
}

/// The child's document as a tree, once it is what its reference says and sets nothing foreign.
pub(super) fn child_document(child: &Child) -> Result<Value, Rejection> {
    let identity = &child.identity;
    let document = child.document.to_value().map_err(|_| mismatch(identity, "is no JSON object"))?;
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let agrees = text("/apiVersion") == Some(&identity.api_version)
        && text("/kind") == Some(&identity.kind)
        && text("/metadata/name") == Some(&identity.name)
        && text("/metadata/namespace") == identity.namespace.as_deref();
    if !agrees || identity.name.is_empty() {
        return Err(mismatch(identity, "names another object, or none"));
    }
    if let Some((field, owner)) = FOREIGN.into_iter().find(|(pointer, _)| document.pointer(pointer).is_some()) {
        return Err(Rejection::ForeignField { identity: identity.clone(), field, owner });
    }
    let set_label = document.get("metadata").and_then(|m| m.get("labels")).and_then(|l| l.get(inventory::PART_OF));
    if set_label.is_some() {
        return Err(Rejection::ForeignField {
            identity: identity.clone(),
            field: inventory::PART_OF,
            owner: "the host",
        });
    }
    Ok(document)
}
