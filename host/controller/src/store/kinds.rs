//! Something for each kind, found by two words that need not be copied for it: a reconcile asks for kinds some fifty times.

use std::collections::BTreeMap;

use super::Kind;

/// By group and version, then by kind.
#[derive(Default)]
pub(super) struct ByKind<T>(BTreeMap<String, BTreeMap<String, T>>);

impl<T> ByKind<T> {
    pub(super) fn get(&self, api_version: &str, kind: &str) -> Option<&T> {
        self.0.get(api_version)?.get(kind)
    }

    pub(super) fn insert(&mut self, (api_version, kind): &Kind, value: T) {
        self.0.entry(api_version.clone()).or_default().insert(kind.clone(), value);
    }

    pub(super) fn remove(&mut self, (api_version, kind): &Kind) {
        self.0.get_mut(api_version).and_then(|kinds| kinds.remove(kind));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().flat_map(BTreeMap::values)
    }
}

impl<T: Default> ByKind<T> {
    /// What there is of a kind; the default when there was nothing.
    pub(super) fn of(&mut self, (api_version, kind): &Kind) -> &mut T {
        self.0.entry(api_version.clone()).or_default().entry(kind.clone()).or_default()
    }
}
