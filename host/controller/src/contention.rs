//! Notices objects over which two writers fight, and slows down the writes to them alone.
//!
//! A write that has to be repeated with the same content means that somebody undid it, or that the module's answers go in circles:
//! whoever edits a resource often asks for different content each time, and is not slowed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use operator_core::{Document, ObjectRef};

/// So many writes of the same content within [`WINDOW`] are a fight.
const REPEATS: usize = 3;
/// Seconds in which writes count; also the time between writes to an object over which there is a fight.
const WINDOW: i64 = 60;
/// Seconds without a write after which a fight is over.
const PEACE: i64 = 300;

/// Two things that undo each other.
const CREATED: &str = "created";
const DELETED: &str = "deleted";

/// The recent writes of one module.
#[derive(Default)]
pub(crate) struct Contention(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By a hash of what is written: a parent may have thousands of children.
    writes: HashMap<u64, Writes>,
    /// When what is over was last thrown away.
    swept: i64,
}

#[derive(Default)]
struct Writes {
    /// When, in Unix seconds, and a hash of what.
    recent: Vec<(i64, u64)>,
    last: i64,
    fought: bool,
}

/// What is about to be done, and to which part of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed<'a> {
    /// The object is made.
    Create(&'a Document),
    /// The object is changed.
    Write(&'a Document),
    /// The object goes.
    Delete,
    /// Fields are set on an object of somebody else, by this field manager.
    Set(&'a str, &'a Document),
    /// The status says this. Each content counts for itself: in the middle of a fight a status goes back and forth, and the one that tells
    /// of the fight must not wait because of that.
    Report(&'a Document),
}

impl Deed<'_> {
    /// What it is done to, and a hash of what is done.
    fn to(self, identity: &ObjectRef) -> (u64, u64) {
        let (part, content) = match self {
            Self::Create(document) => (CREATED.to_owned(), fingerprint(document.bytes())),
            Self::Write(document) => ("content".to_owned(), fingerprint(document.bytes())),
            Self::Delete => (DELETED.to_owned(), 0),
            Self::Set(manager, document) => (format!("fields {manager}"), fingerprint(document.bytes())),
            Self::Report(said) => {
                let content = fingerprint(said.bytes());
                (format!("status {content}"), content)
            }
        };
        (key(identity, &part), content)
    }
}

fn key(identity: &ObjectRef, part: &str) -> u64 {
    let ObjectRef { api_version, kind, namespace, name } = identity;
    let namespace = namespace.as_deref().unwrap_or_default();
    fingerprint([part, api_version, kind, namespace, name].join("\0").as_bytes())
}

/// A write that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// For so many seconds.
    pub(crate) wait: u32,
    /// Whether the content itself goes back and forth: then the module is the one to blame.
    pub(crate) alternates: bool,
}

impl Contention {
    /// Takes note of a write that is about to happen, or says that it has to wait.
    pub(crate) fn hold(&self, identity: &ObjectRef, deed: Deed<'_>, now: i64) -> Option<Held> {
        let (of, content) = deed.to(identity);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded by what is written within that time; swept now and then, since each write would look at all others.
        if now - known.swept >= WINDOW {
            known.writes.retain(|_, writes| now - writes.last < PEACE);
            known.swept = now;
        }
        // Who makes an object and deletes it by turns fights with itself.
        let other = match deed {
            Deed::Create(_) => Some(key(identity, DELETED)),
            Deed::Delete => Some(key(identity, CREATED)),
            Deed::Write(_) | Deed::Set(..) | Deed::Report(_) => None,
        };
        let undone = |(_, writes): (_, &Writes)| writes.recent.iter().any(|(at, _)| now - at < WINDOW);
        let undoes = other.and_then(|other| known.writes.get_key_value(&other)).is_some_and(undone);
        let writes = known.writes.entry(of).or_default();
        if now - writes.last >= PEACE {
            *writes = Writes::default();
        }
        writes.recent.retain(|(at, _)| now - at < WINDOW);
        let repeats = writes.recent.iter().filter(|(_, hash)| *hash == content).count();
        writes.fought |= repeats >= REPEATS;
        if writes.fought && now - writes.last < WINDOW {
            let wait = u32::try_from(WINDOW - (now - writes.last)).unwrap_or(1).max(1);
            let alternates = undoes || writes.recent.iter().any(|(_, hash)| *hash != content);
            return Some(Held { wait, alternates });
        }
        writes.recent.push((now, content));
        writes.last = now;
        None
    }
}

/// FNV-1a, 64 bit: a collision slows one object down for a minute, nothing else rests on it.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(contention: &Contention, content: &str, now: i64) -> Option<Held> {
        let identity = ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d");
        contention.hold(&identity, Deed::Write(&Document::new(content.as_bytes().to_vec())), now)
    }

    #[test]
    fn the_same_content_is_written_three_times_and_then_once_a_minute() {
        let contention = Contention::default();
        for second in 0..3 {
            assert_eq!(ask(&contention, "a", second), None);
        }
        assert_eq!(ask(&contention, "a", 3), Some(Held { wait: 59, alternates: false }));
        let written = (4..604).filter(|now| ask(&contention, "a", *now).is_none()).count();
        assert_eq!(written, 10, "ten minutes of a fight");
    }

    #[test]
    fn a_status_that_says_something_new_is_told_whatever_went_back_and_forth_before() {
        let contention = Contention::default();
        let identity = ObjectRef::namespaced("example.com/v1", "Wish", "a", "w");
        let held = |said: &str, now| {
            contention.hold(&identity, Deed::Report(&Document::new(said.as_bytes().to_vec())), now).is_some()
        };
        assert!((0..6).all(|n| !held(if n % 2 == 0 { "waiting" } else { "ready" }, n)));
        assert!(held("waiting", 6), "the same, for the fourth time");
        assert!(!held("contended", 6));
        let written = (7..607).filter(|now| !held("waiting", *now)).count();
        assert_eq!(written, 10, "ten minutes of a status that does not stay");
    }

    #[test]
    fn many_edits_of_a_user_are_not_slowed() {
        let contention = Contention::default();
        assert!((0..50).all(|n| ask(&contention, &format!("edit {n}"), n / 10).is_none()));
    }

    #[test]
    fn an_answer_that_goes_back_and_forth_is_told_from_a_rival() {
        let contention = Contention::default();
        let held = (0..10).find_map(|n| ask(&contention, if n % 2 == 0 { "a" } else { "b" }, n));
        assert!(held.is_some_and(|held| held.alternates));
    }

    #[test]
    fn after_five_quiet_minutes_a_fight_is_forgotten() {
        let contention = Contention::default();
        for now in [0, 1, 2, 3] {
            ask(&contention, "a", now);
        }
        assert!((400..403).all(|now| ask(&contention, "a", now).is_none()));
    }

    #[test]
    fn an_object_that_somebody_deletes_again_and_again_is_made_once_a_minute() {
        let contention = Contention::default();
        let (identity, content) = (ObjectRef::namespaced("v1", "ConfigMap", "a", "c"), Document::new(&b"a"[..]));
        let made = |now| contention.hold(&identity, Deed::Create(&content), now);
        assert!((0..3).all(|second| made(second).is_none()));
        assert_eq!(made(3), Some(Held { wait: 59, alternates: false }));
    }

    #[test]
    fn an_object_that_somebody_makes_again_and_again_is_deleted_once_a_minute() {
        let contention = Contention::default();
        let identity = ObjectRef::namespaced("v1", "ConfigMap", "a", "c");
        let deleted = (0..600).filter(|now| contention.hold(&identity, Deed::Delete, *now).is_none()).count();
        assert_eq!(deleted, 3 + 9, "ten minutes of a fight");
    }

    #[test]
    fn a_module_that_wants_an_object_and_does_not_want_it_by_turns_is_told_from_a_rival() {
        let contention = Contention::default();
        let (identity, content) = (ObjectRef::namespaced("v1", "ConfigMap", "a", "c"), Document::new(&b"a"[..]));
        let deed = |n: i64| if n % 2 == 0 { Deed::Create(&content) } else { Deed::Delete };
        let held = (0..10).find_map(|n| contention.hold(&identity, deed(n), n));
        assert!(held.is_some_and(|held| held.alternates));
    }

    #[test]
    fn two_parents_that_set_fields_on_one_object_do_not_fight_each_other() {
        let contention = Contention::default();
        let node = ObjectRef::cluster("v1", "Node", "n");
        let set = |manager: &str, now| {
            contention.hold(&node, Deed::Set(manager, &Document::new(manager.as_bytes().to_vec())), now)
        };
        assert!((0..3).all(|now| set("a", now).is_none() && set("b", now).is_none()));
        assert_eq!(set("a", 3), Some(Held { wait: 59, alternates: false }));
    }
}
