//! Questions: asked as long as somebody wants to know, again after each interval.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use operator_core::{ObjectRef, Query};
use tokio::time::{Instant, sleep};

use super::Field;
use crate::{Asker, Found, background::again_after_panics};

/// Answers are forgotten that nobody has asked for in so long.
const KEEP: Duration = Duration::from_hours(1);
/// A question is not asked again sooner, whatever its interval.
const SOONEST: Duration = Duration::from_secs(1);

/// Questions of all parents, with what is known of each.
pub(super) struct Questions {
    field: Arc<Field>,
    known: Mutex<HashMap<ObjectRef, HashMap<String, Known>>>,
}

struct Known {
    /// Another question under the same id is a new one.
    query: Query,
    found: Found,
    /// When somebody wanted it last.
    wanted: Instant,
}

impl Questions {
    pub(super) fn new(field: Arc<Field>) -> Self {
        Self { field, known: Mutex::default() }
    }

    /// The latest outcome; begins to ask when nobody has.
    pub(super) fn find(self: &Arc<Self>, asker: Asker<'_>, query: &Query) -> Found {
        let mut known = self.known();
        let of_parent = known.entry(asker.parent.clone()).or_default();
        if let Some(known) = of_parent.get_mut(&query.id).filter(|known| known.query == *query) {
            known.wanted = Instant::now();
            return known.found.clone();
        }
        let new = Known { query: query.clone(), found: Found::pending(), wanted: Instant::now() };
        of_parent.insert(query.id.clone(), new);
        drop(known);
        let (this, parent, namespace) = (Arc::clone(self), asker.parent.clone(), asker.namespace.to_owned());
        let query = query.clone();
        tokio::spawn(async move {
            let pursue = || Arc::clone(&this).pursue(parent.clone(), namespace.clone(), query.clone());
            again_after_panics("a question", interval(&query), pursue).await;
        });
        Found::pending()
    }

    pub(super) fn forget(&self, parent: &ObjectRef) {
        self.known().remove(parent);
    }

    /// Asks, and asks again after each interval for as long as somebody wants to know.
    async fn pursue(self: Arc<Self>, parent: ObjectRef, namespace: String, query: Query) {
        loop {
            let found = self.field.within(query.timeout, self.field.ask(&namespace, &query)).await;
            if !self.learn(&parent, &query, found) {
                return;
            }
            sleep(interval(&query)).await;
        }
    }

    /// Keeps what was found out; false when nobody wants to know any more.
    fn learn(&self, parent: &ObjectRef, query: &Query, found: Found) -> bool {
        let mut known = self.known();
        let Some(of_parent) = known.get_mut(parent) else { return false };
        let Some(known) = of_parent.get_mut(&query.id).filter(|known| known.query == *query) else { return false };
        if known.wanted.elapsed() > KEEP {
            of_parent.remove(&query.id);
            return false;
        }
        let changed = known.found.differs(&found);
        known.found = found;
        if changed {
            self.field.wake(parent);
        }
        true
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ObjectRef, HashMap<String, Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two times at which the same is asked.
fn interval(query: &Query) -> Duration {
    Duration::from_secs(query.interval.into()).max(SOONEST)
}
