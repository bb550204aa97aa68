//! Actions: done once, and again only while a module goes on asking for them, more and more seldom when they fail.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use operator_core::{Action, Deed, ObjectRef};
use tokio::time::{Instant, sleep};

use super::{Field, Task, Whom, quotas, quotas::Share, told, trail, whom};
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
    module: String,
    /// Another deed under the same id is a new one.
    mark: u64,
    found: Found,
    /// What it takes of the quotas: the deed while it is under way, and then its outcome.
    share: Share,
    /// While it waits for its turn or is being done: whether it has begun.
    under_way: Option<Arc<AtomicBool>>,
    /// Not before this time again.
    after: Instant,
    failures: u32,
    /// Does it, and brings the parent back; ends with this.
    _task: Task,
}

/// Tells a deed from others under the same id. Bodies are large and are not kept for that; whoever has two collide keeps his own second one
/// from being done.
fn mark(deed: &Deed) -> u64 {
    let mut hasher = DefaultHasher::new();
    deed.hash(&mut hasher);
    hasher.finish()
}

impl Deeds {
    pub(super) fn new(field: Arc<Field>) -> Self {
        Self { field, done: Mutex::default() }
    }

    /// The latest outcome.
    pub(super) fn outcome(&self, parent: &ObjectRef, action: &Action) -> Found {
        let done = self.done();
        let done = done.get(parent).and_then(|of_parent| of_parent.get(&action.id));
        done.filter(|done| done.mark == mark(&action.deed)).map_or_else(Found::pending, |done| done.found.clone())
    }

    /// Begins it when it is its time, and gives the latest outcome.
    pub(super) fn act(self: &Arc<Self>, asker: Asker<'_>, action: &Action) -> Found {
        let mut done = self.done();
        let (of_parent, mark) = (done.entry(asker.parent.clone()).or_default(), mark(&action.deed));
        let known = of_parent.get_mut(&action.id).filter(|done| done.mark == mark);
        let (found, failures) = match known {
            Some(done) if done.under_way.is_some() || Instant::now() < done.after => return done.found.clone(),
            Some(done) => (done.found.clone(), done.failures),
            None => (Found::pending(), 0),
        };
        of_parent.retain(|_, done| done.under_way.is_some() || done.after.elapsed() < KEEP);
        // What it came to before, and what it was before, are given back first.
        of_parent.remove(&action.id);
        let whom = whom(asker);
        let share = match self.field.quotas.take(&whom, size(&action.deed)) {
            Ok(share) => share,
            Err(why) => return Found::failed(why),
        };
        let (module, after, begun) = (whom.module.clone(), Instant::now(), Arc::<AtomicBool>::default());
        let task = tokio::spawn(Arc::clone(self).pursue(whom, action.clone(), Arc::clone(&begun)));
        let (under_way, task) = (Some(begun), Task(task.abort_handle()));
        let new = Done { module, mark, found: found.clone(), share, under_way, after, failures, _task: task };
        of_parent.insert(action.id.clone(), new);
        found
    }

    /// Does it, and brings the parent back.
    async fn pursue(self: Arc<Self>, whom: Whom, action: Action, begun: Arc<AtomicBool>) {
        let work = tokio::spawn({
            let (this, whom, action) = (Arc::clone(&self), whom.clone(), action.clone());
            async move {
                let acting = Box::pin(async {
                    begun.store(true, Relaxed);
                    this.field.act(&whom, &action).await
                });
                this.field.within(&whom.namespace, told(&action.deed), action.timeout, acting).await
            }
        });
        let _ends_with_this = Task(work.abort_handle());
        // After a panic it counts as failed, so that it is tried again.
        let done = work.await.unwrap_or_else(|_| Some(Found::failed("the host failed")));
        let Some(found) = done else { return self.give_up(&whom.parent, &action) };
        trail::acted(&whom, &action, &found);
        self.learn(whom, &action, found).await;
    }

    /// What this parent does not ask for any longer is not begun, and its outcome is forgotten. That it was done is not: who asks for it
    /// again has to wait as before.
    pub(super) fn keep(&self, parent: &ObjectRef, actions: &[Action]) {
        let mut done = self.done();
        let Some(of_parent) = done.get_mut(parent) else { return };
        of_parent.retain(|id, done| {
            if actions.iter().any(|action| action.id == *id) {
                return true;
            }
            let Some(begun) = &done.under_way else {
                (done.found, done.share) = (Found::pending(), Share::default());
                return true;
            };
            begun.load(Relaxed)
        });
    }

    /// Gives up what is asked for by this module.
    pub(super) fn revoke(&self, module: &str) {
        self.done().values_mut().for_each(|of_parent| of_parent.retain(|_, done| done.module != module));
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
    async fn learn(&self, whom: Whom, action: &Action, found: Found) {
        let Some(wait) = self.settle(&whom, action, found) else { return };
        self.field.wake(&whom.parent);
        sleep(wait).await;
        self.field.wake(&whom.parent);
    }

    /// How long to wait before the same is done again; none when nobody wants it any more.
    fn settle(&self, whom: &Whom, action: &Action, found: Found) -> Option<Duration> {
        let mut done = self.done();
        let of_parent = done.get_mut(&whom.parent)?;
        let done = of_parent.get_mut(&action.id).filter(|done| done.mark == mark(&action.deed))?;
        let wait = if found.outcome.is_ok() {
            done.failures = 0;
            AGAIN
        } else {
            done.failures = done.failures.saturating_add(1);
            FIRST_WAIT.saturating_mul(1 << (done.failures - 1).min(10)).min(LONGEST_WAIT)
        };
        done.share = Share::default();
        let share = self.field.quotas.take(whom, quotas::of_outcome(&found));
        (done.found, done.share) = match share {
            Ok(share) => (found, share),
            Err(why) => (Found { at: found.at, ..Found::failed(why) }, Share::default()),
        };
        (done.under_way, done.after) = (None, Instant::now() + wait);
        Some(wait)
    }

    fn done(&self) -> MutexGuard<'_, HashMap<ObjectRef, HashMap<String, Done>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a deed, roughly.
fn size(deed: &Deed) -> usize {
    match deed {
        Deed::Http(request) => quotas::of_request(request),
        Deed::Delete { .. } => 0,
    }
}
