//! One module that serves: what it needs to know, and which changes wake which of its parents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use operator_core::{Document, Module, ObjectRef, Serving, inventory};

use crate::{
    Cache, Context,
    operate::Surroundings,
    queue::{Class, Queue},
    store::{Change, Kind, Store},
};

/// What a parent may set on any object that it does not own, and what tells whose it is. A node's heartbeat is none of it.
const HELD: [&str; 3] = ["metadata.labels", "metadata.annotations", "metadata.ownerReferences"];

/// One module that serves.
pub(crate) struct Unit {
    pub(crate) ctx: Arc<Context>,
    pub(crate) queue: Arc<Queue>,
    /// The kinds of its parents.
    parents: Vec<Kind>,
    /// Every kind that it needs, with the fields that matter of an object that a parent names without owning it.
    kinds: BTreeMap<Kind, Vec<String>>,
    /// Whose set an id is.
    sets: Arc<Mutex<HashMap<String, ObjectRef>>>,
}

impl Unit {
    /// A module, in the place of the version before it.
    pub(crate) fn new(
        around: &Surroundings,
        cache: Arc<dyn Cache>,
        module: Arc<dyn Module>,
        settings: Document,
        before: Option<&Self>,
    ) -> Self {
        let manifest = module.manifest().clone();
        let parents: Vec<Kind> = manifest.kinds.iter().map(|k| (k.api_version.clone(), k.kind.clone())).collect();
        let grants = manifest.grants.clone();
        let kinds = [
            rules(&grants.objects, |rule| (&rule.api_version, &rule.kind)),
            rules(&grants.partials, |rule| (&rule.api_version, &rule.kind)),
            rules(&grants.children, |rule| (&rule.api_version, &rule.kind)),
            parents.clone(),
        ];
        let mut kinds: BTreeMap<Kind, Vec<String>> =
            kinds.into_iter().flatten().map(|kind| (kind, HELD.map(str::to_owned).to_vec())).collect();
        for rule in &grants.partials {
            let fields = kinds.entry((rule.api_version.clone(), rule.kind.clone())).or_default();
            fields.extend(rule.fields.iter().cloned());
        }
        let ctx = Context::new(
            around.client.clone(),
            cache,
            Arc::clone(&around.outside),
            Arc::clone(&around.clock),
            Arc::new(Serving::new(module)),
            grants,
            settings,
            around.namespace.clone(),
        );
        if let Some(before) = before {
            ctx.memories.take_over(&before.ctx.memories);
        }
        Self {
            ctx: Arc::new(ctx.sparing()),
            queue: before.map(|before| Arc::clone(&before.queue)).unwrap_or_default(),
            parents,
            kinds,
            sets: before.map(|before| Arc::clone(&before.sets)).unwrap_or_default(),
        }
    }

    /// Every kind that it needs.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.keys()
    }

    /// Whether objects of this kind are its parents.
    pub(crate) fn serves(&self, api_version: &str, kind: &str) -> bool {
        self.parents.iter().any(|parent| parent.0 == api_version && parent.1 == kind)
    }

    /// Asks for a reconcile of each parent.
    pub(crate) fn wake_all(&self, store: &Store, class: Class) {
        for (api_version, kind) in &self.parents {
            for parent in store.list(api_version, kind, None, &[]) {
                self.learn(&parent.identity);
                self.queue.push(parent.identity, class);
            }
        }
    }

    /// Asks for a reconcile of each parent that a change concerns.
    pub(crate) fn changed(&self, kind: &Kind, change: &Change) {
        let Some(seen) = change.latest() else { return };
        if self.serves(&kind.0, &kind.1) {
            self.learn(&seen.identity);
            self.queue.push(seen.identity.clone(), Class::Change);
        }
        let sides = [&change.old, &change.new].into_iter().flatten();
        for set in sides.filter_map(|seen| seen.labels.get(inventory::PART_OF)) {
            let parent = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(set).cloned();
            if let Some(parent) = parent {
                self.queue.push(parent, Class::Change);
            }
        }
        let Some(held) = self.kinds.get(kind) else { return };
        for parent in self.ctx.memories.concerned(kind, change, held) {
            self.queue.push(parent, Class::Change);
        }
    }

    fn learn(&self, parent: &ObjectRef) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.insert(inventory::id(parent), parent.clone());
    }

    /// This parent is gone.
    pub(crate) fn forget(&self, parent: &ObjectRef) {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).remove(&inventory::id(parent));
        self.queue.forget(parent);
    }
}

/// The kinds of some rules.
fn rules<T>(rules: &[T], kind: impl Fn(&T) -> (&String, &String)) -> Vec<Kind> {
    rules.iter().map(kind).map(|(api_version, kind)| (api_version.clone(), kind.clone())).collect()
}
