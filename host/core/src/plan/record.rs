//! What the parent itself carries: the set's id, the inventory, the finalizer.

use serde_json::{Map, Value, json};

use super::{Input, Step, finalizer, manager};
use crate::{
    Document, Identity, ObjectRef,
    inventory::{self, Inventory},
};

/// The parent's metadata before the first write and after the last, and what is on record in between.
pub(super) fn records(
    input: &Input<'_>,
    parent: &ObjectRef,
    steps: &[Step],
    prune: &[Step],
) -> (Option<Document>, Option<Document>, Inventory) {
    let metadata = &input.parent.metadata;
    let there = Inventory::read(&metadata.annotations);
    let after = Inventory::of(parent, steps.iter().map(|step| &step.identity));
    let gone = Inventory::of(parent, prune.iter().map(|step| &step.identity));
    // What is on record but has no members any more goes with the next shrink, not before its members are gone.
    let before = there.union(&after).union(&gone);
    let finalizer = finalizer(input.module);
    let release = input.finalizing && input.desired.finalized;
    let has_finalizer = metadata.finalizers.contains(&finalizer);
    let wants_finalizer = input.finalizer && !release && !input.finalizing;
    let stands = there == before
        && metadata.labels.get(inventory::ID) == Some(&inventory::id(parent))
        && (has_finalizer || !wants_finalizer);
    let record_of = |inventory: &Inventory| {
        parent_record(
            input.module,
            input.parent,
            inventory,
            (wants_finalizer || (has_finalizer && !release)).then_some(&*finalizer),
        )
    };
    let nothing_to_record = before == Inventory::default() && !wants_finalizer;
    let record = (!stands && !nothing_to_record && !release).then(|| record_of(&before));
    let shrinks = prune.is_empty() && before != after && steps.iter().all(|step| !step.verb.writes());
    (record, (shrinks && !release).then(|| record_of(&after)), before)
}

/// The parent's metadata once it may go: without the finalizer, with an empty inventory.
pub(super) fn released(input: &Input<'_>) -> Document {
    parent_record(input.module, input.parent, &Inventory::default(), None)
}

/// The parent's metadata without the finalizer, where nobody has cleaned up: the inventory stays for whoever wants to.
pub(super) fn abandoned(module: &str, parent: &Identity) -> Document {
    parent_record(module, parent, &Inventory::read(&parent.metadata.annotations), None)
}

fn parent_record(module: &str, identity: &Identity, inventory: &Inventory, finalizer: Option<&str>) -> Document {
    let parent = identity.object_ref();
    let mut annotations: Map<String, Value> =
        inventory.annotations().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    annotations.insert(inventory::TOOLING.into(), format!("{}/v1", manager(module)).into());
    let mut metadata = json!({
        "name": parent.name, "labels": {(inventory::ID): inventory::id(&parent)}, "annotations": annotations,
    });
    if let Some(map) = metadata.as_object_mut() {
        if let Some(namespace) = &parent.namespace {
            map.insert("namespace".into(), namespace.clone().into());
        }
        if let Some(finalizer) = finalizer {
            map.insert("finalizers".into(), json!([finalizer]));
        }
        // An apply makes what does not exist: without the uid, a parent that went meanwhile would come back empty.
        let uid = &identity.metadata.uid;
        if !uid.is_empty() {
            map.insert("uid".into(), uid.as_str().into());
        }
    }
    Document::from_value(&json!({"apiVersion": parent.api_version, "kind": parent.kind, "metadata": metadata}))
}
