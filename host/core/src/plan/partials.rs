//! Fields on objects that the module does not own: set while wanted, withdrawn afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Input, PartialStep, PartialVerb, check::mismatch, partial_manager};
use crate::{
    Document, ObjectRef, Partial, Rejection,
    diff::{self, Change},
    grants,
};

/// One step for each object that is named now or held since an earlier answer.
pub(super) fn steps(input: &Input<'_>) -> Result<Vec<PartialStep>, Rejection> {
    let nothing_wanted = input.finalizing && input.desired.finalized;
    let wanted: &[Partial] = if nothing_wanted { &[] } else { &input.desired.partials };
    let manager = partial_manager(input.module, &input.parent.object_ref());
    let held: BTreeMap<&ObjectRef, &Document> = input.held.iter().map(|o| (&o.identity, &o.document)).collect();
    let mut named = BTreeSet::new();
    let mut steps = Vec::new();
    for partial in wanted {
        if !named.insert(&partial.identity) {
            return Err(Rejection::Duplicate { identity: partial.identity.clone() });
        }
        if !input.finalizer {
            let (identity, parent) = (partial.identity.clone(), input.parent.object_ref());
            return Err(Rejection::NeedsFinalizer { identity, parent });
        }
        steps.extend(set(input, partial, held.get(&partial.identity).copied(), &manager)?);
    }
    for (identity, object) in held.iter().filter(|(identity, _)| !named.contains(**identity)) {
        steps.extend(withdraw(input, identity, object, &manager));
    }
    steps.sort_by(|a, b| a.identity.cmp(&b.identity));
    Ok(steps)
}

fn set(
    input: &Input<'_>,
    partial: &Partial,
    held: Option<&Document>,
    manager: &str,
) -> Result<Option<PartialStep>, Rejection> {
    let identity = &partial.identity;
    let wanted = partial.document.to_value().map_err(|_| mismatch(identity, "is no JSON object"))?;
    grants::partial(input.grants, identity, &wanted, input.place)?;
    let Some(existing) = held.or_else(|| input.existing.get(identity)) else {
        // A partial never creates: when its object is gone there is nothing to label.
        return Ok(None);
    };
    let existing = existing.to_value().map_err(|_| mismatch(identity, "is unreadable in the cache"))?;
    let mut all = kept(input, identity, &existing, manager);
    merge(&mut all, wanted);
    merge(&mut all, bare(identity, &existing));
    let wanted = all;
    let mut changes = diff::changes(&wanted, &existing);
    let (held, named) = (held_keys(&existing, manager), wanted_keys(&wanted));
    changes.extend(held.difference(&named).map(|key| taken_back(&existing, key)));
    let same_fields = held == named;
    let verb = if changes.is_empty() && same_fields { PartialVerb::Unchanged } else { PartialVerb::Set };
    let document = Document::from_value(&wanted);
    Ok(Some(PartialStep { identity: identity.clone(), verb, document, changes }))
}

/// None where nothing is left to take back: what cannot be withdrawn stays held for good.
fn withdraw(input: &Input<'_>, identity: &ObjectRef, object: &Document, manager: &str) -> Option<PartialStep> {
    let object = object.to_value().unwrap_or_default();
    let mut document = kept(input, identity, &object, manager);
    let held = held_keys(&object, manager);
    if held.is_empty() && document != Value::Null {
        return None;
    }
    merge(&mut document, bare(identity, &object));
    Some(PartialStep {
        identity: identity.clone(),
        verb: PartialVerb::Withdraw,
        document: Document::from_value(&document),
        changes: held.iter().map(|key| taken_back(&object, key)).collect(),
    })
}

/// The fields that are held beside labels and annotations, as they are; null without any. Whoever applies a document without them has
/// them removed, and nobody knows what they were: a claim cannot shrink again.
fn kept(input: &Input<'_>, identity: &ObjectRef, object: &Value, manager: &str) -> Value {
    let mut kept = Value::Null;
    for path in grants::partial_rules(input.grants, identity).flat_map(|rule| &rule.fields) {
        let steps: Vec<&str> = path.split('.').collect();
        let claimed = format!("/f:{}", steps.join("/f:"));
        let value = object.pointer(&format!("/{}", steps.join("/")));
        let Some(value) = value.filter(|_| claims(object, manager).any(|claim| claim.pointer(&claimed).is_some()))
        else {
            continue;
        };
        merge(&mut kept, steps.iter().rev().fold(value.clone(), |inner, step| json!({(*step): inner})));
    }
    kept
}

fn taken_back(object: &Value, key: &str) -> Change {
    let (part, name) = key.split_once('/').unwrap_or((key, ""));
    let before = object.get("metadata").and_then(|m| m.get(part)).and_then(|fields| fields.get(name));
    Change { path: format!("metadata.{part}[\"{name}\"]"), before: before.cloned(), after: None }
}

/// Exactly this object, without any of its fields: an apply makes what does not exist, such as an empty node in the place of one that
/// went meanwhile.
fn bare(identity: &ObjectRef, existing: &Value) -> Value {
    let mut metadata = json!({"name": identity.name});
    if let Some(map) = metadata.as_object_mut() {
        map.extend(identity.namespace.clone().map(|namespace| ("namespace".to_owned(), namespace.into())));
        map.extend(existing.pointer("/metadata/uid").cloned().map(|uid| ("uid".to_owned(), uid)));
    }
    json!({"apiVersion": identity.api_version, "kind": identity.kind, "metadata": metadata})
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The fields that a manager owns, from `metadata.managedFields`.
fn claims<'a>(object: &'a Value, manager: &str) -> impl Iterator<Item = &'a Value> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(move |entry| entry.get("manager").and_then(Value::as_str) == Some(manager))
        .filter_map(|entry| entry.get("fieldsV1"))
}

/// The label and annotation keys among them.
pub(super) fn held_keys(object: &Value, manager: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for claim in claims(object, manager) {
        for part in ["labels", "annotations"] {
            let fields = claim.pointer(&format!("/f:metadata/f:{part}")).and_then(Value::as_object);
            keys.extend(
                fields
                    .into_iter()
                    .flatten()
                    .filter_map(|(key, _)| key.strip_prefix("f:").map(|key| format!("{part}/{key}"))),
            );
        }
    }
    keys
}

fn wanted_keys(document: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for part in ["labels", "annotations"] {
        let fields = document.pointer(&format!("/metadata/{part}")).and_then(Value::as_object);
        keys.extend(fields.into_iter().flatten().map(|(key, _)| format!("{part}/{key}")));
    }
    keys
}
