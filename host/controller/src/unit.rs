//! One module that serves: what it needs to know, and which changes wake which of its parents.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use operator_core::{Document, Module, ObjectRef, Serving, inventory};
use serde::Deserialize;

use crate::{
    Cache, Context,
    operate::Surroundings,
    queue::{Class, Queue},
    store::{Change, Kind, Seen, Store},
};

/// What a parent may set on any object that it does not own, and what tells whose it is. A node's heartbeat is none of it.
const HELD: [&str; 3] = ["metadata.labels", "metadata.annotations", "metadata.ownerReferences"];

/// One module that serves.
pub(crate) struct Unit {
    name: String,
    /// Whether its module only says why none serves.
    stands_in: bool,
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
        (settings, release_after): (Document, Option<Duration>),
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
            name: manifest.name,
            stands_in: false,
            ctx: Arc::new(ctx.sparing().releasing_after(release_after)),
            queue: before.map(|before| Arc::clone(&before.queue)).unwrap_or_default(),
            parents,
            kinds,
            sets: before.map(|before| Arc::clone(&before.sets)).unwrap_or_default(),
        }
    }

    /// The same, for a module that does not serve.
    pub(crate) fn standing_in(self) -> Self {
        Self { stands_in: true, ..self }
    }

    /// Whether its module only says why none serves.
    pub(crate) fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// The module's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The kinds of its parents.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Kind> {
        self.parents.iter()
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

    /// Looks at each parent within so long, in no order, so that not all of them come at once.
    pub(crate) fn wake_within(&self, store: &Store, spread: Duration) {
        for (api_version, kind) in &self.parents {
            for parent in store.list(api_version, kind, None, &[]) {
                self.queue.push_later(&parent.identity, share(&parent.identity, spread));
            }
        }
    }

    /// Asks for a reconcile of each parent that a change concerns.
    pub(crate) fn changed(&self, kind: &Kind, change: &Change, first_list: bool) {
        let Some(seen) = change.latest() else { return };
        let class = if first_list { Class::Again } else { Class::Change };
        if self.serves(&kind.0, &kind.1) {
            self.learn(&seen.identity);
            self.queue.push(seen.identity.clone(), if !first_list && is_edit(change) { Class::Edit } else { class });
        }
        let sides = [&change.old, &change.new].into_iter().flatten();
        for set in sides.filter_map(|seen| seen.labels.get(inventory::PART_OF)) {
            let parent = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(set).cloned();
            if let Some(parent) = parent {
                self.queue.push(parent, class);
            }
        }
        let Some(held) = self.kinds.get(kind) else { return };
        for parent in self.ctx.memories.concerned(kind, change, held) {
            self.queue.push(parent, class);
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

/// Whether a parent was made, deleted or edited by somebody: what only its status or its inventory tells is a consequence.
fn is_edit(change: &Change) -> bool {
    #[derive(Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Meant {
        generation: i64,
        deletion_timestamp: Option<String>,
    }
    #[derive(Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Parent {
        metadata: Meant,
    }
    let meant = |seen: &Seen| serde_json::from_slice::<Parent>(seen.document.bytes()).unwrap_or_default();
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => meant(old) != meant(new),
        _ => true,
    }
}

/// A part of a time that is always the same for the same object, and spreads many of them evenly.
fn share(identity: &ObjectRef, of: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 1_000).unwrap_or_default();
    of * thousandths / 1_000
}

/// The kinds of some rules.
fn rules<T>(rules: &[T], kind: impl Fn(&T) -> (&String, &String)) -> Vec<Kind> {
    rules.iter().map(kind).map(|(api_version, kind)| (api_version.clone(), kind.clone())).collect()
}
