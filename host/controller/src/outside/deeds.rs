//! Actions: done once, and again only while a module goes on asking for them, more and more seldom when they fail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use operator_core::{Action, Deed, ObjectRef};
use tokio::time::{Instant, sleep};

use super::{Field, told, trail, whom};
use crate::{Asker, Found};

/// The same is not done again sooner: what a module sees of its effect takes a while to change.
const AGAIN: Duration = Duration::from_secs(10);
/// After the first failure; twice as long after each one that follows.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// What nobody has asked for in so long is forgotten: a module may name its action otherwise for each content.
const KEEP: Duration = Duration::from_hours(1);

/// Actions of all parents, with what became of each.
pub(super) struct Deeds {
    field: Arc<Field>,
    done: Mutex<HashMap<ObjectRef, HashMap<String, Done>>>,
}

struct Done {
    /// Another deed under the same id is a new one.
    deed: Deed,
    found: Found,
    under_way: bool,
    /// Not before this time again.
    after: Instant,
    failures: u32,
}

impl Deeds {
    pub(super) fn new(field: Arc<Field>) -> Self {
        Self { field, done: Mutex::default() }
    }

    /// The latest outcome.
    pub(super) fn outcome(&self, parent: &ObjectRef, action: &Action) -> Found {
        let done = self.done();
        let done = done.get(parent).and_then(|of_parent| of_parent.get(&action.id));
        done.filter(|done| done.deed == action.deed).map_or_else(Found::pending, |done| done.found.clone())
    }

    /// Begins it when it is its time, and gives the latest outcome.
    pub(super) fn act(self: &Arc<Self>, asker: Asker<'_>, action: &Action) -> Found {
        let mut done = self.done();
        let of_parent = done.entry(asker.parent.clone()).or_default();
        let known = of_parent.get_mut(&action.id).filter(|done| done.deed == action.deed);
        let (found, failures) = match known {
            Some(done) if done.under_way || Instant::now() < done.after => return done.found.clone(),
            Some(done) => (done.found.clone(), done.failures),
            None => (Found::pending(), 0),
        };
        of_parent.retain(|_, done| done.under_way || done.after.elapsed() < KEEP);
        let (deed, after) = (action.deed.clone(), Instant::now());
        of_parent.insert(action.id.clone(), Done { deed, found: found.clone(), under_way: true, after, failures });
        drop(done);
        let (this, whom, action) = (Arc::clone(self), whom(asker), action.clone());
        tokio::spawn(async move {
            let work = tokio::spawn({
                let (this, action, namespace) = (Arc::clone(&this), action.clone(), whom.namespace.clone());
                async move {
                    let acting = Box::pin(this.field.act(&namespace, &action));
                    this.field.within(&namespace, told(&action.deed), action.timeout, acting).await
                }
            });
            // After a panic it counts as failed, so that it is tried again.
            let done = work.await.unwrap_or_else(|_| Some(Found::failed("the host failed")));
            let Some(found) = done else { return this.give_up(&whom.parent, &action) };
            trail::acted(&whom, &action, &found);
            this.learn(whom.parent, &action, found).await;
        });
        found
    }

    pub(super) fn forget(&self, parent: &ObjectRef) {
        self.done().remove(parent);
    }

    /// Nobody knows what became of it: whoever may do it next begins anew.
    fn give_up(&self, parent: &ObjectRef, action: &Action) {
        if let Some(of_parent) = self.done().get_mut(parent) {
            of_parent.remove(&action.id);
        }
    }

    /// Keeps the outcome, and brings the parent back: at once, and when it may be done again.
    async fn learn(&self, parent: ObjectRef, action: &Action, found: Found) {
        let Some(wait) = self.keep(&parent, action, found) else { return };
        self.field.wake(&parent);
        sleep(wait).await;
        self.field.wake(&parent);
    }

    /// How long to wait before the same is done again; none when nobody wants it any more.
    fn keep(&self, parent: &ObjectRef, action: &Action, found: Found) -> Option<Duration> {
        let mut done = self.done();
        let of_parent = done.get_mut(parent)?;
        let done = of_parent.get_mut(&action.id).filter(|done| done.deed == action.deed)?;
        let wait = if found.outcome.is_ok() {
            done.failures = 0;
            AGAIN
        } else {
            done.failures = done.failures.saturating_add(1);
            FIRST_WAIT.saturating_mul(1 << (done.failures - 1).min(10)).min(LONGEST_WAIT)
        };
        (done.found, done.under_way, done.after) = (found, false, Instant::now() + wait);
        Some(wait)
    }

    fn done(&self) -> MutexGuard<'_, HashMap<ObjectRef, HashMap<String, Done>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
