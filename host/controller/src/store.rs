//! What is known of the cluster: objects as the bytes that the watch brought, by kind.
//!
//! A re-list swaps in whole: until it is complete, readers see what was known before. What vanished meanwhile is told like
//! any other deletion, since the server tells nothing about it.

mod index;
mod kinds;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use operator_core::{Document, ObjectRef, Observed};

use self::{
    index::{Index, key},
    kinds::ByKind,
};
use crate::Cache;

/// Group and version, and kind.
pub type Kind = (String, String);

/// One object as it came from a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which object.
    pub identity: ObjectRef,
    /// Its labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// This operator's field managers that hold fields on it without owning it.
    pub managers: Vec<String>,
    /// The object.
    pub document: Document,
}

/// What a watch changed: the object before and after. One of them is none when it came or went.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Before.
    pub old: Option<Seen>,
    /// After.
    pub new: Option<Seen>,
}

impl Change {
    /// The object as it is now, or as it was last.
    pub fn latest(&self) -> Option<&Seen> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// Why a kind cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In the server's words, with what to do.
    pub why: String,
    /// Whether the server refuses the kind, so that trying again helps only after somebody has acted.
    pub refused: bool,
}

/// All objects that watches brought. Reads come from memory and never wait for the server.
#[derive(Default)]
pub struct Store(RwLock<Known>);

#[derive(Default)]
struct Known {
    kinds: ByKind<Objects>,
    served: ByKind<(String, bool)>,
    api_versions: Arc<[String]>,
}

#[derive(Default)]
struct Objects {
    synced: bool,
    trouble: Option<Trouble>,
    current: Index,
    /// A list that is not complete yet.
    incoming: Option<Index>,
}

impl Store {
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list of a kind begins.
    pub fn begin(&self, kind: &Kind) {
        self.write().kinds.of(kind).incoming = Some(Index::default());
    }

    /// One object of the list.
    pub fn stage(&self, kind: &Kind, seen: Seen) {
        let mut known = self.write();
        let objects = known.kinds.of(kind);
        let same = objects.current.get(&key(&seen.identity)).filter(|old| old.document == seen.document);
        // What has not changed is shared with what is known, so that a re-list costs little memory.
        let seen = same.cloned().unwrap_or(seen);
        objects.incoming.get_or_insert_default().insert(seen);
    }

    /// The list is complete: it replaces what was known. Tells everything that differs.
    pub fn commit(&self, kind: &Kind) -> Vec<Change> {
        let mut known = self.write();
        let objects = known.kinds.of(kind);
        let Some(incoming) = objects.incoming.take() else { return Vec::new() };
        (objects.synced, objects.trouble) = (true, None);
        let before = std::mem::replace(&mut objects.current, incoming);
        let gone = before.objects.iter().filter(|(key, _)| !objects.current.objects.contains_key(*key));
        let gone = gone.map(|(_, old)| Change { old: Some(old.clone()), new: None });
        let came = objects.current.objects.iter().filter_map(|(key, new)| {
            let old = before.objects.get(key);
            let differs = old.is_none_or(|old| old.document != new.document);
            differs.then(|| Change { old: old.cloned(), new: Some(new.clone()) })
        });
        gone.chain(came).collect()
    }

    /// One object came or changed.
    pub fn put(&self, kind: &Kind, seen: Seen) -> Change {
        let mut known = self.write();
        let objects = known.kinds.of(kind);
        Change { old: objects.current.insert(seen.clone()), new: Some(seen) }
    }

    /// One object went.
    pub fn remove(&self, kind: &Kind, seen: Seen) -> Change {
        let mut known = self.write();
        let objects = known.kinds.of(kind);
        Change { old: objects.current.remove(&key(&seen.identity)).or(Some(seen)), new: None }
    }

    /// Why a kind cannot be watched; told by [`Store::missing`] until its next complete list.
    pub fn trouble(&self, kind: &Kind, trouble: Trouble) {
        self.write().kinds.of(kind).trouble = Some(trouble);
    }

    /// Kinds whose first list is not complete, each with the reason if one is known; without those that the server refuses.
    pub fn missing(&self, kinds: &BTreeSet<Kind>) -> Vec<String> {
        let known = self.read();
        let line = |kind: &Kind| {
            let objects = known.kinds.get(&kind.0, &kind.1);
            let trouble = objects.and_then(|objects| objects.trouble.as_ref());
            if objects.is_some_and(|objects| objects.synced) || trouble.is_some_and(|trouble| trouble.refused) {
                return None;
            }
            let why = trouble.map_or("its first list is not complete", |trouble| &trouble.why);
            Some(format!("{} {}: {why}", kind.0, kind.1))
        };
        kinds.iter().filter_map(line).collect()
    }

    /// Why the server refuses a kind, if it does.
    pub fn refusal(&self, kind: &Kind) -> Option<String> {
        Cache::refusal(self, &kind.0, &kind.1)
    }

    /// What the server calls a kind in URLs, and whether it lives in namespaces.
    pub fn serve(&self, kind: &Kind, plural: String, namespaced: bool) {
        self.write().served.insert(kind, (plural, namespaced));
    }

    /// Which group-versions the server serves.
    pub fn serve_versions(&self, mut versions: Vec<String>) {
        versions.sort();
        versions.dedup();
        self.write().api_versions = versions.into();
    }

    /// How many objects are kept.
    pub fn len(&self) -> usize {
        self.read().kinds.values().map(|objects| objects.current.objects.len()).sum()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a kind that nobody watches any more.
    pub fn forget(&self, kind: &Kind) {
        self.write().kinds.remove(kind);
    }
}

impl Cache for Store {
    fn get(&self, identity: &ObjectRef) -> Option<Document> {
        let known = self.read();
        let objects = known.kinds.get(&identity.api_version, &identity.kind)?;
        Some(objects.current.get(&key(identity))?.document.clone())
    }

    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &[(String, String)],
    ) -> Vec<Observed> {
        let known = self.read();
        let objects = known.kinds.get(api_version, kind);
        objects.map(|objects| objects.current.find(namespace, labels)).unwrap_or_default()
    }

    fn cut(&self, objects: Vec<Observed>, fields: &[String]) -> Vec<Observed> {
        let Some(first) = objects.first().filter(|_| !fields.is_empty()) else { return objects };
        let known = self.read();
        let kind = known.kinds.get(&first.identity.api_version, &first.identity.kind);
        // Forgotten meanwhile: nobody asks for it any more.
        kind.map(|kind| kind.current.cut(objects, fields)).unwrap_or_default()
    }

    fn held_by(&self, api_version: &str, kind: &str, manager: &str) -> Vec<Observed> {
        let known = self.read();
        let objects = known.kinds.get(api_version, kind);
        objects.map(|objects| objects.current.held_by(manager)).unwrap_or_default()
    }

    fn synced(&self, api_version: &str, kind: &str) -> bool {
        self.read().kinds.get(api_version, kind).is_some_and(|objects| objects.synced)
    }

    fn refusal(&self, api_version: &str, kind: &str) -> Option<String> {
        let known = self.read();
        let trouble = known.kinds.get(api_version, kind)?.trouble.as_ref().filter(|trouble| trouble.refused)?;
        Some(format!("{api_version} {kind}: {}", trouble.why))
    }

    fn resource(&self, api_version: &str, kind: &str) -> Option<(String, bool)> {
        self.read().served.get(api_version, kind).cloned()
    }

    fn api_versions(&self) -> Arc<[String]> {
        self.read().api_versions.clone()
    }
}

#[cfg(test)]
mod tests {
    use operator_core::inventory;

    use super::*;

    fn kind() -> Kind {
        ("v1".into(), "ConfigMap".into())
    }

    fn seen(name: &str, set: Option<&str>, text: &str) -> Seen {
        Seen {
            identity: ObjectRef::namespaced("v1", "ConfigMap", "a", name),
            labels: set.map(|set| (inventory::PART_OF.to_owned(), set.to_owned())).into_iter().collect(),
            managers: Vec::new(),
            document: Document::new(text.as_bytes().to_vec()),
        }
    }

    fn names(store: &Store, labels: &[(String, String)]) -> Vec<String> {
        store.list("v1", "ConfigMap", None, labels).into_iter().map(|found| found.identity.name).collect()
    }

    fn listed(store: &Store, objects: &[Seen]) -> Vec<Change> {
        store.begin(&kind());
        for seen in objects {
            store.stage(&kind(), seen.clone());
        }
        store.commit(&kind())
    }

    #[test]
    fn an_object_that_was_cut_to_fields_before_is_cut_again_once_it_has_changed() {
        let (store, fields) = (Store::default(), ["data".to_owned()]);
        let cut = |store: &Store| {
            let cut = store.cut(store.list("v1", "ConfigMap", None, &[]), &fields);
            cut.iter().map(|object| String::from_utf8_lossy(object.document.bytes()).into_owned()).collect::<Vec<_>>()
        };
        store.put(&kind(), seen("a", None, r#"{"data":1,"x":1}"#));
        assert_eq!([cut(&store), cut(&store)].concat(), [r#"{"data":1}"#; 2]);
        store.put(&kind(), seen("a", None, r#"{"data":2,"x":1}"#));
        assert_eq!(cut(&store), [r#"{"data":2}"#]);
        store.remove(&kind(), seen("a", None, ""));
        assert!(cut(&store).is_empty());
    }

    #[test]
    fn a_list_is_invisible_until_it_is_complete() {
        let store = Store::default();
        listed(&store, &[seen("a", None, "1")]);
        store.begin(&kind());
        store.stage(&kind(), seen("b", None, "1"));
        assert_eq!(names(&store, &[]), ["a"]);
        assert!(store.synced("v1", "ConfigMap"), "a list again does not make a cache cold");
        store.commit(&kind());
        assert_eq!(names(&store, &[]), ["b"]);
    }

    #[test]
    fn what_went_between_two_lists_is_told_and_what_stayed_is_not() {
        let store = Store::default();
        listed(&store, &[seen("gone", None, "1"), seen("same", None, "1"), seen("new", None, "1")]);
        let changes = listed(&store, &[seen("same", None, "1"), seen("new", None, "2")]);
        let told: Vec<_> =
            changes.iter().map(|c| (c.latest().unwrap().identity.name.as_str(), c.new.is_some())).collect();
        assert_eq!(told, [("gone", false), ("new", true)]);
    }

    #[test]
    fn members_of_a_set_are_found_and_follow_their_label() {
        let store = Store::default();
        let set = |name: &str| [(inventory::PART_OF.to_owned(), name.to_owned())];
        store.put(&kind(), seen("a", Some("x"), "1"));
        store.put(&kind(), seen("b", Some("x"), "1"));
        store.put(&kind(), seen("c", None, "1"));
        assert_eq!(names(&store, &set("x")), ["a", "b"]);
        store.put(&kind(), seen("a", Some("y"), "2"));
        store.remove(&kind(), seen("b", Some("x"), "1"));
        assert_eq!((names(&store, &set("x")).len(), names(&store, &set("y"))), (0, vec!["a".to_owned()]));
    }

    #[test]
    fn objects_of_a_namespace_and_of_an_instance_are_found_and_no_others() {
        let store = Store::default();
        let placed = |namespace: &str, name: &str, instance: Option<&str>| {
            let mut seen = seen(name, None, "1");
            seen.identity.namespace = Some(namespace.to_owned());
            let label = instance.map(|value| ("app.kubernetes.io/instance".to_owned(), value.to_owned()));
            Seen { labels: label.into_iter().collect(), ..seen }
        };
        for (namespace, name, instance) in [
            ("a", "one", Some("x")),
            ("b", "one", Some("x")),
            ("b", "two", Some("y")),
            ("b", "three", None),
            ("c", "one", None),
        ] {
            store.put(&kind(), placed(namespace, name, instance));
        }
        let found = |namespace: Option<&str>, instance: Option<&str>| -> Vec<String> {
            let labels: Vec<_> =
                instance.map(|value| ("app.kubernetes.io/instance".to_owned(), value.to_owned())).into_iter().collect();
            let found = store.list("v1", "ConfigMap", namespace, &labels);
            found.iter().map(|o| format!("{}/{}", o.identity.namespace.as_deref().unwrap(), o.identity.name)).collect()
        };
        assert_eq!(found(Some("b"), None), ["b/one", "b/three", "b/two"]);
        assert_eq!(found(None, Some("x")), ["a/one", "b/one"]);
        assert_eq!(found(Some("b"), Some("x")), ["b/one"]);
        assert!(found(Some("d"), None).is_empty());
        store.put(&kind(), placed("b", "one", None));
        assert_eq!(found(None, Some("x")), ["a/one"], "it follows the label");
    }

    #[test]
    fn objects_on_which_a_manager_holds_fields_are_found_until_it_gives_them_up() {
        let store = Store::default();
        let held = |name: &str| store.held_by("v1", "ConfigMap", name).len();
        store.put(&kind(), Seen { managers: vec!["m".into()], ..seen("a", None, "1") });
        assert_eq!((held("m"), held("other")), (1, 0));
        store.put(&kind(), seen("a", None, "2"));
        assert_eq!(held("m"), 0);
    }

    #[test]
    fn a_kind_is_missing_with_its_reason_until_its_first_list() {
        let (store, kinds) = (Store::default(), BTreeSet::from([kind()]));
        assert_eq!(store.missing(&kinds), ["v1 ConfigMap: its first list is not complete"]);
        store.trouble(&kind(), Trouble { why: "no connection".into(), refused: false });
        assert_eq!((store.missing(&kinds), store.refusal(&kind())), (vec!["v1 ConfigMap: no connection".into()], None));
        store.trouble(&kind(), Trouble { why: "forbidden".into(), refused: true });
        let refusal = Some("v1 ConfigMap: forbidden".to_owned());
        assert_eq!((store.missing(&kinds), store.refusal(&kind())), (vec![], refusal), "waiting does not help");
        listed(&store, &[]);
        assert_eq!((store.missing(&kinds), store.refusal(&kind())), (vec![], None));
    }

    #[test]
    fn the_last_known_object_comes_with_its_deletion() {
        let store = Store::default();
        store.put(&kind(), seen("a", Some("x"), "1"));
        let change = store.remove(&kind(), seen("a", None, "2"));
        assert_eq!(change.old.unwrap().labels[inventory::PART_OF], "x");
        assert!(store.is_empty());
    }
}
