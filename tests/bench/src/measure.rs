//! How figures are taken: two contenders in turns, in one process, medians over rounds, spread told.

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
}

impl Figure {
    /// From rounds of value and yardstick, taken in turns.
    pub(crate) fn of(name: impl Into<Cow<'static, str>>, unit: &'static str, rounds: &[(f64, f64)]) -> Self {
        let ratios: Vec<f64> = rounds.iter().map(|(value, yardstick)| value / yardstick).collect();
        Self {
            name: name.into(),
            value: median(rounds.iter().map(|round| round.0)),
            unit,
            yardstick: median(rounds.iter().map(|round| round.1)),
            ratio: median(ratios.iter().copied()),
            spread: (percentile(&ratios, 0.9) - percentile(&ratios, 0.1)) / 2.0,
        }
    }

    /// The same figure as what the value costs beyond its yardstick; ratio and spread stay.
    pub(crate) fn beyond(self) -> Self {
        Self { value: self.value - self.yardstick, ..self }
    }
}

/// Rounds of a paired measurement.
const ROUNDS: usize = 41;

/// Times `subject` and `yardstick` in turns: each makes so many calls and tells how long they took, without what it had to
/// prepare. In microseconds a call.
pub(crate) fn paired(
    name: impl Into<Cow<'static, str>>,
    calls: u32,
    mut subject: impl FnMut(u32) -> Duration,
    mut yardstick: impl FnMut(u32) -> Duration,
) -> Figure {
    subject(calls);
    yardstick(calls);
    let round = |_| (micros(subject(calls)) / f64::from(calls), micros(yardstick(calls)) / f64::from(calls));
    Figure::of(name, "µs", &(0..ROUNDS).map(round).collect::<Vec<_>>())
}

/// How long so many calls take.
pub(crate) fn timed(calls: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed()
}

/// How long so many calls take that each use up one input.
pub(crate) fn consuming<T: Clone>(calls: u32, input: &T, mut call: impl FnMut(T)) -> Duration {
    let inputs = vec![input.clone(); calls as usize];
    let start = Instant::now();
    inputs.into_iter().for_each(&mut call);
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
