//! Why a command gives no result, and the exit code that says whose turn it is.

/// Why a command gives no result. Each text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The checked thing is bad: exit code 1.
    #[error("{0}")]
    Bad(String),
    /// Wrong usage or input: exit code 2.
    #[error("{0}")]
    Input(String),
    /// This program or its host failed: exit code 3.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Bad(_) => 1,
            Self::Input(_) => 2,
            Self::Internal(_) => 3,
        }
    }
}
