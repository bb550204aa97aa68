//! What should exist: a builder that turns typed objects into documents.

use kube::Resource;
use serde::Serialize;

use crate::{Action, Condition, Event, Failure, ObjectRef, Partial, Query, Readiness, Sample, Strategy, wire};

/// What should exist, and what to say about it. Every method adds to what is there.
///
/// What was made earlier and is not named in an answer is pruned by the host.
#[derive(Clone, Debug)]
pub struct Desired {
    wire: wire::Desired,
    /// What could not be written as JSON. The whole answer fails with it: half an answer would prune what is missing.
    unwritable: Option<String>,
}

impl Default for Desired {
    fn default() -> Self {
        let wire = wire::Desired {
            children: Vec::new(),
            partials: Vec::new(),
            status: None,
            conditions: Vec::new(),
            events: Vec::new(),
            samples: Vec::new(),
            queries: Vec::new(),
            actions: Vec::new(),
            requeue: None,
            finalized: false,
            extensions: Vec::new(),
        };
        Self { wire, unwritable: None }
    }
}

impl Desired {
    /// Nothing should exist.
    pub fn new() -> Self {
        Self::default()
    }

    /// An object that should exist: a reference to any typed object, or a [`Child`] with its options.
    #[must_use]
    pub fn child(mut self, child: impl Into<Child>) -> Self {
        let Child { wire, unwritable } = child.into();
        self.unwritable = self.unwritable.or(unwritable);
        self.wire.children.push(wire);
        self
    }

    /// Several objects that should exist.
    #[must_use]
    pub fn children<C: Into<Child>>(self, children: impl IntoIterator<Item = C>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// Fields wanted on an object that the module does not own.
    #[must_use]
    pub fn partial(mut self, partial: Partial) -> Self {
        self.wire.partials.push(partial);
        self
    }

    /// Labels wanted on an object of kind `K` that the module does not own, such as a Node.
    #[must_use]
    pub fn partial_labels<K: Resource<DynamicType = ()>>(
        self,
        name: &str,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.partial(Partial::labels(ObjectRef::named::<K>(name), labels))
    }

    /// The parent's status. `conditions` and `observedGeneration` in it are the host's: use [`Desired::condition`].
    #[must_use]
    pub fn status<S: Serialize>(mut self, status: &S) -> Self {
        match serde_json::to_vec(status) {
            Ok(document) => self.wire.status = Some(document),
            Err(error) => self.unwritable = Some(format!("the status: {error}")),
        }
        self
    }

    /// A condition of the parent.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.wire.conditions.push(condition);
        self
    }

    /// Several conditions of the parent.
    #[must_use]
    pub fn conditions(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.wire.conditions.extend(conditions);
        self
    }

    /// An event; the host emits it once, until its reason or message changes.
    #[must_use]
    pub fn event(mut self, event: Event) -> Self {
        self.wire.events.push(event);
        self
    }

    /// Several events.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.wire.events.extend(events);
        self
    }

    /// A sample of a metric.
    #[must_use]
    pub fn sample(mut self, sample: Sample) -> Self {
        self.wire.samples.push(sample);
        self
    }

    /// Several samples.
    #[must_use]
    pub fn samples(mut self, samples: impl IntoIterator<Item = Sample>) -> Self {
        self.wire.samples.extend(samples);
        self
    }

    /// Something that the module wants to know next time.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.wire.queries.push(query);
        self
    }

    /// Several queries.
    #[must_use]
    pub fn queries(mut self, queries: impl IntoIterator<Item = Query>) -> Self {
        self.wire.queries.extend(queries);
        self
    }

    /// Something that should be done outside, named only while it is still needed.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.wire.actions.push(action);
        self
    }

    /// Several actions.
    #[must_use]
    pub fn actions(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.wire.actions.extend(actions);
        self
    }

    /// Call again after so many seconds even when nothing changes. The smallest of several wins.
    #[must_use]
    pub fn requeue(mut self, seconds: u32) -> Self {
        self.wire.requeue = Some(self.wire.requeue.map_or(seconds, |earlier| earlier.min(seconds)));
        self
    }

    /// The clean-up is complete: the finalizer may go. Read only while `snapshot.finalizing`.
    #[must_use]
    pub fn finalized(mut self) -> Self {
        self.wire.finalized = true;
        self
    }

    pub(crate) fn into_wire(self) -> Result<wire::Desired, Failure> {
        match self.unwritable {
            Some(what) => {
                Err(Failure::Retry(format!("the module cannot write its answer as JSON ({what}); fix the type")))
            }
            None => Ok(self.wire),
        }
    }
}

/// An object that should exist and belongs to the parent, with how to change it.
#[derive(Clone, Debug)]
pub struct Child {
    wire: wire::Child,
    unwritable: Option<String>,
}

impl Child {
    /// An object in stage 0, applied server-side, ready by the rules that kstatus uses for its kind. Its identity is the
    /// object's own; give it a name, and a namespace unless its kind has none.
    pub fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let identity = ObjectRef::of(object);
        let (mut document, unwritable) = match serde_json::to_vec(object) {
            Ok(document) => (document, None),
            Err(error) => (Vec::new(), Some(format!("{identity}: {error}"))),
        };
        // In WebAssembly it is the latest block, so what is too much of it is free again: half of an answer with large children.
        document.shrink_to_fit();
        let wire = wire::Child {
            identity,
            document,
            strategy: Strategy::Apply,
            stage: 0,
            readiness: Readiness::Status,
            extensions: Vec::new(),
        };
        Self { wire, unwritable }
    }

    /// Waits until all children of lower stages are ready.
    #[must_use]
    pub fn stage(mut self, stage: u32) -> Self {
        self.wire.stage = stage;
        self
    }

    /// What to do when it exists and differs.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.wire.strategy = strategy;
        self
    }

    /// When it counts as ready.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.wire.readiness = readiness;
        self
    }
}

impl<K: Resource<DynamicType = ()> + Serialize> From<&K> for Child {
    fn from(object: &K) -> Self {
        Self::of(object)
    }
}
