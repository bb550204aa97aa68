//! Waiting for a state, never for a time. Who waits in vain is told what was awaited, and what was seen last.

use std::{
    cell::RefCell,
    fmt::Debug,
    future::{Future, ready},
    time::{Duration, Instant},
};

thread_local! {
    /// What the asking part of a test saw last, on the thread of that test.
    static SEEN: RefCell<Option<Box<dyn Debug>>> = const { RefCell::new(None) };
}

/// Notes what was seen, such as an answer of the API server: it is shown when what is awaited does not come.
pub fn saw(value: impl Debug + 'static) {
    SEEN.with_borrow_mut(|seen| *seen = Some(Box::new(value)));
}

/// How often it is asked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// So long at most. Generous: it ends tests that fail, and measures nothing.
    pub limit: Duration,
    /// Between two questions.
    pub every: Duration,
}

impl Patience {
    /// Asks until the answer is as it should be, and gives it.
    ///
    /// # Panics
    ///
    /// When the time is over; the text shows the last answer.
    pub async fn until<T: Debug, F: Future<Output = T>>(
        self,
        what: &str,
        mut ask: impl FnMut() -> F,
        holds: impl Fn(&T) -> bool,
    ) -> T {
        let started = Instant::now();
        let mut poll = tokio::time::interval(self.every);
        loop {
            poll.tick().await;
            let answer = ask().await;
            if holds(&answer) {
                return answer;
            }
            self.check(started, what, &answer);
        }
    }

    /// Asks until there is an answer.
    ///
    /// # Panics
    ///
    /// When the time is over; the text shows what [`saw`] noted last.
    pub async fn soon<T, F: Future<Output = Option<T>>>(self, what: &str, mut ask: impl FnMut() -> F) -> T {
        let started = Instant::now();
        let mut poll = tokio::time::interval(self.every);
        SEEN.take();
        loop {
            poll.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
            SEEN.with_borrow(|seen| match seen {
                Some(seen) => self.check(started, what, seen),
                None => self.check(started, what, &"nothing"),
            });
        }
    }

    /// [`Patience::until`] for what is known without waiting.
    pub async fn until_now<T: Debug>(self, what: &str, mut ask: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
        self.until(what, || ready(ask()), holds).await
    }

    fn check(self, started: Instant, what: &str, last: &dyn Debug) {
        assert!(started.elapsed() < self.limit, "{what} did not come within {:?}; the last was {last:?}", self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Patience = Patience { limit: Duration::from_millis(20), every: Duration::from_millis(1) };

    #[tokio::test]
    async fn who_waits_gets_the_first_answer_that_holds() {
        let mut number = 0;
        let counted = || {
            number += 1;
            number
        };
        assert_eq!(SHORT.until_now("a third", counted, |number| *number == 3).await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a colour did not come within 20ms; the last was \"grey\"")]
    async fn who_waits_in_vain_is_shown_the_last_answer() {
        SHORT.until_now("a colour", || "grey", |colour| *colour == "green").await;
    }

    #[tokio::test]
    #[should_panic(expected = "a colour did not come within 20ms; the last was \"grey\"")]
    async fn who_waits_for_any_answer_in_vain_is_shown_what_was_seen_on_the_way() {
        let none = async || {
            saw("grey");
            None::<()>
        };
        SHORT.soon("a colour", none).await;
    }
}
