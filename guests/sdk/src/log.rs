//! The one thing a module may reach: a log, read by whoever runs it. Never write a secret into it.

/// For the module's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// For whoever runs the module.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something is odd.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something is broken.
pub fn error(message: &str) {
    write(Level::Error, message);
}

use crate::bindings::scone::operator::logger::Level;

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::bindings::scone::operator::logger::write(level, message.as_bytes());
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{take, write};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    use super::Level;

    /// Beyond this, lines are dropped: a test that loops must not eat the machine.
    const LINES: usize = 10_000;

    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn write(level: Level, message: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        LOG.with_borrow_mut(|lines| {
            if lines.len() < LINES {
                lines.push(format!("{level}: {message}"));
            }
        });
    }

    /// What was written on this thread since the last call.
    pub(crate) fn take() -> Vec<String> {
        LOG.with_borrow_mut(std::mem::take)
    }
}
