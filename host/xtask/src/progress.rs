//! What a person sees while they wait: a spinner with the time on a terminal, plain lines elsewhere. All of it goes to
//! standard error; standard output belongs to results.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Something that takes a while. Dropping it unfinished removes the spinner and says nothing more.
#[derive(Debug)]
pub(crate) struct Step {
    text: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Says what begins.
    pub(crate) fn start(text: impl Into<String>) -> Self {
        let text = text.into();
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            let bar = ProgressBar::new_spinner().with_message(text.clone());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            note(&format!("{text} ..."));
        }
        Self { text, started: Instant::now(), bar }
    }

    /// Says that it is done, and how long it took.
    pub(crate) fn done(mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        note(&format!("{}: done in {}", self.text, seconds(self.started.elapsed())));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// One line on standard error.
pub(crate) fn note(text: &str) {
    // Nobody reads a closed standard error, so there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// One line of a result on standard output.
pub(crate) fn result(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A duration as a person says it: `0.4 s`, `12 s`, `3 min 5 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_a_person_says_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(22)), "22 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
    }
}
