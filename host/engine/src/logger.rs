//! The one thing a module may reach: its log.

use std::fmt::Write as _;

use operator_core::Generation;
use tracing::{debug, error, info, warn};

use crate::Budget;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one call: bounded, tagged, never parsed. It goes to the host's own log under the target `module`.
pub(crate) struct Log {
    generation: Generation,
    lines_left: u32,
    bytes_left: usize,
    /// Lines written, including dropped ones.
    lines: u32,
    full: bool,
}

impl Log {
    pub(crate) fn new(generation: &Generation, budget: &Budget) -> Self {
        Self {
            generation: generation.clone(),
            lines_left: budget.log_lines,
            bytes_left: budget.log_bytes as usize,
            lines: 0,
            full: false,
        }
    }

    /// Lines written so far, including dropped ones.
    pub(crate) fn lines(&self) -> u32 {
        self.lines
    }

    /// Writes one line, or drops it when the budget is used up; says so once.
    pub(crate) fn write(&mut self, level: Level, line: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        if self.full {
            return;
        }
        if self.lines_left == 0 || line.len() > self.bytes_left {
            self.full = true;
            self.emit(Level::Warn, "the log budget of this call is used up, further lines are dropped");
            return;
        }
        self.lines_left -= 1;
        self.bytes_left -= line.len();
        self.emit(level, &printable(line));
    }

    #[expect(clippy::cognitive_complexity, reason = "each macro counts with all that it expands to")]
    fn emit(&self, level: Level, line: &str) {
        let (module, generation) = (&*self.generation.name, &self.generation);
        match level {
            Level::Debug => debug!(target: "module", module, %generation, "{line}"),
            Level::Info => info!(target: "module", module, %generation, "{line}"),
            Level::Warn => warn!(target: "module", module, %generation, "{line}"),
            Level::Error => error!(target: "module", module, %generation, "{line}"),
        }
    }
}

/// One line of text that no terminal and no log reader takes for more than that: control characters, line separators and
/// characters that turn the writing direction are escaped, and what is no UTF-8 is replaced.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: u32, bytes: u32) -> Log {
        let generation = Generation { name: "m".into(), version: "1.0.0".into(), digest: "00".into() };
        Log::new(&generation, &Budget { log_lines: lines, log_bytes: bytes, ..Budget::DEFAULT })
    }

    #[test]
    fn a_line_cannot_forge_another_line_or_colour_a_terminal() {
        assert_eq!(printable(b"a\nERROR b\x1b[31m"), r"a\nERROR b\u{1b}[31m");
        assert_eq!(printable("x\u{202e}y".as_bytes()), r"x\u{202e}y");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(printable(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn lines_beyond_the_budget_are_counted_and_dropped() {
        let mut log = log(2, 1000);
        for _ in 0..5 {
            log.write(Level::Info, b"x");
        }
        assert!(log.full);
        assert_eq!(log.lines(), 5);
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped() {
        let mut log = log(10, 4);
        log.write(Level::Info, b"12345");
        assert!(log.full);
    }
}
