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

/// The steps of a command that takes minutes: what is done, what is being done, what is still to come.
#[derive(Debug)]
pub(crate) struct Plan {
    steps: Vec<String>,
    done: usize,
    started: Instant,
}

impl Plan {
    /// All steps, in their order.
    pub(crate) fn new(steps: Vec<String>) -> Self {
        Self { steps, done: 0, started: Instant::now() }
    }

    /// Says that the next step begins.
    pub(crate) fn next(&mut self) {
        if let Some(line) = self.line(self.started.elapsed()) {
            note(&line);
        }
        self.done += 1;
    }

    fn line(&self, elapsed: Duration) -> Option<String> {
        let (step, rest) = self.steps.get(self.done..)?.split_first()?;
        let (number, count) = (self.done + 1, self.steps.len());
        let after = if self.done == 0 { String::new() } else { format!(" after {}", seconds(elapsed)) };
        let then = if rest.is_empty() { String::new() } else { format!("; then: {}", rest.join(", ")) };
        Some(format!("[{number}/{count}{after}] {step}{then}"))
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
    fn a_plan_says_how_far_it_is_and_what_is_still_to_come() {
        let mut plan = Plan::new(["tools", "modules", "demo"].map(str::to_owned).to_vec());
        assert_eq!(plan.line(Duration::ZERO).unwrap(), "[1/3] tools; then: modules, demo");
        plan.next();
        assert_eq!(plan.line(Duration::from_secs(185)).unwrap(), "[2/3 after 3 min 5 s] modules; then: demo");
        plan.next();
        plan.next();
        assert_eq!(plan.line(Duration::ZERO), None);
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(22)), "22 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
    }
}
