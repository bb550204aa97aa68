//! The moment after which this process writes nothing any more, whatever still runs in it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Shut by itself when a lease has not been renewed in time. Asked right before each write, so that a process that was stopped and goes on
/// later, in the middle of a reconcile, writes nothing on the strength of a lease that is long another's. Clones share it.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Open,
    OpenUntil(Instant),
    Shut,
}

impl Fence {
    /// For a process without a lease: always open.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// For a process that waits for its lease.
    pub fn shut() -> Self {
        Self(Arc::new(Mutex::new(State::Shut)))
    }

    /// Whether something may be written now.
    pub fn may_write(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open => true,
            State::OpenUntil(end) => Instant::now() < end,
            State::Shut => false,
        }
    }

    /// The lease holds until then; not at all without a time.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until.map_or(State::Shut, State::OpenUntil);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fence_shuts_by_itself_when_nobody_renews_the_lease() {
        let fence = Fence::shut();
        assert!(!fence.may_write());
        fence.set(Some(Instant::now() + Duration::from_secs(10)));
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert!(fence.may_write());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!fence.may_write());
        fence.set(None);
        assert!(!fence.may_write() && Fence::open().may_write());
    }
}
