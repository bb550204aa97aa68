//! What is aimed at, and whether a run reaches it. The verdict is made of one run's rounds and not by whoever writes it down, so that nothing
//! is reached by the better of two runs.

use std::fmt;

use crate::measure::Figure;

/// A bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Aim {
    what: What,
    bound: Bound,
}

/// What of a figure is bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Ratio,
    Value(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use What::{Ratio, Value};

/// The figures with an aim; those of modules are told by what they end with.
const AIMS: [(&str, What, Bound); 22] = [
    ("reconcile-4k", Ratio, AtMost(2.3)),
    ("admit-4k", Value("µs"), AtMost(11.0)),
    ("threads-2", Ratio, AtLeast(1.85)),
    ("load-cached", Value("µs"), AtMost(100.0)),
    ("idle-module", Value("KiB"), AtMost(20.0)),
    ("swap", Value("medians"), AtMost(10.0)),
    ("start-50", Value("s"), AtMost(0.5)),
    ("converge-1000", Ratio, AtLeast(0.8)),
    ("writes-per-parent", Value("writes"), AtMost(5.0)),
    ("admit-https", Ratio, AtLeast(0.7)),
    ("admit-https-p99", Value("ms"), AtMost(2.0)),
    ("start", Value("s"), AtMost(2.0)),
    ("rss", Value("MB"), AtMost(100.0)),
    ("noop-resync", Value("reconciles/s"), AtLeast(5_000.0)),
    ("edit-to-write", Value("ms"), AtMost(5.0)),
    ("cas-resync", Value("reconciles/s"), AtLeast(2_000.0)),
    ("pull-secret-2000", Ratio, AtLeast(0.8)),
    ("pull-secret-writes", Value("writes"), AtMost(1.0)),
    ("*-reconcile", Ratio, AtMost(2.3)),
    ("*-reconcile-answer", Ratio, AtMost(2.3)),
    ("*-admit", Value("µs"), AtMost(11.0)),
    ("*-admit-answer", Value("µs"), AtMost(11.0)),
];

/// The aim of a figure, if it has one.
pub(crate) fn of(name: &str) -> Option<Aim> {
    let fits = |pattern: &str| match pattern.strip_prefix('*') {
        // What a module costs that does nothing is no aim, but a part of the others.
        Some(end) => name.ends_with(end) && name != "nothing-reconcile",
        None => name == pattern,
    };
    AIMS.iter().find(|(pattern, ..)| fits(pattern)).map(|&(_, what, bound)| Aim { what, bound })
}

impl Aim {
    /// Whether this run reaches it. Only when the rounds that were bad do as well is it reached.
    pub(crate) fn verdict(self, figure: &Figure) -> &'static str {
        let (value, spread) = match self.what {
            Ratio => (figure.ratio, figure.spread),
            Value(_) => (figure.value, figure.value_spread),
        };
        // By how much it is better than the bound.
        let better = match self.bound {
            AtMost(bound) => bound - value,
            AtLeast(bound) => value - bound,
        };
        match better {
            better if better >= spread => "reached",
            better if better > -spread => "within the spread",
            _ => "not reached",
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            AtMost(bound) => ('≤', bound),
            AtLeast(bound) => ('≥', bound),
        };
        match self.what {
            Ratio => write!(f, "ratio {sign} {bound}"),
            Value(unit) => write!(f, "{sign} {bound} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, rounds: &[(f64, f64)]) -> &'static str {
        of(name).unwrap().verdict(&Figure::of(name.to_owned(), "µs", rounds))
    }

    #[test]
    fn an_aim_is_reached_only_when_bad_rounds_reach_it_too() {
        assert_eq!(verdict("las-reconcile", &[(2.0, 1.0), (2.1, 1.0), (2.2, 1.0)]), "reached");
        assert_eq!(verdict("las-reconcile", &[(1.9, 1.0), (2.2, 1.0), (2.5, 1.0)]), "within the spread");
        assert_eq!(verdict("las-reconcile", &[(2.1, 1.0), (2.4, 1.0), (2.5, 1.0)]), "within the spread");
        assert_eq!(verdict("las-reconcile", &[(2.4, 1.0), (2.5, 1.0), (2.6, 1.0)]), "not reached");
    }

    #[test]
    fn an_aim_may_be_a_ratio_or_a_value_and_a_bound_from_below() {
        assert_eq!(verdict("noop-resync", &[(5_000.0, 9_000.0)]), "reached");
        assert_eq!(verdict("noop-resync", &[(4_999.0, 1.0)]), "not reached");
        assert_eq!(verdict("converge-1000", &[(79.0, 100.0)]), "not reached");
        assert_eq!(of("noop-resync").unwrap().to_string(), "≥ 5000 reconciles/s");
    }

    #[test]
    fn what_stands_for_no_aim_has_none() {
        assert_eq!((of("nothing-reconcile"), of("peer-rss")), (None, None));
    }
}
