//! How figures are taken: two contenders in turns, medians over rounds, spread told.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use serde::Serialize;

/// One figure, printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// Which benchmark.
    pub(crate) name: Cow<'static, str>,
    /// The figure itself.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it is compared to, in the same unit.
    pub(crate) yardstick: f64,
    /// Value over yardstick; the median of the rounds' own ratios where there are rounds.
    pub(crate) ratio: f64,
    /// Half the range between the tenth and the ninetieth percentile of the rounds' ratios; 0 with one round.
    pub(crate) spread: f64,
    /// The same of the values themselves.
    pub(crate) value_spread: f64,
    /// How often both were measured, in turns.
    pub(crate) rounds: usize,
}

impl Figure {
    /// From rounds of value and yardstick, taken in turns.
    pub(crate) fn of(name: impl Into<Cow<'static, str>>, unit: &'static str, rounds: &[(f64, f64)]) -> Self {
        let ratios: Vec<f64> = rounds.iter().map(|(value, yardstick)| value / yardstick).collect();
        let values: Vec<f64> = rounds.iter().map(|round| round.0).collect();
        Self {
            name: name.into(),
            value: median(values.iter().copied()),
            unit,
            yardstick: median(rounds.iter().map(|round| round.1)),
            ratio: median(ratios.iter().copied()),
            spread: spread(&ratios),
            value_spread: spread(&values),
            rounds: rounds.len(),
        }
    }

    /// The same, where the value is what each round costs beyond its yardstick; the ratio is that of the whole.
    pub(crate) fn beyond(name: impl Into<Cow<'static, str>>, unit: &'static str, rounds: &[(f64, f64)]) -> Self {
        let beyond: Vec<f64> = rounds.iter().map(|(value, yardstick)| value - yardstick).collect();
        let value = median(beyond.iter().copied());
        Self { value, value_spread: spread(&beyond), ..Self::of(name, unit, rounds) }
    }
}

/// Half the range between the tenth and the ninetieth percentile.
fn spread(values: &[f64]) -> f64 {
    (percentile(values, 0.9) - percentile(values, 0.1)) / 2.0
}

/// How much is done for a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Everything small: it shows that the benchmarks work, and its figures mean nothing.
    pub(crate) quick: bool,
}

impl Scale {
    /// So much for a figure, or so little to see that it works.
    pub(crate) fn of<T>(self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// Rounds of a figure that takes seconds or more.
    pub(crate) fn rounds(self) -> usize {
        self.of(5, 2)
    }
}

/// Times `subject` and `yardstick` in turns: each makes so many calls and tells how long they took, without what it had to
/// prepare. In microseconds a call.
pub(crate) fn paired(
    (rounds, calls): (usize, u32),
    mut subject: impl FnMut(u32) -> Duration,
    mut yardstick: impl FnMut(u32) -> Duration,
) -> Vec<(f64, f64)> {
    subject(calls);
    yardstick(calls);
    let round = |_| (micros(subject(calls)) / f64::from(calls), micros(yardstick(calls)) / f64::from(calls));
    (0..rounds).map(round).collect()
}

/// How long so many calls take.
pub(crate) fn timed(calls: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed()
}

/// The middle value.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    percentile(&values.collect::<Vec<_>>(), 0.5)
}

/// The value below which this share of the values lies.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index between 0 and the number of rounds"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_rounds_and_its_ratio_that_of_their_own_ratios() {
        // The second and third round met a slow phase of the machine. The medians of both sides are not of the same round.
        let figure = Figure::of("f", "µs", &[(10.0, 1.0), (20.0, 10.0), (30.0, 10.0)]);
        assert_eq!((figure.value, figure.yardstick, figure.ratio, figure.rounds), (20.0, 10.0, 3.0, 3));
    }

    #[test]
    fn what_a_figure_costs_beyond_its_yardstick_is_taken_in_each_round() {
        let figure = Figure::beyond("f", "µs", &[(10.0, 1.0), (20.0, 15.0), (30.0, 10.0)]);
        // Of the medians it would be 20 - 10.
        assert_eq!((figure.value, figure.yardstick), (9.0, 10.0));
    }

    #[test]
    fn the_spread_is_half_the_range_of_the_ratios_without_the_outermost_ones() {
        let rounds: Vec<_> = (0..=10).map(|ratio| (f64::from(ratio), 1.0)).collect();
        // From 1 to 9: the slowest and the fastest round do not count.
        let figure = Figure::of("f", "µs", &rounds);
        assert_eq!((figure.spread, figure.value_spread), (4.0, 4.0));
    }

    #[test]
    fn no_round_gives_no_number() {
        assert!(Figure::of("f", "µs", &[]).value.is_nan());
    }
}
