//! Requests from several tasks at a time, until they are stopped. None may fail.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::Patience;

/// Load that goes on. It has to be ended: what failed is told then.
pub struct Load {
    patience: Patience,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins with the first good answer, since whoever serves needs a moment to be known. `ask` asks once, and gives what is wrong with
    /// the answer. Each task rests for `pause` between two requests: a load without one takes the processors from what it is to watch, such
    /// as a pod that starts.
    pub async fn start<A, F>(patience: Patience, tasks: usize, pause: Duration, ask: A) -> Self
    where
        A: Fn() -> F + Clone + Send + 'static,
        F: Future<Output = Option<String>> + Send + 'static,
    {
        patience.until("a first good answer", &ask, Option::is_none).await;
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let failed: Arc<Mutex<Vec<String>>> = Arc::default();
        let run = |_| {
            let (ask, stop, sent, failed) = (ask.clone(), Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let wrong = ask().await;
                    failed.lock().unwrap_or_else(PoisonError::into_inner).extend(wrong);
                    sent.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            })
        };
        let tasks = (0..tasks).map(run).collect();
        Self { patience, stop, sent, failed, tasks }
    }

    /// How many requests were answered.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for so many more.
    pub async fn goes_on(&self, more: usize) {
        let wanted = self.sent() + more;
        self.patience.until_now("more requests", || self.sent(), |sent| *sent >= wanted).await;
    }

    /// Ends the load, and gives how many requests there were.
    ///
    /// # Panics
    ///
    /// When one has failed.
    pub async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            let ended = task.await;
            assert!(ended.is_ok(), "a task of the load ended: {ended:?}");
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(failed.is_empty(), "{} of {} failed, such as {:?}", failed.len(), self.sent(), failed.first());
        self.sent()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let forgotten = !self.tasks.is_empty() && !std::thread::panicking();
        assert!(!forgotten, "a load was dropped, and nobody heard whether a request failed: `end` it");
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);
    const PATIENCE: Patience = Patience { limit: Duration::from_mins(1), every: Duration::from_millis(1) };

    #[tokio::test]
    async fn a_load_tells_how_many_requests_were_answered() {
        let load = Load::start(PATIENCE, 2, PAUSE, || ready(None)).await;
        load.goes_on(10).await;
        assert!(load.end().await >= 10);
    }

    #[tokio::test]
    #[should_panic(expected = "failed, such as Some(\"no answer\")")]
    async fn one_request_that_fails_among_many_is_told_in_the_end() {
        let asked = Arc::new(AtomicUsize::new(0));
        let fails_once = move || ready((asked.fetch_add(1, Ordering::Relaxed) == 5).then(|| "no answer".to_owned()));
        let load = Load::start(PATIENCE, 1, PAUSE, fails_once).await;
        load.goes_on(10).await;
        load.end().await;
    }

    #[tokio::test]
    #[should_panic(expected = "nobody heard whether a request failed")]
    async fn a_load_that_nobody_ends_fails_its_test() {
        drop(Load::start(PATIENCE, 1, PAUSE, || ready(None)).await);
    }
}
