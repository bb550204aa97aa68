//! How figures are taken: two contenders in turns, in one process, medians over rounds, spread told.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One figure, printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// Which benchmark.
    pub(crate) name: &'static str,
    /// The figure itself.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it is compared to, in the same unit.
    pub(crate) yardstick: f64,
    /// Value over yardstick.
    pub(crate) ratio: f64,
    /// Half the range between the tenth and the ninetieth percentile of the rounds' ratios, in the ratio's unit.
    pub(crate) spread: f64,
}

/// Rounds of a paired measurement.
const ROUNDS: usize = 41;

/// Times `subject` and `yardstick` in turns, `calls` calls a round each. The result is in microseconds a call.
pub(crate) fn paired(
    name: &'static str,
    calls: u32,
    mut subject: impl FnMut(),
    mut yardstick: impl FnMut(),
) -> Figure {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        micros(start.elapsed()) / f64::from(calls)
    };
    time(&mut subject);
    time(&mut yardstick);
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (time(&mut subject), time(&mut yardstick))).collect();
    let ratios: Vec<f64> = rounds.iter().map(|(subject, yardstick)| subject / yardstick).collect();
    Figure {
        name,
        value: median(rounds.iter().map(|r| r.0)),
        unit: "µs",
        yardstick: median(rounds.iter().map(|r| r.1)),
        ratio: median(ratios.iter().copied()),
        spread: spread(&ratios),
    }
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

/// Half the range between the tenth and the ninetieth percentile.
pub(crate) fn spread(values: &[f64]) -> f64 {
    (percentile(values, 0.9) - percentile(values, 0.1)) / 2.0
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
