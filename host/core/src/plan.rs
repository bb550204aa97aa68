//! From an answer to a decision: what to create, change, leave alone and prune. The only place that makes a [`Plan`].

mod check;
mod children;
mod known;
mod order;
mod ownership;
mod partials;
mod record;

use std::{collections::BTreeMap, fmt};

use operator_contract::Grants;

pub use known::Known;
pub use ownership::ADOPT;
pub(crate) use ownership::adoptable;

use crate::{
    Child, Desired, Document, Identity, ObjectRef, Observed, Rejection,
    diff::Change,
    grants::Place,
    inventory::{self, Inventory},
    readiness::Standing,
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
    /// What the plan before this one knew; the default when there was none.
    pub known: &'a Known,
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
    /// Objects to delete, after everything else, and those that are being deleted already ([`Verb::Wait`]).
    pub prune: Vec<Step>,
    /// Where members may be, until the inventory shrinks.
    pub recorded: Inventory,
    /// The parent's metadata after pruning; none when the inventory does not shrink.
    pub shrink: Option<Document>,
    /// The parent's metadata without the finalizer, to apply once everything to prune is gone; none while it must stay.
    pub release: Option<Document>,
    /// What the next plan of this parent need not look at again.
    pub known: Known,
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
    /// Whether it is ready as soon as it exists.
    pub exists_suffices: bool,
    /// Whether a refused change of an immutable field leads to delete and create.
    pub recreate: bool,
    /// Whether it is only ever made, and never written when it exists.
    pub once: bool,
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
    /// It exists, belongs to nobody, and may become this parent's: take it over.
    Adopt,
    /// It is as wanted.
    Unchanged,
    /// Its strategy says to leave it alone.
    Keep,
    /// An earlier stage is not ready, or the object is on its way out already.
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
        self.waits(false)
    }

    /// What is not as it should be once this plan is carried out: objects that only have to exist do so then.
    pub fn waiting_after(&self) -> Vec<String> {
        self.waits(true)
    }

    fn waits(&self, carried_out: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for step in self.steps.iter().chain(&self.prune) {
            match (&step.standing, step.verb) {
                (_, Verb::Create | Verb::Update | Verb::Adopt) if carried_out && step.exists_suffices => {}
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
    ordered.sort_by_key(|child| (child.stage, order::rank(&child.identity), &child.identity));
    let (mut steps, mut unmarked) = (Vec::with_capacity(ordered.len()), Vec::new());
    let (mut open_stage, mut known) = (u32::MAX, Known::default());
    for child in ordered {
        let wanted = known::fingerprint(&input, &parent, child);
        let as_wanted = input.known.of(&input, child, wanted);
        let step = if let Some(as_wanted) = &as_wanted {
            as_wanted.step(child.stage)
        } else if let Some(step) = children::step(&input, &parent, child, child.stage > open_stage)? {
            step
        } else {
            unmarked.push(child.identity.clone());
            continue;
        };
        if let Some(as_wanted) = as_wanted.or_else(|| known::AsWanted::new(&input, &step, wanted)) {
            known.keep(as_wanted);
        }
        let settled = !step.verb.writes() && step.standing.is_current();
        if !settled {
            open_stage = open_stage.min(step.stage);
        }
        steps.push(step);
    }
    if !unmarked.is_empty() {
        return Err(Rejection::AlreadyExists { objects: unmarked, parent });
    }
    let prune = children::prune(&input, &parent, &steps)?;
    let partials = partials::steps(&input)?;
    let (record, shrink, recorded) = record::records(&input, &parent, &steps, &prune);
    let release = (input.finalizing && input.desired.finalized).then(|| record::released(&input));
    Ok(Plan { parent, record, steps, partials, prune, recorded, shrink, release, known, sealed: Sealed })
}

/// The parent's metadata without the finalizer, for a parent that is let go by an administrator's rule although nobody has cleaned up after
/// it.
pub fn abandoned(module: &str, parent: &Identity) -> Document {
    record::abandoned(module, parent)
}

/// The finalizer that a module's parents carry.
pub fn finalizer(module: &str) -> String {
    format!("operator.scone.cloud/{module}")
}

/// What the name of every field manager of this operator begins with.
const MANAGERS: &str = "operator.scone.cloud-";
/// What follows the module in the field managers of [`partial_manager`].
const ON_BEHALF: &str = "-on-behalf-";

/// The field manager of a module's children and of its parents' metadata.
pub fn manager(module: &str) -> String {
    format!("{MANAGERS}{module}")
}

/// The field manager of a module's status.
pub fn status_manager(module: &str) -> String {
    format!("{MANAGERS}{module}-status")
}

/// The field manager of what one parent holds on objects that it does not own. One per parent, so that two parents of one
/// module do not withdraw each other's labels; at most 128 bytes, which is what the API server takes.
pub fn partial_manager(module: &str, parent: &ObjectRef) -> String {
    let hash: String = blake3::hash(inventory::id(parent).as_bytes()).to_hex().chars().take(12).collect();
    format!("{MANAGERS}{module}{ON_BEHALF}{hash}")
}

/// Whether an object carries labels or annotations of this field manager.
pub fn holds_labels(object: &serde_json::Value, manager: &str) -> bool {
    !partials::held_keys(object, manager).is_empty()
}

/// Whether a field manager is one of [`partial_manager`]: of all claims, a plan reads only theirs.
pub fn is_partial_manager(name: &str) -> bool {
    name.starts_with(MANAGERS) && name.contains(ON_BEHALF)
}

#[cfg(test)]
mod tests;
