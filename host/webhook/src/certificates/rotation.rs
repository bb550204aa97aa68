//! When certificates are renewed: a state machine without a clock. The order is what matters: whoever verifies trusts a new authority
//! before the first certificate of it is served, and trusts the old one as long as anybody may still serve one of its own.

use std::time::Duration;

use super::keys::{self, Pair, validity};

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority; renewed after two thirds.
    pub authority: Duration,
    /// A server's certificate; renewed after two thirds.
    pub leaf: Duration,
    /// From the injection of a new authority to its use: API servers hear of configurations with a delay.
    pub settle: Duration,
    /// From the use of a new authority to the end of trust in the old one: longer than replicas need to read the new certificate.
    pub overlap: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(days * 24);
        Self {
            authority: days(3 * 365),
            leaf: days(90),
            settle: Duration::from_secs(30),
            overlap: Duration::from_mins(10),
        }
    }
}

/// What all replicas share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// What is served.
    pub(crate) leaf: Pair,
    /// The names that it was made for.
    pub(crate) names: Vec<String>,
    /// Who signed it.
    pub(crate) authority: Pair,
    /// Trusted already, used soon.
    pub(crate) incoming: Option<Pair>,
    /// Trusted still, used no more: a certificate in PEM.
    pub(crate) outgoing: Option<String>,
    /// When an authority last came or went, in Unix seconds.
    pub(crate) since: i64,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing yet.
    Wait,
    /// A new certificate of the same authority.
    Renew,
    /// A new authority, to be trusted everywhere before it is used.
    Announce,
    /// A certificate of the new authority; the old one stays trusted.
    Adopt,
    /// The old authority is trusted no more.
    Retire,
}

impl State {
    /// The first state.
    pub(crate) fn new(names: Vec<String>, now: i64, lifetimes: &Lifetimes) -> Result<Self, rcgen::Error> {
        let authority = keys::authority(now, lifetimes.authority)?;
        let leaf = keys::leaf(&authority, &names, now, lifetimes.leaf)?;
        Ok(Self { leaf, names, authority, incoming: None, outgoing: None, since: now })
    }

    /// All certificates to trust, in PEM.
    pub(crate) fn bundle(&self) -> String {
        let incoming = self.incoming.iter().map(|pair| pair.certificate.as_str());
        let all = std::iter::once(self.authority.certificate.as_str()).chain(incoming).chain(self.outgoing.as_deref());
        all.flat_map(|pem| [pem.trim_end(), "\n"]).collect()
    }

    /// What is to be done. `names` is what the certificate has to carry, `injected` whether everybody who verifies trusts the whole
    /// bundle. Distances in time count, not their direction: a clock that jumps makes a step early, and never blocks one.
    pub(crate) fn next(&self, names: &[String], now: i64, injected: bool, lifetimes: &Lifetimes) -> Step {
        let waited = |at_least: Duration| now.abs_diff(self.since) >= at_least.as_secs();
        let stale = is_due(&self.leaf.certificate, now) || self.names != names;
        if stale && is_valid(&self.authority.certificate, now) {
            return Step::Renew;
        }
        if self.incoming.is_some() {
            return if injected && waited(lifetimes.settle) { Step::Adopt } else { Step::Wait };
        }
        if self.outgoing.is_some() {
            return if waited(lifetimes.overlap) { Step::Retire } else { Step::Wait };
        }
        if is_due(&self.authority.certificate, now) { Step::Announce } else { Step::Wait }
    }

    /// The state after a step. Makes keys, so it is no function of its arguments alone.
    pub(crate) fn after(
        &self,
        step: Step,
        names: &[String],
        now: i64,
        lifetimes: &Lifetimes,
    ) -> Result<Self, rcgen::Error> {
        let mut next = self.clone();
        match step {
            Step::Wait => return Ok(next),
            Step::Renew => {
                next.leaf = keys::leaf(&self.authority, names, now, lifetimes.leaf)?;
                names.clone_into(&mut next.names);
                return Ok(next);
            }
            Step::Announce => next.incoming = Some(keys::authority(now, lifetimes.authority)?),
            Step::Adopt => {
                if let Some(incoming) = next.incoming.take() {
                    next.leaf = keys::leaf(&incoming, names, now, lifetimes.leaf)?;
                    names.clone_into(&mut next.names);
                    next.outgoing = Some(std::mem::replace(&mut next.authority, incoming).certificate);
                }
            }
            Step::Retire => next.outgoing = None,
        }
        next.since = now;
        Ok(next)
    }
}

/// Whether two thirds of its time are over, or it has not begun: a clock may jump back.
fn is_due(pem: &str, now: i64) -> bool {
    validity(pem).is_none_or(|(from, until)| now < from || now >= until - (until - from) / 3)
}

fn is_valid(pem: &str, now: i64) -> bool {
    validity(pem).is_some_and(|(from, until)| (from..until).contains(&now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;
    const DAY: i64 = 24 * 3600;

    fn names() -> Vec<String> {
        vec!["s.n.svc".to_owned()]
    }

    fn state() -> State {
        State::new(names(), START, &Lifetimes::default()).unwrap()
    }

    fn next(state: &State, now: i64, injected: bool) -> Step {
        state.next(&names(), now, injected, &Lifetimes::default())
    }

    fn after(state: &State, step: Step, now: i64) -> State {
        state.after(step, &names(), now, &Lifetimes::default()).unwrap()
    }

    /// Lets time stand still at `now` and does what is to be done, with everything injected at once, until nothing is.
    fn settled(mut state: State, now: i64) -> (State, Vec<Step>) {
        let mut steps = Vec::new();
        for _ in 0..10 {
            let step = next(&state, now, true);
            if step == Step::Wait {
                break;
            }
            steps.push(step);
            state = after(&state, step, now);
        }
        (state, steps)
    }

    #[test]
    fn a_fresh_state_needs_nothing() {
        assert_eq!(next(&state(), START, true), Step::Wait);
        assert_eq!(next(&state(), START + 59 * DAY, true), Step::Wait);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_and_trust_stays_as_it_is() {
        let before = state();
        assert_eq!(next(&before, START + 61 * DAY, false), Step::Renew);
        let renewed = after(&before, Step::Renew, START + 61 * DAY);
        assert_eq!((renewed.bundle(), renewed.leaf == before.leaf), (before.bundle(), false));
        assert_eq!(next(&renewed, START + 61 * DAY, false), Step::Wait);
    }

    #[test]
    fn other_names_need_another_certificate() {
        let lifetimes = Lifetimes::default();
        assert_eq!(state().next(&["other".to_owned()], START, true, &lifetimes), Step::Renew);
    }

    #[test]
    fn a_new_authority_is_used_only_after_it_is_trusted_everywhere_and_has_settled() {
        let due = START + 2 * 365 * DAY + DAY;
        let (fresh, steps) = settled(state(), due - 2 * DAY);
        assert_eq!(steps, [Step::Renew]);
        let announced = after(&fresh, Step::Announce, due);
        assert!(announced.bundle().contains(&fresh.authority.certificate[..80]));
        assert_eq!(announced.leaf, fresh.leaf, "nothing new is served yet");
        assert_eq!(next(&announced, due + 3600, false), Step::Wait, "not injected");
        assert_eq!(next(&announced, due + 29, true), Step::Wait, "not settled");
        assert_eq!(next(&announced, due + 30, true), Step::Adopt);
    }

    #[test]
    fn the_old_authority_stays_trusted_until_every_replica_serves_the_new_certificate() {
        let due = START + 2 * 365 * DAY + DAY;
        let announced = after(&state(), Step::Announce, due);
        let adopted = after(&announced, Step::Adopt, due + 30);
        assert_eq!(adopted.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(adopted.outgoing.as_deref(), Some(announced.authority.certificate.as_str()));
        assert_eq!(next(&adopted, due + 30 + 599, true), Step::Wait);
        assert_eq!(next(&adopted, due + 30 + 600, true), Step::Retire);
        let retired = after(&adopted, Step::Retire, due + 630);
        assert_eq!(
            (retired.bundle().matches("BEGIN CERTIFICATE").count(), next(&retired, due + 630, true)),
            (1, Step::Wait)
        );
    }

    #[test]
    fn a_clock_that_jumps_beyond_all_ends_leads_through_the_same_order() {
        let late = START + 20 * 365 * DAY;
        assert_eq!(next(&state(), late, false), Step::Announce, "an authority that ended signs nothing");
        let announced = after(&state(), Step::Announce, late);
        assert_eq!(next(&announced, late, false), Step::Wait);
        let adopted = after(&announced, Step::Adopt, late + 30);
        assert!(is_valid(&adopted.leaf.certificate, late + 30) && is_valid(&adopted.authority.certificate, late + 30));
    }

    #[test]
    fn a_clock_that_jumps_back_leads_to_what_is_valid_then() {
        let early = START - 5 * 365 * DAY;
        let (state, steps) = settled(state(), early);
        assert_eq!(steps, [Step::Announce], "and then it settles");
        let (state, steps) = settled(state, early + 31);
        assert_eq!(steps, [Step::Adopt]);
        assert!(is_valid(&state.leaf.certificate, early + 31));
    }

    #[test]
    fn a_clock_that_jumps_back_in_the_middle_of_a_rotation_blocks_nothing() {
        let announced = after(&state(), Step::Announce, START + 800 * DAY);
        assert_eq!(next(&announced, START + 10 * DAY, true), Step::Adopt);
        let adopted = after(&announced, Step::Adopt, START + 800 * DAY);
        let back = START + 795 * DAY;
        let (state, steps) = settled(adopted, back);
        assert!(steps.contains(&Step::Retire), "{steps:?}");
        assert!(state.outgoing.is_none());
    }
}
