//! Questions: asked as long as somebody wants to know, again after each interval.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use operator_core::{Finding, ObjectRef, Query};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    Field, asked,
    trail::{self, Whom},
    whom,
};
use crate::{Asker, Found, background::again_after_panics};

/// Bytes of answers that are kept for one parent. As much as a module could take in: snapshots with it are copied into its memory.
const QUOTA: usize = 4 * 1024 * 1024;
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
    /// Asks; ends with this.
    _task: Task,
}

/// A task that is cancelled when nobody holds this any more.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
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
        let (this, whom) = (Arc::clone(self), whom(asker));
        let task = tokio::spawn({
            let query = query.clone();
            async move {
                let pursue = || Arc::clone(&this).pursue(whom.clone(), query.clone());
                again_after_panics("a question", interval(&query), pursue).await;
            }
        });
        let task = Task(task.abort_handle());
        let new = Known { query: query.clone(), found: Found::pending(), wanted: Instant::now(), _task: task };
        of_parent.insert(query.id.clone(), new);
        Found::pending()
    }

    /// Asks nothing else any longer for this parent.
    pub(super) fn keep(&self, parent: &ObjectRef, queries: &[Query]) {
        let mut known = self.known();
        if let Some(of_parent) = known.get_mut(parent) {
            of_parent.retain(|id, _| queries.iter().any(|query| query.id == *id));
        }
    }

    pub(super) fn forget(&self, parent: &ObjectRef) {
        self.known().remove(parent);
    }

    /// Asks, and asks again after each interval for as long as somebody wants to know.
    async fn pursue(self: Arc<Self>, whom: Whom, query: Query) {
        loop {
            let asking = Box::pin(self.field.ask(&whom.namespace, &query));
            let found = self.field.within(&whom.namespace, asked(&query.question), query.timeout, asking).await;
            let Some(found) = found else { return self.give_up(&whom.parent, &query) };
            if !self.learn(&whom, &query, found) {
                return;
            }
            sleep(interval(&query)).await;
        }
    }

    /// Forgets the question, so that whoever wants to know it begins anew.
    fn give_up(&self, parent: &ObjectRef, query: &Query) {
        let mut known = self.known();
        let Some(of_parent) = known.get_mut(parent) else { return };
        if of_parent.get(&query.id).is_some_and(|known| known.query == *query) {
            of_parent.remove(&query.id);
        }
    }

    /// Keeps what was found out; false when nobody wants to know any more.
    fn learn(&self, whom: &Whom, query: &Query, found: Found) -> bool {
        let (mut known, parent) = (self.known(), &whom.parent);
        let Some(of_parent) = known.get_mut(parent) else { return false };
        let found = within_quota(of_parent, query, found);
        let Some(known) = of_parent.get_mut(&query.id).filter(|known| known.query == *query) else { return false };
        if known.wanted.elapsed() > KEEP {
            of_parent.remove(&query.id);
            return false;
        }
        let changed = known.found.differs(&found);
        if changed {
            trail::asked(whom, query, &found);
            self.field.wake(parent);
        }
        known.found = found;
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

/// The outcome, or a failure where it would be too much together with what is kept for the parent already.
fn within_quota(of_parent: &HashMap<String, Known>, query: &Query, found: Found) -> Found {
    let others = of_parent.iter().filter(|(id, _)| **id != query.id);
    let kept: usize = others.map(|(_, known)| size(&known.found)).sum();
    if kept + size(&found) <= QUOTA {
        return found;
    }
    let why =
        format!("the answers for one resource are more than {QUOTA} bytes together; ask for less, or for fewer lines");
    Found { at: found.at, ..Found::failed(why) }
}

/// Bytes of an outcome, roughly.
fn size(found: &Found) -> usize {
    match &found.outcome {
        Ok(Finding::Http(response)) => response.body.len(),
        Ok(Finding::Command(result)) => result.stdout.len() + result.stderr.len(),
        Ok(Finding::Lines(lines)) => lines.iter().map(String::len).sum(),
        Ok(Finding::Deleted(_) | Finding::Objects(_)) | Err(_) => 0,
    }
}
