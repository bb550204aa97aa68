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
        steps.push(withdraw(identity, object, &manager));
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
    let mut wanted = partial.document.to_value().map_err(|_| mismatch(identity, "is no JSON object"))?;
    grants::partial(input.grants, identity, &wanted)?;
    let Some(existing) = held.or_else(|| input.existing.get(identity)) else {
        // A partial never creates: when its object is gone there is nothing to label.
        return Ok(None);
    };
    let existing = existing.to_value().map_err(|_| mismatch(identity, "is unreadable in the cache"))?;
    merge(&mut wanted, bare(identity, &existing));
    let mut changes = diff::changes(&wanted, &existing);
    let (held, named) = (held_keys(&existing, manager), wanted_keys(&wanted));
    changes.extend(held.difference(&named).map(|key| taken_back(&existing, key)));
    let same_fields = held == named;
    let verb = if changes.is_empty() && same_fields { PartialVerb::Unchanged } else { PartialVerb::Set };
    let document = Document::from_value(&wanted);
    Ok(Some(PartialStep { identity: identity.clone(), verb, document, changes }))
}

fn withdraw(identity: &ObjectRef, object: &Document, manager: &str) -> PartialStep {
    let object = object.to_value().unwrap_or_default();
    PartialStep {
        identity: identity.clone(),
        verb: PartialVerb::Withdraw,
        document: Document::from_value(&bare(identity, &object)),
        changes: held_keys(&object, manager).iter().map(|key| taken_back(&object, key)).collect(),
    }
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

/// The label and annotation keys that a manager owns, from `metadata.managedFields`.
fn held_keys(object: &Value, manager: &str) -> BTreeSet<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let ours = entries.filter(|entry| entry.get("manager").and_then(Value::as_str) == Some(manager));
    let mut keys = BTreeSet::new();
    for entry in ours {
        for part in ["labels", "annotations"] {
            let fields = entry.pointer(&format!("/fieldsV1/f:metadata/f:{part}")).and_then(Value::as_object);
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
