//! Background tasks under watch: one that ends although nobody asked it to ends the process, so that it is started again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use operator_controller::{Operator, Tasks, background};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch::{Receiver, Sender},
    task::{Id, JoinHandle, JoinSet},
};
use tracing::{info, warn};

use crate::failure::Failure;

/// A reconcile under way may take so long after SIGTERM, before the process ends without it.
const LAST_WORK: Duration = Duration::from_secs(6);
/// Between two looks at tasks that outlast the others.
const LOOK: Duration = Duration::from_secs(1);

/// Background tasks besides the operator's own.
pub(crate) struct Parts {
    /// True when all tasks but the lasting ones are to end.
    pub(crate) stop: Receiver<bool>,
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    lasting: Vec<Lasting>,
}

/// A task that goes on while others end.
struct Lasting {
    name: &'static str,
    /// Asks it to end; without one, it hears of the end as the others do, and takes its time.
    stop: Option<Sender<bool>>,
    task: JoinHandle<()>,
}

impl Parts {
    pub(crate) fn new(stop: Receiver<bool>) -> Self {
        Self { stop, running: JoinSet::new(), names: HashMap::new(), lasting: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(background(name, work));
        self.names.insert(task.id(), name);
    }

    /// A task that ends after all others, and after those lasting ones that are added later.
    pub(crate) fn add_lasting(
        &mut self,
        name: &'static str,
        stop: Option<Sender<bool>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.lasting.push(Lasting { name, stop, task: tokio::spawn(background(name, work)) });
    }

    /// The name of the next task that ends.
    async fn ended(&mut self) -> &'static str {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => {
                    let id = ended.map_or_else(|failed| failed.id(), |(id, ())| id);
                    return self.names.get(&id).copied().unwrap_or("a task without a name");
                }
                _ = look.tick() => {
                    if let Some(ended) = self.lasting.iter().find(|lasting| lasting.task.is_finished()) {
                        return ended.name;
                    }
                }
            }
        }
    }

    /// Ends the lasting tasks, one after the other.
    async fn end(self) {
        for Lasting { stop, task, .. } in self.lasting.into_iter().rev() {
            if let Some(stop) = stop {
                stop.send_replace(true);
            }
            // That it panicked was told by its name already.
            drop(task.await);
        }
    }
}

/// Waits for a signal or for an end that nobody asked for; then ends everything in order. `died` gets the reason at once, as the end
/// takes a while.
pub(crate) async fn supervise(
    tasks: Tasks,
    operator: &Arc<Operator>,
    mut parts: Parts,
    stopping: Sender<bool>,
    died: &Sender<Option<String>>,
) -> Result<(), Failure> {
    let signals = |error: std::io::Error| Failure::Ended(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut work = std::pin::pin!(tasks.run(operator, parts.stop.clone()));
    let mut works = true;
    let why = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut work => {
            works = false;
            Some(ended.err().map_or_else(|| "the operator's tasks ended".to_owned(), |ended| ended.to_string()))
        }
        name = parts.ended() => Some(format!("the task {name} ended although nobody asked it to; the process ends so that it is started again")),
    };
    died.send_replace(why.clone());
    info!(why, "stops: no parent is taken any more");
    stopping.send_replace(true);
    if works && tokio::time::timeout(LAST_WORK, work).await.is_err() {
        warn!(seconds = LAST_WORK.as_secs(), "work under way did not end in time");
    }
    parts.end().await;
    why.map_or(Ok(()), |why| Err(Failure::Ended(why)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{sync::watch, time::Instant};

    use super::*;

    fn parts() -> (Parts, Sender<bool>) {
        let (stopping, stop) = watch::channel(false);
        (Parts::new(stop), stopping)
    }

    async fn until(mut stop: Receiver<bool>) {
        drop(stop.wait_for(|stop| *stop).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_named_at_once_among_those_that_go_on() {
        let (mut parts, _stopping) = parts();
        let stop = parts.stop.clone();
        parts.add("goes on", until(stop));
        parts.add("panics", async { panic!("on purpose") });
        assert_eq!(parts.ended().await, "panics");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_task_that_ends_is_named_within_five_seconds() {
        let (mut parts, _stopping) = parts();
        let stop = parts.stop.clone();
        parts.add("goes on", until(stop));
        parts.add_lasting("ends", None, async {});
        let started = Instant::now();
        assert_eq!(parts.ended().await, "ends");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn of_lasting_tasks_the_last_added_ends_first() {
        let (mut parts, _stopping) = parts();
        let ends = Arc::new(Mutex::new(Vec::new()));
        for name in ["health", "lease"] {
            let ((stop, stopped), ends) = (watch::channel(false), Arc::clone(&ends));
            parts.add_lasting(name, Some(stop), async move {
                until(stopped).await;
                ends.lock().unwrap().push(name);
            });
        }
        parts.end().await;
        assert_eq!(*ends.lock().unwrap(), ["lease", "health"]);
    }
}
