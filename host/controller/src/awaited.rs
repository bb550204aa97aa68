//! Our own writes that the caches do not show yet. Each kind has a watch of its own, so they do not come together, and who decided
//! meanwhile would write again what is there already.

use operator_core::{Document, ObjectRef};

use crate::Cache;

/// Seconds after which a write is no longer waited for: somebody may have removed the object before any watch told of it.
const PATIENCE: i64 = 3;

/// Writes of one reconcile, each with the version that the object got; 0 when the server did not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    writes: Vec<(ObjectRef, u64)>,
    until: i64,
}

impl Awaited {
    /// Waits for these, from now on.
    pub(crate) fn new(writes: Vec<(ObjectRef, u64)>, now: i64) -> Self {
        Self { writes, until: now + PATIENCE }
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether something is not seen yet that may still come.
    pub(crate) fn holds(&self, cache: &dyn Cache, now: i64) -> bool {
        now < self.until && self.writes.iter().any(|(identity, version)| !shows(cache, identity, *version))
    }
}

fn shows(cache: &dyn Cache, identity: &ObjectRef, written: u64) -> bool {
    written == 0 || cache.get(identity).is_some_and(|document| version(&document) >= written)
}

/// The version of an object, as far as versions can be compared: they are numbers that grow, though old servers do not promise it.
pub(crate) fn version(document: &Document) -> u64 {
    document.identity().ok().and_then(|identity| identity.metadata.resource_version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Seen, Store};

    const NOW: i64 = 100;

    fn identity() -> ObjectRef {
        ObjectRef::namespaced("v1", "ConfigMap", "a", "c")
    }

    fn store(version: &str) -> Store {
        let store = Store::default();
        let text = format!(r#"{{"metadata":{{"name":"c","namespace":"a","resourceVersion":"{version}"}}}}"#);
        let seen = Seen {
            identity: identity(),
            labels: std::collections::BTreeMap::new(),
            managers: Vec::new(),
            document: Document::new(text.into_bytes()),
        };
        store.put(&("v1".into(), "ConfigMap".into()), seen);
        store
    }

    #[test]
    fn a_write_is_awaited_until_the_cache_shows_its_version_or_a_later_one() {
        let awaited = Awaited::new(vec![(identity(), 10)], NOW);
        assert!(awaited.holds(&Store::default(), NOW) && awaited.holds(&store("9"), NOW));
        assert!(!awaited.holds(&store("10"), NOW) && !awaited.holds(&store("11"), NOW));
    }

    #[test]
    fn an_object_that_went_at_once_is_not_awaited_for_ever() {
        let awaited = Awaited::new(vec![(identity(), 10)], NOW);
        assert!(awaited.holds(&Store::default(), NOW + PATIENCE - 1));
        assert!(!awaited.holds(&Store::default(), NOW + PATIENCE));
    }

    #[test]
    fn versions_that_cannot_be_compared_are_not_awaited() {
        assert_eq!(version(&Document::new(&br#"{"metadata":{"resourceVersion":"x"}}"#[..])), 0);
        assert!(!Awaited::new(vec![(identity(), 0)], NOW).holds(&Store::default(), NOW));
    }
}
