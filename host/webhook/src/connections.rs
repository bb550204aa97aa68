//! Connections of a port: how many there may be, in all and of one peer, and which one goes when another comes.
//!
//! A port that lets nobody in while all places are taken is shut by whoever opens connections and says nothing. So a
//! connection on which nothing is asked goes, the one that never asked first. To clients that is nothing new: they open
//! another one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};
use tracing::{debug, warn};

mod speak;

pub use speak::{Arriving, Manners};

/// Pause after the system could not accept, such as for want of file handles.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How often it is told that connections are refused.
const TELL: Duration = Duration::from_secs(10);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// In all.
    pub all: usize,
    /// From one address.
    pub peer: usize,
}

/// What happens on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nothing was asked yet; there may be a TLS handshake under way.
    New,
    /// Nothing is asked now.
    Idle,
    /// A request has begun to come.
    Header,
    /// A request has begun, and its body has not ended.
    Intake,
    /// A request is judged.
    Work,
    /// Its answer is sent.
    Answer,
    /// The last answer is sent, and the rest of its request is thrown away.
    Over,
}

impl Stage {
    /// Which go first, the lowest first. None for those that stay.
    fn turn(self) -> Option<u8> {
        match self {
            Self::New | Self::Over => Some(0),
            Self::Idle => Some(1),
            // Real requests come within milliseconds: what is still coming when nobody is idle is hardly meant well, and
            // the longer the less.
            Self::Header | Self::Intake => Some(2),
            Self::Work | Self::Answer => None,
        }
    }
}

/// What happens on a connection, since when, and whether it has to go.
#[derive(Clone, Copy, Debug)]
struct State {
    stage: Stage,
    since: Instant,
    evicted: bool,
}

type Shared = Arc<watch::Sender<State>>;

/// Goes on to a stage when the connection is in one of these.
fn pass(state: &Shared, from: &[Stage], to: Stage) {
    state.send_if_modified(|state| {
        let passes = from.contains(&state.stage);
        if passes {
            *state = State { stage: to, since: Instant::now(), ..*state };
        }
        passes
    });
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, (IpAddr, Shared)>,
    /// Refused since that was told last.
    refused: u64,
    told: Option<Instant>,
}

/// The connections of a port.
#[derive(Clone)]
pub struct Connections {
    room: Room,
    table: Arc<Mutex<Table>>,
}

/// The place of one connection, which is free again when this is dropped, or when the connection was evicted.
pub struct Seat {
    number: u64,
    table: Arc<Mutex<Table>>,
    peer: IpAddr,
    state: Shared,
    seen: watch::Receiver<State>,
}

impl Connections {
    /// None yet, and room for so many.
    pub fn new(room: Room) -> Self {
        Self { room, table: Arc::default() }
    }

    /// The next connection that there is room for. When the system cannot accept, that is told, and tried again.
    pub async fn accept(&self, listener: &TcpListener) -> (TcpStream, Seat) {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "no connection can be accepted; check the limit of file handles");
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            };
            // Answers are one small write each.
            drop(stream.set_nodelay(true));
            if let Some(seat) = self.seat(address.ip().to_canonical()) {
                return (stream, seat);
            }
        }
    }

    fn seat(&self, peer: IpAddr) -> Option<Seat> {
        let mut table = lock(&self.table);
        let of_peer = table.open.values().filter(|(of, _)| *of == peer).count();
        let is_free = if of_peer >= self.room.peer {
            table.make_room(|of| of == peer)
        } else {
            table.open.len() < self.room.all || table.make_room(|_| true)
        };
        if !is_free {
            table.tell(peer);
            return None;
        }
        let (state, seen) = watch::channel(State { stage: Stage::New, since: Instant::now(), evicted: false });
        let state = Arc::new(state);
        let number = table.next;
        table.next += 1;
        table.open.insert(number, (peer, Arc::clone(&state)));
        Some(Seat { number, table: Arc::clone(&self.table), peer, state, seen })
    }
}

impl Table {
    /// Makes room, and says whether it did.
    fn make_room(&mut self, of: impl Fn(IpAddr) -> bool) -> bool {
        let candidates = self.open.iter().filter(|(_, (peer, _))| of(*peer));
        let candidates = candidates.filter_map(|(number, (_, state))| {
            let state = *state.borrow();
            Some((state.stage.turn()?, state.since, *number))
        });
        let Some((peer, state)) = candidates.min().and_then(|(_, _, number)| self.open.remove(&number)) else {
            return false;
        };
        state.send_modify(|state| state.evicted = true);
        debug!(%peer, "an idle connection makes room for another one");
        true
    }

    fn tell(&mut self, peer: IpAddr) {
        self.refused += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            let refused = self.refused;
            warn!(%peer, refused, "connections are refused, since requests are judged on all; look who sends so many");
            (self.refused, self.told) = (0, Some(Instant::now()));
        }
    }
}

impl Seat {
    /// Whose connection it is.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Waits until the connection has to go.
    pub async fn evicted(&mut self) {
        // The sender lives as long as this seat.
        drop(self.seen.wait_for(|state| state.evicted).await);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.table).open.remove(&self.number);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(all: usize, peer: usize) -> Connections {
        Connections::new(Room { all, peer })
    }

    fn from(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn is_evicted(seat: &Seat) -> bool {
        seat.seen.borrow().evicted
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asked_goes_first_and_then_who_was_idle_longest() {
        let connections = connections(3, 3);
        let mut seats = Vec::new();
        for _ in 0..3 {
            seats.push(connections.seat(from(1)).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        pass(&seats[1].state, &[Stage::New], Stage::Idle);
        tokio::time::advance(Duration::from_secs(1)).await;
        pass(&seats[0].state, &[Stage::New], Stage::Idle);
        for goes in [2, 1, 0] {
            let next = connections.seat(from(2)).unwrap();
            pass(&next.state, &[Stage::New], Stage::Work);
            assert!(is_evicted(&seats[goes]), "{goes}");
            seats.push(next);
        }
        assert!(connections.seat(from(2)).is_none(), "on all that are left a request is under way");
        assert!(seats[3..].iter().all(|seat| !is_evicted(seat)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_that_takes_longest_to_come_goes_when_nobody_is_idle() {
        let connections = connections(3, 3);
        let mut seats = Vec::new();
        for stage in [Stage::Work, Stage::Intake, Stage::Header] {
            let seat = connections.seat(from(1)).unwrap();
            pass(&seat.state, &[Stage::New], stage);
            seats.push(seat);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let next = connections.seat(from(1)).unwrap();
        pass(&next.state, &[Stage::New], Stage::Work);
        assert_eq!([&seats[0], &seats[1], &seats[2]].map(is_evicted), [false, true, false]);
    }

    #[tokio::test]
    async fn a_peer_that_has_its_part_makes_room_for_itself_only() {
        let connections = connections(10, 1);
        let other = connections.seat(from(1)).unwrap();
        let first = connections.seat(from(2)).unwrap();
        let second = connections.seat(from(2)).unwrap();
        assert_eq!([&other, &first, &second].map(is_evicted), [false, true, false]);
        pass(&second.state, &[Stage::New], Stage::Work);
        assert!(connections.seat(from(2)).is_none());
        drop(second);
        assert!(connections.seat(from(2)).is_some(), "its place is free again");
        assert_eq!(other.peer(), from(1));
    }
}
