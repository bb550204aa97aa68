//! Our own writes that the caches do not show yet. Each kind has a watch of its own, so they do not come together, and who decided
//! meanwhile would write again what is there already.

use std::collections::VecDeque;

use operator_core::{Document, ObjectRef};

use crate::Cache;

/// Seconds after which a write is no longer waited for: somebody may have removed the object before any watch told of it.
const PATIENCE: i64 = 3;

/// Writes of one reconcile, each with the version that the object got; 0 when the server did not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    writes: VecDeque<(ObjectRef, u64)>,
    until: i64,
}

impl Awaited {
    /// Waits for these too, from now on.
    pub(crate) fn push(&mut self, writes: impl IntoIterator<Item = (ObjectRef, u64)>, now: i64) {
        self.writes.extend(writes);
        self.until = now + PATIENCE;
    }

    /// Whether something is not seen yet that may still come. What is seen is not looked for again: each of thousands of writes brings its
    /// parent here.
    pub(crate) fn waits(&mut self, cache: &dyn Cache, now: i64) -> bool {
        if now >= self.until {
            self.writes.clear();
        }
        while self.writes.front().is_some_and(|(identity, version)| shows(cache, identity, *version)) {
            self.writes.pop_front();
        }
        !self.writes.is_empty()
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

    fn awaited(version: u64) -> Awaited {
        let mut awaited = Awaited::default();
        awaited.push([(identity(), version)], NOW);
        awaited
    }

    #[test]
    fn a_write_is_awaited_until_the_cache_shows_its_version_or_a_later_one() {
        let mut awaited = awaited(10);
        assert!(awaited.waits(&Store::default(), NOW) && awaited.waits(&store("9"), NOW));
        assert!(!awaited.clone().waits(&store("10"), NOW) && !awaited.clone().waits(&store("11"), NOW));
    }

    #[test]
    fn what_was_seen_is_not_awaited_again() {
        let mut awaited = awaited(10);
        assert!(!awaited.waits(&store("10"), NOW) && !awaited.waits(&Store::default(), NOW));
    }

    #[test]
    fn an_object_that_went_at_once_is_not_awaited_for_ever() {
        let mut awaited = awaited(10);
        assert!(awaited.waits(&Store::default(), NOW + PATIENCE - 1));
        assert!(!awaited.waits(&Store::default(), NOW + PATIENCE));
    }

    #[test]
    fn versions_that_cannot_be_compared_are_not_awaited() {
        assert_eq!(version(&Document::new(&br#"{"metadata":{"resourceVersion":"x"}}"#[..])), 0);
        assert!(!awaited(0).waits(&Store::default(), NOW));
    }
}
