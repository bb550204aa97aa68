//! One call: a fresh store, a fresh instance, and nothing left behind.

use std::{sync::Arc, time::Instant};

use operator_core::{Failure, FailureKind, Generation};
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    Budget, Metering, Usage, answer,
    bindings::{Exports, Reply},
    engine::Core,
    failure,
    limits::Limits,
    logger::Log,
    pool::{Load, Slot},
    ticker::TICK_MS,
};

/// Handles that a module may hold; it has no use for any, but a component that imports WASI may.
const HANDLES: usize = 256;

/// What a store holds beside the instance.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) log: Log,
}

/// What is left of a call: its store, which clears its memory when it is dropped, and the slot that it takes until then. A third of a small
/// call is that, so whoever waits for the answer gets it before.
#[must_use = "dropping it before the answer is handed over lets the caller wait for it"]
pub(crate) struct Spent<'a> {
    // Dropped in this order: the slot outlives the store.
    _store: Option<Store<State>>,
    _slot: Option<Slot<'a>>,
}

/// What a call gives.
pub(crate) struct Called<'a, T> {
    pub(crate) answer: Result<T, Failure>,
    pub(crate) usage: Usage,
    pub(crate) spent: Spent<'a>,
}

/// A component that can be called.
pub(crate) struct Prepared {
    pub(crate) core: Arc<Core>,
    pub(crate) generation: Generation,
    pub(crate) budget: Budget,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    /// Its calls on the engine's threads.
    pub(crate) load: Arc<Load>,
}

impl Prepared {
    /// Calls one function on this thread. `ask` gets a fresh instance; `judge` sees what it answered.
    pub(crate) fn call<T>(
        &self,
        function: &'static str,
        ask: impl FnOnce(&Exports, &mut Store<State>, &Instance) -> Reply<T>,
        judge: impl FnOnce(&T, &Budget) -> Result<(), FailureKind>,
    ) -> Called<'_, T> {
        let (slot, (store, answer, usage)) = match self.slot() {
            Ok(slot) => (Some(slot), self.run(function, ask, judge)),
            Err(kind) => (None, (None, Err(kind), Usage::default())),
        };
        let answer = answer.map_err(|kind| self.failure(function, kind));
        if let Some(observer) = &self.core.config.observer {
            observer(&self.generation, function, &usage, answer.as_ref().err());
        }
        Called { answer, usage, spent: Spent { _store: store, _slot: slot } }
    }

    /// A failure of this module.
    pub(crate) fn failure(&self, function: &'static str, kind: FailureKind) -> Failure {
        Failure { module: self.generation.clone(), function, kind }
    }

    /// A slot, which must outlive the store.
    pub(crate) fn slot(&self) -> Result<Slot<'_>, FailureKind> {
        let started = Instant::now();
        let waited = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.core.slots.take(self.core.config.max_wait).ok_or_else(|| FailureKind::Busy { waited_ms: waited() })
    }

    fn run<T>(
        &self,
        function: &'static str,
        ask: impl FnOnce(&Exports, &mut Store<State>, &Instance) -> Reply<T>,
        judge: impl FnOnce(&T, &Budget) -> Result<(), FailureKind>,
    ) -> (Option<Store<State>>, Result<T, FailureKind>, Usage) {
        let started = Instant::now();
        let mut store = match self.store() {
            Ok(store) => store,
            Err(error) => return (None, Err(FailureKind::Host(format!("{error:#}"))), Usage::default()),
        };
        let reply = self.pre.instantiate(&mut store).and_then(|instance| ask(&self.exports, &mut store, &instance));
        let answer = match reply {
            Ok(None) => Err(FailureKind::NotExported),
            Ok(Some(Err(refusal))) => {
                Err(answer::refusal(&refusal, &self.budget).err().unwrap_or(FailureKind::Refused(refusal)))
            }
            Ok(Some(Ok(answer))) => judge(&answer, &self.budget).map(|()| answer),
            Err(error) => Err(failure::kind(function, &error, store.data().limits.refused(), &self.budget)),
        };
        let usage = self.usage(&store, started);
        (Some(store), answer, usage)
    }

    /// A fresh store with this module's budget.
    pub(crate) fn store(&self) -> wasmtime::Result<Store<State>> {
        let state = State { limits: Limits::new(&self.budget), log: Log::new(&self.generation, &self.budget) };
        let mut store = Store::new(&self.core.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(failure::hostcall_fuel(&self.budget));
        store.set_max_component_handles(HANDLES);
        match self.core.config.metering {
            // The tick under way counts as one, and must not shorten the time.
            Metering::Deadline => {
                store.set_epoch_deadline(u64::from(self.budget.time_ms) / TICK_MS + 1);
            }
            Metering::Instructions => store.set_fuel(self.budget.instructions)?,
        }
        Ok(store)
    }

    fn usage(&self, store: &Store<State>, started: Instant) -> Usage {
        let instructions = match self.core.config.metering {
            Metering::Deadline => None,
            Metering::Instructions => store.get_fuel().ok().map(|left| self.budget.instructions.saturating_sub(left)),
        };
        let state = store.data();
        Usage {
            time: started.elapsed(),
            memory_bytes: state.limits.memory() as u64,
            instructions,
            log_lines: state.log.lines(),
        }
    }
}
