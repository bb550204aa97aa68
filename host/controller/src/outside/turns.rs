//! Whose turn it is outside. What is slow or dead there holds up those who ask for it, and nobody else: so much is under way at a time,
//! so much of it for one namespace, and so much of it at one server; and a server that stays silent is left alone for a while.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// So many questions and actions of all modules are under way at a time; the others wait.
const ALL: usize = 64;
/// So many of them for one namespace: four namespaces have to do the same before others wait for them.
const NAMESPACE: usize = 16;
/// So many of them at one server.
const SERVER: usize = 16;
/// A server that was silent so often in a row is left alone.
const SILENT: u32 = 5;
/// For so long at first, and twice as long after each time that it was silent again.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_mins(5);

/// Hands out turns.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    namespaces: Groups,
    servers: Groups,
    silent: Mutex<HashMap<Place, Silence>>,
}

/// A server as seen from a namespace. What one namespace asks, with limits of its own choice, says nothing about the server to others.
pub(super) type Place = (String, String);

/// A turn: while it is held, one thing may be under way.
pub(super) struct Turn(#[expect(dead_code, reason = "held for their drop")] Vec<OwnedSemaphorePermit>);

/// A server that did not answer.
struct Silence {
    times: u32,
    until: Instant,
    /// What it came to the last time.
    why: String,
}

/// One semaphore a name, as long as somebody has it.
pub(super) struct Groups<Name = String> {
    size: usize,
    groups: Mutex<HashMap<Name, Arc<Semaphore>>>,
}

/// So many semaphores are kept that nobody may have.
const UNUSED: usize = 64;

impl<Name: Eq + Hash> Groups<Name> {
    pub(super) fn new(size: usize) -> Self {
        Self { size, groups: Mutex::default() }
    }

    pub(super) fn of<N>(&self, name: &N) -> Arc<Semaphore>
    where
        Name: Borrow<N>,
        N: Eq + Hash + ToOwned<Owned = Name> + ?Sized,
    {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(name) {
            return Arc::clone(group);
        }
        // Only when the map would have to grow: a look at all of them for each new name is the square of their number.
        if groups.len() >= UNUSED && groups.len() == groups.capacity() {
            // A permit holds its semaphore, so what only this map holds is in nobody's use.
            groups.retain(|_, group| Arc::strong_count(group) > 1);
        }
        let group = Arc::new(Semaphore::new(self.size));
        groups.insert(name.to_owned(), Arc::clone(&group));
        group
    }
}

impl Default for Turns {
    fn default() -> Self {
        let (namespaces, servers) = (Groups::new(NAMESPACE), Groups::new(SERVER));
        Self { all: Arc::new(Semaphore::new(ALL)), namespaces, servers, silent: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn of this namespace, at this server if one is asked. Always taken from the narrow to the wide, so that who waits for
    /// its own namespace holds up no other.
    /// None after the end.
    pub(super) async fn take(&self, namespace: &str, server: Option<&str>) -> Option<Turn> {
        let mut groups = vec![self.namespaces.of(namespace)];
        groups.extend(server.map(|server| self.servers.of(server)));
        groups.push(Arc::clone(&self.all));
        let mut permits = Vec::new();
        for group in groups {
            permits.push(group.acquire_owned().await.ok()?);
        }
        Some(Turn(permits))
    }

    /// Waits until every turn has ended, and gives none any more.
    pub(super) async fn end(&self) {
        if let Ok(all) = self.all.acquire_many(u32::try_from(ALL).unwrap_or(u32::MAX)).await {
            self.all.close();
            drop(all);
        }
    }

    /// Why a server is left alone at the moment, if it is. When its time is over, one caller is let through to find out; the others go on
    /// without it until that one is back.
    pub(super) fn rests(&self, place: &Place) -> Option<String> {
        let mut silent = self.silent();
        let silence = silent.get_mut(place).filter(|silence| silence.times >= SILENT)?;
        if Instant::now() >= silence.until {
            silence.until = Instant::now() + rest(silence.times);
            return None;
        }
        Some(format!("{}; so it went several times in a row, and it is asked again within minutes", silence.why))
    }

    /// Takes note of whether a server answered, and of what happened instead.
    pub(super) fn note(&self, place: Place, silence: Option<String>) {
        let (mut silent, now) = (self.silent(), Instant::now());
        let Some(why) = silence else {
            silent.remove(&place);
            return;
        };
        silent.retain(|_, silence| now < silence.until + LONGEST_REST);
        let times = silent.get(&place).map_or(1, |silence| silence.times.saturating_add(1));
        silent.insert(place, Silence { times, until: now + rest(times), why });
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<Place, Silence>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rest(times: u32) -> Duration {
    FIRST_REST.saturating_mul(1 << times.saturating_sub(SILENT).min(10)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn place(namespace: &str) -> Place {
        (namespace.to_owned(), "cas:8081".to_owned())
    }

    #[tokio::test]
    async fn one_namespace_and_one_server_take_their_share_and_no_more() {
        let turns = Turns::default();
        let taken = |namespace: &str, server: &str| turns.take(namespace, Some(server)).now_or_never().flatten();
        let held: Vec<Turn> = (0..NAMESPACE).filter_map(|n| taken("a", &format!("server {n}"))).collect();
        assert_eq!(held.len(), NAMESPACE);
        assert!(taken("a", "another").is_none() && taken("b", "another").is_some());
        drop(held);
        let held: Vec<Turn> = (0..SERVER).filter_map(|n| taken(&format!("namespace {n}"), "silent")).collect();
        assert_eq!(held.len(), SERVER);
        assert!(taken("b", "silent").is_none() && taken("b", "another").is_some());
    }

    #[tokio::test]
    async fn the_end_waits_for_turns_that_are_held_and_lets_none_begin() {
        let turns = Turns::default();
        let held = turns.take("a", None).await;
        let end = turns.end();
        let mut end = std::pin::pin!(end);
        assert!(end.as_mut().now_or_never().is_none());
        drop(held);
        end.await;
        assert!(turns.take("b", None).await.is_none());
        turns.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_left_alone_longer_each_time_and_one_caller_finds_out_when_it_is_back() {
        let turns = Turns::default();
        let silent = |namespace: &str| turns.note(place(namespace), Some("no answer".to_owned()));
        let rests = |namespace: &str| turns.rests(&place(namespace)).is_some();
        for _ in 0..SILENT {
            assert!(!rests("a"));
            silent("a");
        }
        assert!(rests("a") && !rests("b"), "what one namespace asks is no judgement for others");
        assert!(turns.rests(&place("a")).unwrap().starts_with("no answer; "));
        tokio::time::advance(FIRST_REST).await;
        assert!(!rests("a") && rests("a"), "one caller");
        silent("a");
        tokio::time::advance(FIRST_REST).await;
        assert!(rests("a"), "twice as long");
        tokio::time::advance(FIRST_REST).await;
        assert!(!rests("a"));
        turns.note(place("a"), None);
        assert!(!rests("a") && !rests("a"));
    }
}
