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

/// A fixed number of threads and one queue. The threads end when the pool is dropped.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    waiting: AtomicUsize,
    patience: Duration,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<(Instant, Task)>,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(threads: usize, patience: Duration) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new(), waiting: AtomicUsize::new(0), patience });
        let pool = Self(shared);
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("module-{number}")).stack_size(STACK).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs the task as soon as a thread is free.
    pub(crate) fn submit(&self, task: Task) {
        let mut queue = lock(&self.0.queue);
        queue.tasks.push_back((Instant::now(), task));
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
        while let Some((since, task)) = self.next() {
            let waited = since.elapsed();
            guarded(task, if waited > self.patience { Turn::TooLate(waited) } else { Turn::Run });
        }
    }

    fn next(&self) -> Option<(Instant, Task)> {
        let queue = lock(&self.queue);
        let mut queue = self
            .ready
            .wait_while(queue, |queue| queue.tasks.is_empty() && !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let task = queue.tasks.pop_front();
        self.waiting.store(queue.tasks.len(), Ordering::Relaxed);
        task
    }

    fn expired(&self) -> Option<(Duration, Task)> {
        let mut queue = lock(&self.queue);
        let waited = queue.tasks.front()?.0.elapsed();
        if waited <= self.patience {
            return None;
        }
        let (_, task) = queue.tasks.pop_front()?;
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
        let pool = Pool::new(1, LONG).unwrap();
        let (sender, results) = mpsc::channel();
        pool.submit(Box::new(|_| panic!("on purpose")));
        for number in 0..3 {
            let sender = sender.clone();
            pool.submit(Box::new(move |turn| sender.send((number, turn)).unwrap()));
        }
        drop(sender);
        assert_eq!(results.iter().collect::<Vec<_>>(), [(0, Turn::Run), (1, Turn::Run), (2, Turn::Run)]);
    }

    #[test]
    fn a_task_that_waits_too_long_hears_of_it_while_the_threads_are_busy() {
        let pool = Pool::new(1, Duration::ZERO).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (sender, results) = mpsc::channel();
        let (started, running) = mpsc::channel();
        pool.submit(Box::new(move |_| {
            started.send(()).unwrap();
            let _ = held.recv();
        }));
        running.recv().unwrap();
        pool.submit(Box::new(move |turn| sender.send(turn).unwrap()));
        while !matches!(results.try_recv(), Ok(Turn::TooLate(_))) {
            pool.expire();
        }
        drop(release);
    }
}
