//! What is remembered of parents between reconciles. Losing it costs calls and time, never a decision.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use operator_core::{Action, Event, ObjectRef, Query, plan::Known, status::Told};

use crate::{
    awaited::Awaited,
    concern::Concern,
    settled::Settled,
    store::{Change, Kind},
};

/// What is remembered of one parent. All of it is shared, so that a copy costs next to nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// What the module wants to know.
    pub(crate) queries: Arc<[Query]>,
    /// The actions of its last answer.
    pub(crate) actions: Arc<[Action]>,
    /// The events of its last answer.
    pub(crate) events: Arc<[Event]>,
    /// The last reconcile, if it changed nothing.
    pub(crate) settled: Option<Arc<Settled>>,
    /// Objects that its last answer names and that do not belong to its set: what it sets fields on, and what is in its way.
    pub(crate) named: Arc<[ObjectRef]>,
    /// What was written and is not seen yet.
    pub(crate) awaited: Awaited,
    /// What the last plan found as wanted.
    pub(crate) known: Arc<Known>,
    /// How often in a row the server refused what was to be written.
    pub(crate) refusals: u32,
    /// What the parent's status showed already.
    pub(crate) told: Option<Arc<Told>>,
}

/// What is remembered of all parents of a module.
#[derive(Default)]
pub(crate) struct Memories(Mutex<HashMap<ObjectRef, Memory>>);

impl Memories {
    /// What is wanted of what is remembered of this parent, which is nothing when it is new.
    pub(crate) fn recall<T>(&self, parent: &ObjectRef, wanted: impl FnOnce(&Memory) -> T) -> T {
        match self.all().get(parent) {
            Some(memory) => wanted(memory),
            None => wanted(&Memory::default()),
        }
    }

    /// Changes what is remembered of this parent.
    pub(crate) fn change(&self, parent: &ObjectRef, change: impl FnOnce(&mut Memory)) {
        let mut all = self.all();
        match all.get_mut(parent) {
            Some(memory) => change(memory),
            None => change(all.entry(parent.clone()).or_default()),
        }
    }

    /// The parents of which something is remembered that a change touches. `held` are the fields that matter of what they name without
    /// owning it.
    pub(crate) fn concerned(&self, kind: &Kind, change: &Change, held: &[String]) -> Vec<ObjectRef> {
        let all = self.all();
        let concern = Concern::new(kind, change, held);
        all.iter().filter(|(_, memory)| concern.touches(memory)).map(|(parent, _)| parent.clone()).collect()
    }

    /// This parent is gone.
    pub(crate) fn forget(&self, parent: &ObjectRef) {
        self.all().remove(parent);
    }

    /// What another version of the module remembered. Its settings and grants may differ, and with them every answer and plan.
    pub(crate) fn take_over(&self, before: &Self) {
        let mut memories = before.all().clone();
        for memory in memories.values_mut() {
            (memory.settled, memory.known) = (None, Arc::default());
        }
        *self.all() = memories;
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ObjectRef, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
