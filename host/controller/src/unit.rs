//! One module that serves: what it needs to know, and which changes wake which of its parents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use operator_core::{Document, Module, ObjectRef, Serving, inventory, project};

use crate::{
    Cache, Context,
    operate::Surroundings,
    queue::{Class, Queue},
    store::{Change, Kind, Seen, Store},
};

/// One module that serves.
pub(crate) struct Unit {
    pub(crate) ctx: Arc<Context>,
    pub(crate) queue: Arc<Queue>,
    /// The kinds of its parents.
    parents: Vec<Kind>,
    /// Every kind that it needs, with the fields it looks at; none when each change matters.
    kinds: BTreeMap<Kind, Option<Vec<String>>>,
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
        let mut kinds: BTreeMap<Kind, Option<Vec<String>>> = BTreeMap::new();
        for rule in &grants.objects {
            let kind = (rule.api_version.clone(), rule.kind.clone());
            let fields = kinds.entry(kind).or_insert_with(|| Some(Vec::new()));
            match fields {
                Some(fields) if !rule.fields.is_empty() => fields.extend(rule.fields.iter().cloned()),
                fields => *fields = None,
            }
        }
        for rule in &grants.partials {
            let fields = kinds.entry((rule.api_version.clone(), rule.kind.clone())).or_insert_with(|| Some(Vec::new()));
            let held = ["metadata.labels", "metadata.annotations"].map(str::to_owned);
            if let Some(fields) = fields {
                fields.extend(held.iter().chain(&rule.fields).cloned());
            }
        }
        // Parents and children wake by what they are, not by their fields.
        for kind in &parents {
            kinds.entry(kind.clone()).or_insert(Some(Vec::new()));
        }
        for rule in &grants.children {
            kinds.entry((rule.api_version.clone(), rule.kind.clone())).or_insert(Some(Vec::new()));
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
            ctx.take_over(&before.ctx);
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
    pub(crate) fn changed(&self, store: &Store, kind: &Kind, change: &Change) {
        let Some(seen) = change.latest() else { return };
        if self.serves(&kind.0, &kind.1) {
            self.learn(&seen.identity);
            self.queue.push(seen.identity.clone(), Class::Change);
        }
        let sets =
            [&change.old, &change.new].map(|side| side.as_ref().and_then(|seen| seen.labels.get(inventory::PART_OF)));
        for set in sets.into_iter().flatten() {
            let parent = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(set).cloned();
            if let Some(parent) = parent {
                self.queue.push(parent, Class::Change);
            }
        }
        if self.concerns_all(kind, change) {
            self.wake_all(store, Class::Change);
        }
    }

    fn learn(&self, parent: &ObjectRef) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.insert(inventory::id(parent), parent.clone());
    }

    /// Whether something changed that every parent may look at. A node's heartbeat, for one, does not.
    fn concerns_all(&self, kind: &Kind, change: &Change) -> bool {
        match self.kinds.get(kind) {
            None => false,
            Some(None) => true,
            Some(Some(fields)) if fields.is_empty() => false,
            Some(Some(fields)) => {
                let shown = |seen: &Option<Seen>| seen.as_ref().map(|seen| project(&seen.document, fields).ok());
                shown(&change.old) != shown(&change.new)
            }
        }
    }
}
