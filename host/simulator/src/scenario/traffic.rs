//! Calls from other threads while a script goes on: what a swap must not lose.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use operator_controller::Cache;
use operator_core::{ObjectRef, Serving, Snapshot};

use crate::World;

/// Calls that each thread makes at least, so that `traffic stop` right after a swap still saw both versions.
const CALLS: u64 = 200;

/// Threads that call the modules without pause.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Report>>,
}

/// What the threads saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) calls: u64,
    pub(super) failed: u64,
    slowest: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} failed, slowest {:.1} ms", self.calls, self.failed, self.slowest.as_secs_f64() * 1e3)
    }
}

impl Traffic {
    /// Calls every module with its first parent from two threads.
    pub(super) fn start(world: &World) -> Result<Self, String> {
        let mut targets: Vec<(Arc<Serving>, Snapshot)> = Vec::new();
        for (name, serving) in world.serving() {
            let parent = world.parents(name).into_iter().next();
            let document = parent.and_then(|parent: ObjectRef| world.cluster.get(&parent));
            targets.extend(document.map(|document| (Arc::clone(serving), Snapshot::of(document))));
        }
        if targets.is_empty() {
            return Err("there is no parent to call a module with; apply one first".into());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (stop, targets) = (Arc::clone(&stop), targets.clone());
            thread::spawn(move || call(&targets, &stop))
        };
        Ok(Self { threads: (0..2).map(start).collect(), stop })
    }

    /// Ends the calls and adds up.
    pub(super) fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Report::default();
        for thread in self.threads {
            // A thread that panicked lost its calls; count that as one that failed.
            let report = thread.join().unwrap_or(Report { failed: 1, ..Report::default() });
            total.calls += report.calls;
            total.failed += report.failed;
            total.slowest = total.slowest.max(report.slowest);
        }
        total
    }
}

fn call(targets: &[(Arc<Serving>, Snapshot)], stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut after = 0;
    while after < CALLS {
        if stop.load(Ordering::Relaxed) {
            after += 1;
        }
        for (serving, snapshot) in targets {
            let started = Instant::now();
            let answer = pollster::block_on(serving.current().reconcile(snapshot.clone()));
            report.slowest = report.slowest.max(started.elapsed());
            report.calls += 1;
            report.failed += u64::from(answer.is_err());
        }
    }
    report
}
