//! Questions: asked as long as somebody wants to know, again after each interval.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use operator_core::{ObjectRef, Query, Question};
use tokio::time::{Instant, sleep};

use super::{
    Field, Task, Whom, asked,
    quotas::{self, Share},
    trail, whom,
};
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
    whom: Whom,
    /// Another question under the same id is a new one.
    query: Query,
    found: Found,
    /// What the outcome takes of the quotas.
    share: Share,
    /// What the question takes of them.
    _asking: Share,
    /// When somebody wanted it last.
    wanted: Instant,
    /// Asks; ends with this.
    _task: Task,
}

impl Known {
    /// Whether this is what is asked now. What may be used for it has to be the same too.
    fn is(&self, asker: Asker<'_>, query: &Query) -> bool {
        self.query == *query && *self.whom.secrets == *asker.secrets
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
        if let Some(known) = of_parent.get_mut(&query.id).filter(|known| known.is(asker, query)) {
            known.wanted = Instant::now();
            return known.found.clone();
        }
        let (this, whom) = (Arc::clone(self), whom(asker));
        of_parent.remove(&query.id);
        let asking = match self.field.quotas.take(&whom, size(&query.question)) {
            Ok(share) => share,
            Err(why) => return Found::failed(why),
        };
        let known_for = whom.clone();
        let task = tokio::spawn({
            let query = query.clone();
            async move {
                let pursue = || Arc::clone(&this).pursue(whom.clone(), query.clone());
                again_after_panics("a question", interval(&query), pursue).await;
            }
        });
        let task = Task(task.abort_handle());
        let new = Known {
            whom: known_for,
            query: query.clone(),
            found: Found::pending(),
            share: Share::default(),
            _asking: asking,
            wanted: Instant::now(),
            _task: task,
        };
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

    /// Asks nothing any longer for this module.
    pub(super) fn revoke(&self, module: &str) {
        self.known().values_mut().for_each(|of_parent| of_parent.retain(|_, known| known.whom.module != module));
    }

    pub(super) fn forget(&self, parent: &ObjectRef) {
        self.known().remove(parent);
    }

    /// Asks, and asks again after each interval for as long as somebody wants to know.
    async fn pursue(self: Arc<Self>, whom: Whom, query: Query) {
        loop {
            let asking = Box::pin(self.field.ask(&whom, &query));
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
        let Some(known) = of_parent.get_mut(&query.id).filter(|known| known.query == *query) else { return false };
        if known.wanted.elapsed() > KEEP {
            of_parent.remove(&query.id);
            return false;
        }
        // What was known before is given back first: of both, only one is kept.
        known.share = Share::default();
        let found = match self.field.quotas.take(whom, quotas::of_outcome(&found)) {
            Ok(share) => {
                known.share = share;
                found
            }
            Err(why) => Found { at: found.at, ..Found::failed(why) },
        };
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

/// Bytes of a question, roughly.
fn size(question: &Question) -> usize {
    match question {
        Question::Http(request) => quotas::of_request(request),
        Question::Command(command) => command.command.iter().map(String::len).sum(),
        Question::PodLog(log) => log.contains.len(),
        Question::Objects(_) => 0,
    }
}
