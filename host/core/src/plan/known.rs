//! Children that an earlier plan of the same parent found as wanted. While neither the answer nor the object has changed, they need
//! not be read and compared again: of a settled parent that is most of the work.

use std::{collections::BTreeMap, sync::Arc};

use super::{Input, Step, Verb};
use crate::{Child, Document, ObjectRef, Readiness, Strategy, handed};

/// What an earlier plan found as wanted, under the same grants. Losing it costs time, never a decision; a plan of another parent makes
/// nothing of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known(BTreeMap<ObjectRef, Arc<AsWanted>>);

/// One child that was as wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AsWanted {
    /// A hash of all that is wanted of it.
    wanted: blake3::Hash,
    /// The object at that time; it is shared with the cache, and so costs nothing.
    there: Document,
    step: Step,
}

impl Known {
    /// What is known of a child, if it and its object are what they were. `wanted` is its [`fingerprint`].
    pub(super) fn of(&self, input: &Input<'_>, child: &Child, wanted: blake3::Hash) -> Option<Arc<AsWanted>> {
        let known = self.0.get(&child.identity).filter(|known| known.wanted == wanted)?;
        (input.existing.get(&child.identity) == Some(&known.there)).then(|| Arc::clone(known))
    }

    /// Keeps what is known of a child.
    pub(super) fn keep(&mut self, known: Arc<AsWanted>) {
        self.0.insert(known.step.identity.clone(), known);
    }
}

impl AsWanted {
    /// What a plan decided about a child, if that may be taken from here the next time.
    pub(super) fn new(input: &Input<'_>, step: &Step, wanted: blake3::Hash) -> Option<Arc<Self>> {
        let there = input.existing.get(&step.identity).filter(|_| step.verb == Verb::Unchanged)?;
        Some(Arc::new(Self { wanted, there: there.clone(), step: Step { stage: 0, ..step.clone() } }))
    }

    /// What to do with the child now. Stages only order children, and say nothing about one of them.
    pub(super) fn step(&self, stage: u32) -> Step {
        Step { stage, ..self.step.clone() }
    }
}

/// All that a step rests on beside the object itself.
pub(super) fn fingerprint(input: &Input<'_>, parent: &ObjectRef, child: &Child) -> blake3::Hash {
    let strategy: u8 = match child.strategy {
        Strategy::Apply => 0,
        Strategy::RecreateOnImmutable => 1,
        Strategy::CreateOnce => 2,
        Strategy::OnDelete => 3,
    };
    let readiness: u8 = match child.readiness {
        Readiness::Exists => 0,
        Readiness::Status => 1,
        Readiness::Condition => 2,
    };
    let mut hasher = blake3::Hasher::new();
    // What a binding may bind to rests on the other children.
    let others = input.desired.children.iter().map(|child| &child.identity);
    let others = others.filter(|_| handed::is_binding(&child.identity)).filter(|other| handed::is_role(other));
    let texts = [parent].into_iter().chain(others).flat_map(|object| {
        [&*object.api_version, &*object.kind, object.namespace.as_deref().unwrap_or_default(), &*object.name]
    });
    for text in texts.chain([&*input.parent.metadata.uid]) {
        // None of them has a zero byte.
        hasher.update(text.as_bytes()).update(&[0]);
    }
    hasher.update(&[input.finalizer.into(), strategy, readiness]).update(child.document.bytes()).finalize()
}
