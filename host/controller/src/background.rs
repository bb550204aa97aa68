//! Background tasks: each one has a name, and a test can have it panic.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};
use tracing::{debug, error};

/// Names the task that is to panic. Builds for production do not look at it.
const PANICS: &str = "SCONE_OPERATOR_PANIC";
/// The task panics so long after its begin: in the middle of its work.
const AFTER: Duration = Duration::from_secs(1);

/// Does the work of a background task. In builds for tests the task panics that `SCONE_OPERATOR_PANIC` names, so that a test can see
/// for each one that its end does not go unseen.
pub async fn background<T>(name: &str, work: impl Future<Output = T>) -> T {
    debug!(task = name, "begins");
    if cfg!(debug_assertions) && std::env::var(PANICS).is_ok_and(|panics| panics == name) {
        sleep(AFTER).await;
        on_purpose(name);
    }
    work.await
}

#[expect(clippy::panic, reason = "what tests ask for")]
fn on_purpose(name: &str) {
    panic!("{name} panics, as {PANICS} asks for");
}

/// Does work that nobody waits for; after a panic it starts again, so that one question that goes wrong is asked again, and no other
/// suffers. When this is dropped, the work ends.
pub(crate) async fn again_after_panics<W>(name: &str, pause: Duration, work: impl Fn() -> W)
where
    W: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    running.spawn(work());
    while let Some(Err(failed)) = running.join_next().await {
        error!(task = name, %failed, "it starts again");
        sleep(pause).await;
        running.spawn(work());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_starts_again_and_ends_when_it_is_done() {
        let tries = Arc::new(AtomicU32::new(0));
        let work = || {
            let tries = Arc::clone(&tries);
            async move { assert!(tries.fetch_add(1, Ordering::SeqCst) == 2, "on purpose") }
        };
        again_after_panics("work", Duration::from_secs(5), work).await;
        assert_eq!(tries.load(Ordering::SeqCst), 3);
    }
}
