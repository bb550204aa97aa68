//! What can go wrong, and which exit code says so.

use std::{fmt, io, path::Path};

/// Why a command stopped. The text names the thing, the place and the fix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was checked is bad, or something that is needed is missing.
    Bad(String),
    /// This tool could not do its own work.
    Internal(String),
}

impl Failure {
    /// An operation on a file or folder that did not work.
    pub(crate) fn file(deed: &str, path: &Path, source: &io::Error) -> Self {
        Self::Internal(format!("cannot {deed} {}: {source}", path.display()))
    }

    /// The exit code: 1 bad, 3 internal. Wrong usage ends with 2 before any command starts.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Bad(_) => 1,
            Self::Internal(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(text) | Self::Internal(text) => formatter.write_str(text),
        }
    }
}
