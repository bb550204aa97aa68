//! Objects of one kind, and the ways in which they are looked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use operator_core::{Document, ObjectRef, Observed, inventory, project};

use super::Seen;

/// Labels by whose values objects are found at once: the sets of this operator, and what Kubernetes recommends to tell the parts of one
/// instance. Asked for each parent in each reconcile, they must not cost a walk over all objects.
const INDEXED: [&str; 2] = [inventory::PART_OF, "app.kubernetes.io/instance"];

/// Objects of one kind, those with each value of the labels above, and those on which each manager of this operator holds fields.
#[derive(Default)]
pub(super) struct Index {
    pub(super) objects: BTreeMap<Key, Seen>,
    labelled: [HashMap<String, BTreeSet<Key>>; INDEXED.len()],
    held: HashMap<String, BTreeSet<Key>>,
    views: Mutex<Views>,
}

/// Objects cut to fields, by these fields. Many parents ask for the same fields of the same objects again and again.
type Views = HashMap<Vec<String>, HashMap<Key, Document>>;

/// Sets of fields of one kind that are kept. Modules have few; one that makes up new ones all the time gains nothing, and costs no memory.
const MOST_VIEWS: usize = 16;

/// Where an object stands among those of its kind, see [`key`]. All ways to look for it share one.
type Key = Arc<str>;

/// Namespace and name with a zero byte between them, which neither can have and which comes before all else: so objects are in the order of
/// their namespaces and then of their names, and are found by one comparison of bytes at each step.
pub(super) fn key(identity: &ObjectRef) -> String {
    [identity.namespace.as_deref().unwrap_or_default(), "\0", &*identity.name].concat()
}

fn unlist(index: &mut HashMap<String, BTreeSet<Key>>, entry: &str, key: &str) {
    if let Some(keys) = index.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(entry);
        }
    }
}

impl Index {
    pub(super) fn insert(&mut self, seen: Seen) -> Option<Seen> {
        let key = Key::from(key(&seen.identity));
        let old = self.remove(&key);
        for (index, value) in self.labelled.iter_mut().zip(INDEXED.map(|label| seen.labels.get(label))) {
            if let Some(value) = value {
                index.entry(value.clone()).or_default().insert(Arc::clone(&key));
            }
        }
        for manager in &seen.managers {
            self.held.entry(manager.clone()).or_default().insert(Arc::clone(&key));
        }
        self.objects.insert(key, seen);
        old
    }

    pub(super) fn get(&self, key: &str) -> Option<&Seen> {
        self.objects.get(key)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Seen> {
        let old = self.objects.remove(key)?;
        let views = self.views.get_mut().unwrap_or_else(PoisonError::into_inner);
        for view in views.values_mut() {
            view.remove(key);
        }
        for (index, value) in self.labelled.iter_mut().zip(INDEXED.map(|label| old.labels.get(label))) {
            if let Some(value) = value {
                unlist(index, value, key);
            }
        }
        old.managers.iter().for_each(|manager| unlist(&mut self.held, manager, key));
        Some(old)
    }

    /// Objects with only these fields.
    pub(super) fn cut(&self, objects: Vec<Observed>, fields: &[String]) -> Vec<Observed> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if !views.contains_key(fields) && views.len() >= MOST_VIEWS {
            views.clear();
        }
        let view = views.entry(fields.to_vec()).or_default();
        let cut = |object: Observed| {
            let key = key(&object.identity);
            if let Some(document) = view.get(&*key).cloned() {
                return Some(Observed { document, ..object });
            }
            let document = project(&object.document, fields).ok()?;
            // One that has gone, or changed, since it was listed is not asked for again.
            if let Some((key, _)) =
                self.objects.get_key_value(&*key).filter(|(_, seen)| seen.document == object.document)
            {
                view.insert(Arc::clone(key), document.clone());
            }
            Some(Observed { document, ..object })
        };
        objects.into_iter().filter_map(cut).collect()
    }

    pub(super) fn held_by(&self, manager: &str) -> Vec<Observed> {
        let keys = self.held.get(manager).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key)).map(observed).collect()
    }

    pub(super) fn find(&self, namespace: Option<&str>, labels: &[(String, String)]) -> Vec<Observed> {
        let fits = |seen: &&Seen| {
            namespace.is_none_or(|namespace| seen.identity.namespace.as_deref() == Some(namespace))
                && labels.iter().all(|(key, value)| seen.labels.get(key) == Some(value))
        };
        let asked = |label: &str| labels.iter().find(|(key, _)| key == label).map(|(_, value)| value);
        let indexed = self.labelled.iter().zip(INDEXED).find_map(|(index, label)| Some((index, asked(label)?)));
        if let Some((index, value)) = indexed {
            let keys = index.get(value).into_iter().flatten();
            return keys.filter_map(|key| self.objects.get(key)).filter(fits).map(observed).collect();
        }
        // Those of a namespace stand together.
        let first = namespace.map(|namespace| [namespace, "\0"].concat()).unwrap_or_default();
        let rest = self.objects.range::<str, _>((Bound::Included(&*first), Bound::Unbounded));
        let within = rest.take_while(|(key, _)| key.starts_with(&first)).map(|(_, seen)| seen);
        within.filter(fits).map(observed).collect()
    }
}

fn observed(seen: &Seen) -> Observed {
    Observed { identity: seen.identity.clone(), document: seen.document.clone() }
}
