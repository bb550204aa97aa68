//! Why the operator ended, and the exit code that says whose turn it is.

/// Why the operator ended. Each text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A background task ended: exit code 1, so that the process is started again.
    #[error("{0}")]
    Ended(String),
    /// Wrong usage or configuration: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The cluster cannot be used: exit code 3.
    #[error("{0}")]
    Cluster(String),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Ended(_) => 1,
            Self::Usage(_) => 2,
            Self::Cluster(_) => 3,
        }
    }
}
