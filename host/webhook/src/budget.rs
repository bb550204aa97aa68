//! Bytes that requests may hold at a time: all of them together, and those of one peer.
//!
//! Whoever fits is let in, without a queue: in one, a small review would wait behind large bodies that wait for room.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Where a request comes from: an extension of the request. None is known where there are no sockets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Bytes for the bodies of one sort of request.
pub(crate) struct Budget {
    all: usize,
    /// What one peer may hold.
    part: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    peers: HashMap<Option<Peer>, usize>,
    /// How many wait for room.
    waiting: usize,
}

/// A part of a budget, which is given back when this is dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    peer: Option<Peer>,
    bytes: usize,
}

/// Somebody who waits.
struct Waiting<'a>(&'a Budget);

impl Budget {
    /// A budget of so many bytes, half of them for one peer, and in any case room for one body of the largest size.
    pub(crate) fn new(all: usize, largest: usize) -> Self {
        let part = (all / 2).max(largest);
        Self { all: all.max(part), part, taken: Mutex::default(), freed: Notify::new() }
    }

    /// Takes so many bytes, as soon as there are as many.
    pub(crate) async fn take(&self, peer: Option<Peer>, bytes: usize) -> Share<'_> {
        // Heard from before the first look on, so that nothing is freed unheard.
        let mut freed = pin!(self.freed.notified());
        freed.as_mut().enable();
        if let Some(share) = self.try_take(peer, bytes) {
            return share;
        }
        self.taken().waiting += 1;
        let _waiting = Waiting(self);
        loop {
            freed.as_mut().await;
            freed.set(self.freed.notified());
            freed.as_mut().enable();
            if let Some(share) = self.try_take(peer, bytes) {
                return share;
            }
        }
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_short(&self) -> bool {
        self.taken().waiting > 0
    }

    fn try_take(&self, peer: Option<Peer>, bytes: usize) -> Option<Share<'_>> {
        let bytes = bytes.min(self.part);
        let mut taken = self.taken();
        let of_peer = taken.peers.get(&peer).copied().unwrap_or_default();
        if taken.all + bytes > self.all || of_peer + bytes > self.part {
            return None;
        }
        taken.all += bytes;
        taken.peers.insert(peer, of_peer + bytes);
        Some(Share { budget: self, peer, bytes })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.budget.taken();
        taken.all = taken.all.saturating_sub(self.bytes);
        let left = taken.peers.get(&self.peer).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            taken.peers.remove(&self.peer);
        } else {
            taken.peers.insert(self.peer, left);
        }
        drop(taken);
        self.budget.freed.notify_waiters();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        taken.waiting = taken.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer([10, 0, 0, last].into())
    }

    #[tokio::test]
    async fn one_peer_gets_half_and_leaves_the_rest_to_the_others() {
        let budget = Budget::new(100, 10);
        let _one = budget.take(Some(peer(1)), 50).await;
        assert!(budget.try_take(Some(peer(1)), 1).is_none());
        let _two = budget.take(Some(peer(2)), 50).await;
        assert!(budget.try_take(Some(peer(3)), 1).is_none(), "all is taken");
    }

    #[tokio::test]
    async fn a_small_one_passes_by_a_large_one_that_waits_for_room() {
        let budget = Budget::new(100, 100);
        let held = budget.take(Some(peer(1)), 60).await;
        let mut large = pin!(budget.take(Some(peer(2)), 60));
        assert!(futures_pending(large.as_mut()).await && budget.is_short());
        drop(budget.take(Some(peer(2)), 30).await);
        drop(held);
        drop(large.await);
        assert!(!budget.is_short());
        assert!(budget.taken().peers.is_empty() && budget.taken().all == 0);
    }

    #[tokio::test]
    async fn who_waits_no_longer_is_forgotten() {
        let budget = Budget::new(10, 10);
        let _held = budget.take(None, 10).await;
        {
            let mut waits = pin!(budget.take(None, 10));
            assert!(futures_pending(waits.as_mut()).await && budget.is_short());
        }
        assert!(!budget.is_short());
    }

    #[tokio::test]
    async fn one_body_of_the_largest_size_always_fits() {
        let budget = Budget::new(0, 7);
        assert_eq!(budget.take(None, 7).await.bytes, 7);
    }

    async fn futures_pending(mut work: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(work.as_mut().poll(context).is_pending())).await
    }
}
