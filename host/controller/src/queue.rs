//! Which parents wait for a reconcile. One at a time for each parent; what is asked for while it runs comes after.
//!
//! What a user edited goes before what changed because of it, and that before what is only looked at again; what has waited for long goes
//! before all of it, so that a flood of one class starves no other. A failure waits longer each time, and a success forgets that.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use operator_core::ObjectRef;
use tokio::{sync::Notify, time::Instant};

/// How soon a parent's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody made, edited or deleted the parent, and waits for what becomes of it.
    Edit,
    /// Something changed: an object of its set, an answer from outside.
    Change,
    /// Nothing is known to have changed: a first list, a resync, a retry, another version of the module.
    Again,
}

impl Class {
    /// So long a parent may be overtaken by edits. Of the order of minutes, since the first list of a large cluster takes some.
    fn patience(self) -> Duration {
        match self {
            Self::Edit => Duration::ZERO,
            Self::Change => Duration::from_secs(30),
            Self::Again => Duration::from_mins(5),
        }
    }
}

/// First wait after a failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after a failure.
const LONGEST: Duration = Duration::from_mins(5);

/// Tries of a parent that stalls, before only a change brings it back.
const STALLED_TRIES: u32 = 3;

/// Parents that wait.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Ready, in the order of their turns: the time at which nothing may overtake them any more, and a number.
    ready: BTreeSet<(Instant, u64, ObjectRef)>,
    /// Each ready parent's place in `ready`.
    places: HashMap<ObjectRef, (Instant, u64)>,
    /// Later ones, soonest first. An entry counts only if `later` still says the same time.
    clock: BinaryHeap<Reverse<(Instant, ObjectRef)>>,
    later: HashMap<ObjectRef, Instant>,
    running: HashSet<ObjectRef>,
    /// Asked for while running.
    again: BTreeMap<ObjectRef, Class>,
    failures: HashMap<ObjectRef, u32>,
    number: u64,
    closed: bool,
}

impl State {
    fn push(&mut self, parent: ObjectRef, class: Class) {
        if self.running.contains(&parent) {
            let wanted = self.again.entry(parent).or_insert(class);
            *wanted = class.min(*wanted);
            return;
        }
        self.later.remove(&parent);
        let turn = Instant::now() + class.patience();
        if let Some((there, number)) = self.places.get(&parent).copied() {
            if there <= turn {
                return;
            }
            self.ready.remove(&(there, number, parent.clone()));
        }
        self.number += 1;
        self.places.insert(parent.clone(), (turn, self.number));
        self.ready.insert((turn, self.number, parent));
    }

    fn delay(&mut self, parent: &ObjectRef, at: Instant) {
        let sooner = self.later.get(parent).is_some_and(|there| *there <= at);
        if sooner || self.places.contains_key(parent) {
            return;
        }
        self.later.insert(parent.clone(), at);
        self.clock.push(Reverse((at, parent.clone())));
    }

    /// Moves what is due to `ready`; tells when the next one is.
    fn wake(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, parent))) = self.clock.peek().cloned() {
            let stale = self.later.get(&parent) != Some(&at);
            if !stale && at > now {
                return Some(at);
            }
            self.clock.pop();
            if !stale {
                self.push(parent, Class::Again);
            }
        }
        None
    }

    fn pop(&mut self) -> Option<ObjectRef> {
        let (_, _, parent) = self.ready.pop_first()?;
        self.places.remove(&parent);
        self.running.insert(parent.clone());
        Some(parent)
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a reconcile of this parent.
    pub fn push(&self, parent: ObjectRef, class: Class) {
        self.state().push(parent, class);
        self.changed.notify_one();
    }

    /// Asks for a look at this parent after a while, unless one comes sooner.
    pub fn push_later(&self, parent: &ObjectRef, wait: Duration) {
        self.state().delay(parent, Instant::now() + wait);
        self.changed.notify_one();
    }

    /// The next parent, which counts as running until [`Queue::done`] or [`Queue::failed`]; none once the queue is closed.
    pub async fn next(&self) -> Option<ObjectRef> {
        loop {
            let changed = self.changed.notified();
            let due = {
                let mut state = self.state();
                if state.closed {
                    // The next worker hears of it from this one.
                    self.changed.notify_one();
                    return None;
                }
                let due = state.wake(Instant::now());
                if let Some(parent) = state.pop() {
                    // Another worker may be waiting for what is still ready.
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(parent);
                }
                due
            };
            match due {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// A reconcile went well. It comes again after `again`, or when something changes.
    pub fn done(&self, parent: &ObjectRef, again: Option<Duration>) {
        self.state().failures.remove(parent);
        self.finish(parent, again);
    }

    /// A reconcile did not go through. It comes again, later each time; tells when.
    pub fn failed(&self, parent: &ObjectRef) -> Duration {
        let wait = {
            let mut state = self.state();
            let failures = state.failures.entry(parent.clone()).or_insert(0);
            let wait = FIRST.saturating_mul(2_u32.saturating_pow(*failures)).min(LONGEST);
            *failures = failures.saturating_add(1);
            wait
        };
        self.finish(parent, Some(wait));
        wait
    }

    /// A reconcile ended where the same input would end again: a few tries, in case the reason was a passing one, then only a
    /// change brings it back.
    pub fn stalled(&self, parent: &ObjectRef) {
        let tries = self.state().failures.get(parent).copied().unwrap_or(0) + 1;
        if tries < STALLED_TRIES {
            self.failed(parent);
        } else {
            self.state().failures.insert(parent.clone(), tries);
            self.finish(parent, None);
        }
    }

    fn finish(&self, parent: &ObjectRef, again: Option<Duration>) {
        let mut state = self.state();
        state.running.remove(parent);
        if let Some(class) = state.again.remove(parent) {
            state.push(parent.clone(), class);
        } else if let Some(wait) = again {
            state.delay(parent, Instant::now() + wait);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets a parent that does not exist any more.
    pub fn forget(&self, parent: &ObjectRef) {
        let mut state = self.state();
        state.failures.remove(parent);
        state.later.remove(parent);
    }

    /// How many wait for their turn now.
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No turns any more: every [`Queue::next`] ends.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(name: &str) -> ObjectRef {
        ObjectRef::cluster("example.org/v1", "Thing", name)
    }

    async fn names(queue: &Queue, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(queue.next().await.unwrap().name);
        }
        names
    }

    #[tokio::test(start_paused = true)]
    async fn changes_go_before_looking_again_and_older_before_newer() {
        let queue = Queue::default();
        queue.push(parent("resync"), Class::Again);
        queue.push(parent("b"), Class::Change);
        queue.push(parent("a"), Class::Change);
        assert_eq!(names(&queue, 3).await, ["b", "a", "resync"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_goes_before_a_first_list_and_its_consequences_and_after_what_has_waited_for_minutes() {
        let queue = Queue::default();
        queue.push(parent("listed"), Class::Again);
        queue.push(parent("changed"), Class::Change);
        queue.push(parent("edited"), Class::Edit);
        assert_eq!(names(&queue, 3).await, ["edited", "changed", "listed"]);
        queue.push(parent("old"), Class::Again);
        tokio::time::advance(Duration::from_mins(6)).await;
        for edit in ["one", "two"] {
            queue.push(parent(edit), Class::Edit);
        }
        assert_eq!(names(&queue, 2).await, ["old", "one"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_looked_at_later_comes_at_its_time_or_with_a_change() {
        let queue = Queue::default();
        queue.push_later(&parent("a"), Duration::from_secs(40));
        queue.push_later(&parent("b"), Duration::from_secs(20));
        let start = Instant::now();
        queue.push(parent("a"), Class::Change);
        assert_eq!(names(&queue, 2).await, ["a", "b"]);
        assert_eq!(start.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_waits_once_and_a_change_makes_it_urgent() {
        let queue = Queue::default();
        queue.push(parent("a"), Class::Again);
        queue.push(parent("b"), Class::Again);
        queue.push(parent("b"), Class::Change);
        queue.push(parent("b"), Class::Again);
        assert_eq!(names(&queue, 2).await, ["b", "a"]);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_while_it_runs_comes_once_after() {
        let queue = Queue::default();
        queue.push(parent("a"), Class::Change);
        let running = queue.next().await.unwrap();
        queue.push(parent("a"), Class::Change);
        queue.push(parent("a"), Class::Again);
        assert!(queue.is_empty(), "never two of one parent at a time");
        queue.done(&running, None);
        assert_eq!(names(&queue, 1).await, ["a"]);
        queue.done(&running, None);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_up_to_a_limit_and_a_success_forgets_them() {
        let queue = Queue::default();
        let mut waits = Vec::new();
        for _ in 0..14 {
            queue.push(parent("a"), Class::Change);
            let running = queue.next().await.unwrap();
            waits.push(queue.failed(&running));
        }
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits[13], LONGEST);
        queue.push(parent("a"), Class::Change);
        let running = queue.next().await.unwrap();
        queue.done(&running, None);
        queue.push(parent("a"), Class::Change);
        let running = queue.next().await.unwrap();
        assert_eq!(queue.failed(&running), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_one_comes_back_by_itself_and_a_change_brings_it_back_at_once() {
        let queue = Queue::default();
        for name in ["a", "b"] {
            queue.push(parent(name), Class::Change);
            let running = queue.next().await.unwrap();
            queue.done(&running, Some(Duration::from_mins(1)));
        }
        let start = Instant::now();
        queue.push(parent("b"), Class::Change);
        assert_eq!(names(&queue, 1).await, ["b"]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(names(&queue, 1).await, ["a"]);
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_stalls_is_tried_three_times_and_then_after_each_change() {
        let queue = Queue::default();
        queue.push(parent("a"), Class::Change);
        for _ in 0..3 {
            let running = queue.next().await.unwrap();
            queue.stalled(&running);
        }
        assert!(tokio::time::timeout(Duration::from_hours(1), queue.next()).await.is_err(), "it rests");
        queue.push(parent("a"), Class::Change);
        let running = queue.next().await.unwrap();
        queue.stalled(&running);
        assert!(tokio::time::timeout(Duration::from_hours(1), queue.next()).await.is_err(), "one try a change");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_hears_of_work_and_of_the_end() {
        let queue = std::sync::Arc::new(Queue::default());
        let worker = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { (queue.next().await, queue.next().await) }
        });
        tokio::task::yield_now().await;
        queue.push(parent("a"), Class::Change);
        tokio::task::yield_now().await;
        queue.close();
        let (one, end) = worker.await.unwrap();
        assert_eq!(one.unwrap().name, "a");
        assert!(end.is_none());
    }
}
