//! Who runs when: slots for calls, and threads for the calls that nobody's own thread makes.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Stack of a thread that runs modules: far more than a module's 512 KiB and what the host needs below it.
const STACK: usize = 2 * 1024 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; a poisoned one still holds a valid value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many calls as the allocator has slots for; the others wait here, since the allocator itself would refuse them.
pub(crate) struct Slots {
    room: Mutex<Room>,
    freed: Condvar,
    taken: AtomicUsize,
}

struct Room {
    free: u32,
    /// How many wait: waking nobody would still be a system call.
    waiting: u32,
}

/// One slot, given back on drop.
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        Self { room: Mutex::new(Room { free: count, waiting: 0 }), freed: Condvar::new(), taken: AtomicUsize::new(0) }
    }

    /// Whether any call is under way.
    pub(crate) fn busy(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > 0
    }

    /// A slot, or none when all are taken for so long.
    pub(crate) fn take(&self, patience: Duration) -> Option<Slot<'_>> {
        let mut room = lock(&self.room);
        if room.free == 0 {
            room.waiting += 1;
            room = self
                .freed
                .wait_timeout_while(room, patience, |room| room.free == 0)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            room.waiting -= 1;
        }
        room.free = room.free.checked_sub(1)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        let mut room = lock(&self.0.room);
        room.free += 1;
        if room.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// What a task is told when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Run.
    Run,
    /// It has waited too long: so long.
    TooLate(Duration),
}

/// One call that waits for a thread.
pub(crate) type Task = Box<dyn FnOnce(Turn) + Send>;

/// A fixed number of threads and one queue. One thread is always left to others: a module takes all but one, however much it wants, so
/// that one that loops until its budget ends holds up none but itself. The threads end when the pool is dropped.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    waiting: AtomicUsize,
    patience: Duration,
    /// So many calls of one module run at a time.
    cap: usize,
}

/// How many calls of one module run in a pool. Only touched under the lock of the queue.
#[derive(Default)]
pub(crate) struct Load(AtomicUsize);

struct Waiting {
    since: Instant,
    load: Arc<Load>,
    task: Task,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Waiting>,
    closed: bool,
}

impl Queue {
    /// The place of the first call whose module may have another thread.
    fn eligible(&self, cap: usize) -> Option<usize> {
        self.tasks.iter().position(|waiting| waiting.load.0.load(Ordering::Relaxed) < cap)
    }
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, patience: Duration) -> io::Result<Self> {
        let (threads, waiting) = (threads.max(1), AtomicUsize::new(0));
        let cap = (threads - 1).max(1);
        let shared = Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new(), waiting, patience, cap });
        let pool = Self(shared);
        for number in 0..threads {
            let shared = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("{name}-{number}")).stack_size(STACK).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs the task as soon as a thread is free for its module, of which `load` is the same each time.
    pub(crate) fn submit(&self, load: &Arc<Load>, task: Task) {
        let mut queue = lock(&self.0.queue);
        queue.tasks.push_back(Waiting { since: Instant::now(), load: Arc::clone(load), task });
        self.0.waiting.store(queue.tasks.len(), Ordering::Relaxed);
        drop(queue);
        self.0.ready.notify_one();
    }

    /// Tells tasks that have waited too long. Called by the ticker, so that they hear of it while all threads are busy.
    pub(crate) fn expire(&self) {
        if self.0.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        while let Some((waited, task)) = self.0.expired() {
            guarded(task, Turn::TooLate(waited));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.0.queue).closed = true;
        self.0.ready.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(Waiting { since, load, task }) = self.next() {
            let waited = since.elapsed();
            guarded(task, if waited > self.patience { Turn::TooLate(waited) } else { Turn::Run });
            let queue = lock(&self.queue);
            load.0.fetch_sub(1, Ordering::Relaxed);
            let (more, closed) = (!queue.tasks.is_empty(), queue.closed);
            drop(queue);
            if closed {
                self.ready.notify_all();
            } else if more {
                // One that waited for its module's turn may have it now.
                self.ready.notify_one();
            }
        }
    }

    /// The next call to run; none once the pool is closed and nothing waits.
    fn next(&self) -> Option<Waiting> {
        let queue = lock(&self.queue);
        let mut queue = self
            .ready
            .wait_while(queue, |queue| queue.eligible(self.cap).is_none() && !(queue.closed && queue.tasks.is_empty()))
            .unwrap_or_else(PoisonError::into_inner);
        let next = queue.eligible(self.cap)?;
        let waiting = queue.tasks.remove(next)?;
        waiting.load.0.fetch_add(1, Ordering::Relaxed);
        self.waiting.store(queue.tasks.len(), Ordering::Relaxed);
        Some(waiting)
    }

    fn expired(&self) -> Option<(Duration, Task)> {
        let mut queue = lock(&self.queue);
        let waited = queue.tasks.front()?.since.elapsed();
        if waited <= self.patience {
            return None;
        }
        let Waiting { task, .. } = queue.tasks.pop_front()?;
        self.waiting.store(queue.tasks.len(), Ordering::Relaxed);
        Some((waited, task))
    }
}

/// A panic of the host's own code costs one call, whose caller sees its channel closed, and not a thread.
fn guarded(task: Task, turn: Turn) {
    if catch_unwind(AssertUnwindSafe(|| task(turn))).is_err() {
        tracing::error!("a call of a module panicked in the host; this is a bug of the host");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_slot_that_is_given_back_can_be_taken_again() {
        let slots = Slots::new(1);
        let slot = slots.take(LONG).unwrap();
        assert!(slots.busy());
        assert!(slots.take(Duration::ZERO).is_none());
        drop(slot);
        assert!(!slots.busy());
        assert!(slots.take(LONG).is_some());
    }

    #[test]
    fn tasks_run_in_order_and_survive_a_panic_of_one() {
        let (pool, load) = (Pool::new("test", 1, LONG).unwrap(), Arc::default());
        let (sender, results) = mpsc::channel();
        pool.submit(&load, Box::new(|_| panic!("on purpose")));
        for number in 0..3 {
            let sender = sender.clone();
            pool.submit(&load, Box::new(move |turn| sender.send((number, turn)).unwrap()));
        }
        drop(sender);
        assert_eq!(results.iter().collect::<Vec<_>>(), [(0, Turn::Run), (1, Turn::Run), (2, Turn::Run)]);
    }

    #[test]
    fn a_task_that_waits_too_long_hears_of_it_while_the_threads_are_busy() {
        let (pool, load) = (Pool::new("test", 1, Duration::ZERO).unwrap(), Arc::default());
        let (release, held) = mpsc::channel::<()>();
        let (sender, results) = mpsc::channel();
        let (started, running) = mpsc::channel();
        let holds = Box::new(move |_| {
            started.send(()).unwrap();
            let _ = held.recv();
        });
        pool.submit(&load, holds);
        running.recv().unwrap();
        pool.submit(&load, Box::new(move |turn| sender.send(turn).unwrap()));
        while !matches!(results.try_recv(), Ok(Turn::TooLate(_))) {
            pool.expire();
        }
        drop(release);
    }

    #[test]
    fn a_module_that_holds_its_threads_leaves_one_to_others() {
        let (pool, greedy, modest) = (Pool::new("test", 3, LONG).unwrap(), Arc::default(), Arc::default());
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (started, running) = mpsc::channel();
        for _ in 0..10 {
            let (held, started) = (Arc::clone(&held), started.clone());
            let holds = Box::new(move |_| {
                started.send("greedy").unwrap();
                let _ = lock(&held).recv();
            });
            pool.submit(&greedy, holds);
        }
        for _ in 0..2 {
            running.recv().unwrap();
        }
        pool.submit(&modest, Box::new(move |_| started.send("modest").unwrap()));
        assert_eq!(running.recv().unwrap(), "modest", "although eight calls came before it");
        drop(release);
        assert_eq!(running.iter().filter(|who| *who == "greedy").count(), 8, "then all of them run");
    }
}
