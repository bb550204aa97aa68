//! What test programs came to, read from what they write.

use std::collections::BTreeMap;

use crate::{inventory::Counts, rings::Ring};

/// What a run of tests came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: Vec<String>,
    pub(super) counts: Counts,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        // A library and a program of one package may have one name.
        for (name, count) in other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// Notes whose tests these are.
    pub(super) fn of(mut self, ring: Ring, program: &str) -> Self {
        let skipped = u64::try_from(self.skipped.len()).unwrap_or(u64::MAX);
        self.counts = BTreeMap::from([(format!("{} {program}", ring.name()), self.passed + self.failed + skipped)]);
        self
    }

    pub(super) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// Reads libtest's text: its summaries, and the names of ignored tests.
pub(super) fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    let mut ignored = 0;
    for line in text.lines() {
        if let Some(summary) = line.strip_prefix("test result: ") {
            tally.passed += figure(summary, "passed");
            tally.failed += figure(summary, "failed");
            ignored += figure(summary, "ignored");
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ignored"))
        {
            let reason = reason.trim_start_matches(", ");
            tally.skipped.push(if reason.is_empty() { name.to_owned() } else { format!("{name} ({reason})") });
        }
    }
    // Quiet output counts ignored tests without naming them.
    let named = u64::try_from(tally.skipped.len()).unwrap_or(u64::MAX);
    tally.skipped.extend((named..ignored).map(|_| "an ignored test".to_owned()));
    tally
}

fn figure(summary: &str, word: &str) -> u64 {
    let parts = summary.split(['.', ';']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(word)).find_map(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_several_programs_are_added() {
        let text = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(count(text).line(), "4 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn tests_of_two_programs_of_one_name_are_counted_together() {
        let of = |passed| Tally { passed, ..Tally::default() }.of(Ring::Pure, "a a");
        let mut both = of(2);
        both.add(of(3));
        assert_eq!(both.counts, BTreeMap::from([("pure a a".to_owned(), 5)]));
    }

    #[test]
    fn an_ignored_test_is_named_with_its_reason() {
        let text = "test slow ... ignored, needs root\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(count(text).skipped, ["slow (needs root)"]);
    }

    #[test]
    fn an_ignored_test_without_a_name_still_counts() {
        assert_eq!(count("test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured\n").skipped.len(), 2);
    }
}
