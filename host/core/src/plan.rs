//! From an answer to a decision: what to create, change, leave alone and prune. The only place that makes a [`Plan`].

mod check;
mod partials;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use operator_contract::Grants;
use serde_json::{Map, Value, json};

use crate::{
    Child, Desired, Document, Identity, ObjectRef, Observed, Rejection, Strategy,
    diff::{self, Change},
    grants::{self, Place},
    inventory::{self, Inventory},
    readiness::{self, Standing},
};

/// Annotation of children: a hash of all fields that were applied last, so that a field that is no longer wanted is noticed.
pub const DIGEST: &str = "operator.scone.cloud/digest";

/// Largest object that is sent to the API server, in bytes; etcd refuses requests above 1.5 MiB.
pub const OBJECT_LIMIT: usize = 1024 * 1024;

/// Everything that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The module's name.
    pub module: &'a str,
    /// What it may do.
    pub grants: &'a Grants,
    /// Whether its manifest asks for a finalizer.
    pub finalizer: bool,
    /// What `Parent` and `Target` mean in its grants.
    pub place: Place<'a>,
    /// The parent.
    pub parent: &'a Identity,
    /// Whether the parent is being deleted.
    pub finalizing: bool,
    /// The objects that carry the label of the parent's set.
    pub members: &'a [Observed],
    /// The objects that the answer names, as far as they exist.
    pub existing: &'a BTreeMap<ObjectRef, Document>,
    /// Objects on which this parent holds fields without owning them.
    pub held: &'a [Observed],
    /// The answer.
    pub desired: &'a Desired,
}

/// What will be done. Only [`plan`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The parent.
    pub parent: ObjectRef,
    /// The parent's metadata (set id, inventory, finalizer) to apply before anything else; none when it stands already.
    pub record: Option<Document>,
    /// Children, in the order in which they are applied.
    pub steps: Vec<Step>,
    /// Fields on other objects.
    pub partials: Vec<PartialStep>,
    /// Objects to delete, after everything else.
    pub prune: Vec<Step>,
    /// The parent's metadata after pruning; none when the inventory does not shrink.
    pub shrink: Option<Document>,
    /// The parent's metadata without the finalizer, to apply once everything to prune is gone; none while it must stay.
    pub release: Option<Document>,
    sealed: Sealed,
}

/// Keeps others from making a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
struct Sealed;

/// One decision about one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which object.
    pub identity: ObjectRef,
    /// What to do.
    pub verb: Verb,
    /// The stage it belongs to.
    pub stage: u32,
    /// What to apply; none when nothing is written.
    pub document: Option<Document>,
    /// Why: the fields that differ.
    pub changes: Vec<Change>,
    /// Where the object stands now.
    pub standing: Standing,
    /// Whether a refused change of an immutable field leads to delete and create.
    pub recreate: bool,
    /// The UID of the existing object.
    pub uid: Option<String>,
}

/// What to do with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It does not exist.
    Create,
    /// It differs.
    Update,
    /// It exists and belongs to nobody: take it over.
    Adopt,
    /// It is as wanted.
    Unchanged,
    /// Its strategy says to leave it alone.
    Keep,
    /// An earlier stage is not ready.
    Wait,
    /// It is no longer wanted.
    Prune,
}

/// One decision about fields on an object that the module does not own.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialStep {
    /// Which object.
    pub identity: ObjectRef,
    /// What to do.
    pub verb: PartialVerb,
    /// What to apply under the parent's own field manager.
    pub document: Document,
    /// The fields that differ.
    pub changes: Vec<Change>,
}

/// What to do with fields on an object that the module does not own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialVerb {
    /// Set them.
    Set,
    /// They stand already.
    Unchanged,
    /// Give them up.
    Withdraw,
}

impl Verb {
    /// Whether the API server is written to.
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Adopt | Self::Prune)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Adopt => "adopt",
            Self::Unchanged => "unchanged",
            Self::Keep => "keep",
            Self::Wait => "wait",
            Self::Prune => "prune",
        })
    }
}

impl fmt::Display for PartialVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Set => "set",
            Self::Unchanged => "unchanged",
            Self::Withdraw => "withdraw",
        })
    }
}

impl Plan {
    /// Whether anything is written to objects other than the parent.
    pub fn writes(&self) -> bool {
        self.steps.iter().chain(&self.prune).any(|step| step.verb.writes())
            || self.partials.iter().any(|step| step.verb != PartialVerb::Unchanged)
    }

    /// What is not as it should be yet, one line each; empty when everything stands.
    pub fn waiting(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for step in self.steps.iter().chain(&self.prune) {
            match (&step.standing, step.verb) {
                (_, Verb::Prune) => lines.push(format!("{}: to be deleted", step.identity)),
                (_, Verb::Create) => lines.push(format!("{}: to be created", step.identity)),
                (_, Verb::Update | Verb::Adopt) => lines.push(format!("{}: to be changed", step.identity)),
                (Standing::InProgress(what) | Standing::Failed(what), _) => {
                    lines.push(format!("{}: {what}", step.identity));
                }
                (Standing::Terminating, _) => lines.push(format!("{}: being deleted", step.identity)),
                (Standing::NotFound, Verb::Wait) => {
                    lines.push(format!("{}: waits for an earlier stage", step.identity));
                }
                _ => {}
            }
        }
        lines
    }
}

/// The form in which goldens and logs show a plan: one line an object, its changes below.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps.iter().chain(&self.prune) {
            writeln!(f, "{:<9} {}", step.verb, step.identity)?;
            for change in &step.changes {
                writeln!(f, "          {change}")?;
            }
        }
        for step in &self.partials {
            writeln!(f, "{:<9} {}", step.verb, step.identity)?;
            for change in &step.changes {
                writeln!(f, "          {change}")?;
            }
        }
        Ok(())
    }
}

/// Decides what an answer leads to. Pure and idempotent: once a plan is carried out, the same answer gives a plan that
/// writes nothing.
///
/// # Errors
/// A [`Rejection`] for the first thing in the answer that is not allowed; nothing of it may be applied then.
pub fn plan(input: Input<'_>) -> Result<Plan, Rejection> {
    let parent = input.parent.object_ref();
    check::answer(&input)?;
    let children: &[Child] = if input.finalizing && input.desired.finalized { &[] } else { &input.desired.children };
    let mut ordered: Vec<&Child> = children.iter().collect();
    ordered.sort_by(|a, b| (a.stage, &a.identity).cmp(&(b.stage, &b.identity)));
    let mut steps = Vec::with_capacity(ordered.len());
    let mut open_stage = u32::MAX;
    for child in ordered {
        let step = step(&input, &parent, child, child.stage > open_stage)?;
        let settled = !step.verb.writes() && step.standing.is_current();
        if !settled {
            open_stage = open_stage.min(step.stage);
        }
        steps.push(step);
    }
    let prune = prune(&input, &parent, &steps)?;
    let partials = partials::steps(&input)?;
    let (record, shrink) = records(&input, &parent, &steps, &prune);
    let release = (input.finalizing && input.desired.finalized)
        .then(|| parent_record(&input, &parent, &Inventory::default(), None));
    Ok(Plan { parent, record, steps, partials, prune, shrink, release, sealed: Sealed })
}

fn step(input: &Input<'_>, parent: &ObjectRef, child: &Child, held_back: bool) -> Result<Step, Rejection> {
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
        recreate: child.strategy == Strategy::RecreateOnImmutable,
        uid: existing.as_ref().and_then(uid_of),
    })
}

/// The child's document with what the host adds: the set's label, the owner, the digest.
fn complete(input: &Input<'_>, parent: &ObjectRef, child: &Child) -> Result<Value, Rejection> {
    let mut document = check::child_document(child)?;
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

fn is_member(object: &Value, parent: &ObjectRef) -> bool {
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

/// What to delete: members that the answer no longer names, of kinds that this module may touch, never anything else.
fn prune(input: &Input<'_>, parent: &ObjectRef, steps: &[Step]) -> Result<Vec<Step>, Rejection> {
    let wanted: BTreeSet<&ObjectRef> = steps.iter().map(|step| &step.identity).collect();
    let mut prune = Vec::new();
    for member in input.members.iter().filter(|member| !wanted.contains(&member.identity)) {
        let object = member.document.to_value().map_err(|_| check::mismatch(&member.identity, "is unreadable"))?;
        let ours = is_member(&object, parent) && foreign_owner_of_member(&object, input.parent).is_none();
        if !ours || grants::child(input.grants, &member.identity, input.place).is_err() {
            continue;
        }
        if object.pointer("/metadata/deletionTimestamp").is_none() {
            prune.push(Step {
                identity: member.identity.clone(),
                verb: Verb::Prune,
                stage: 0,
                document: None,
                changes: Vec::new(),
                standing: Standing::Current,
                recreate: false,
                uid: uid_of(&object),
            });
        }
    }
    Ok(prune)
}

fn foreign_owner_of_member(object: &Value, parent: &Identity) -> Option<String> {
    foreign_owner(object, parent).filter(|owner| !owner.starts_with("the set "))
}

/// The parent's metadata before the first write and after the last.
fn records(
    input: &Input<'_>,
    parent: &ObjectRef,
    steps: &[Step],
    prune: &[Step],
) -> (Option<Document>, Option<Document>) {
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
        parent_record(input, parent, inventory, (wants_finalizer || (has_finalizer && !release)).then_some(&*finalizer))
    };
    let nothing_to_record = before == Inventory::default() && !wants_finalizer;
    let record = (!stands && !nothing_to_record && !release).then(|| record_of(&before));
    let shrinks = prune.is_empty() && before != after && steps.iter().all(|step| !step.verb.writes());
    (record, (shrinks && !release).then(|| record_of(&after)))
}

fn parent_record(input: &Input<'_>, parent: &ObjectRef, inventory: &Inventory, finalizer: Option<&str>) -> Document {
    let mut annotations: Map<String, Value> =
        inventory.annotations().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    annotations.insert(inventory::TOOLING.into(), format!("{}/v1", manager(input.module)).into());
    let mut metadata = json!({
        "name": parent.name, "labels": {(inventory::ID): inventory::id(parent)}, "annotations": annotations,
    });
    if let Some(map) = metadata.as_object_mut() {
        if let Some(namespace) = &parent.namespace {
            map.insert("namespace".into(), namespace.clone().into());
        }
        if let Some(finalizer) = finalizer {
            map.insert("finalizers".into(), json!([finalizer]));
        }
    }
    Document::from_value(&json!({"apiVersion": parent.api_version, "kind": parent.kind, "metadata": metadata}))
}

/// The finalizer that a module's parents carry.
pub fn finalizer(module: &str) -> String {
    format!("operator.scone.cloud/{module}")
}

/// The field manager of a module's children and of its parents' metadata.
pub fn manager(module: &str) -> String {
    format!("operator.scone.cloud-{module}")
}

/// The field manager of a module's status.
pub fn status_manager(module: &str) -> String {
    format!("operator.scone.cloud-{module}-status")
}

/// The field manager of what one parent holds on objects that it does not own. One per parent, so that two parents of one
/// module do not withdraw each other's labels; at most 128 bytes, which is what the API server takes.
pub fn partial_manager(module: &str, parent: &ObjectRef) -> String {
    let hash: String = blake3::hash(inventory::id(parent).as_bytes()).to_hex().chars().take(12).collect();
    format!("operator.scone.cloud-{module}-on-behalf-{hash}")
}

#[cfg(test)]
mod tests;
