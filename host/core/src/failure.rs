//! What can go wrong with one call of a module, who is to blame, and what to do.

use std::fmt;

use crate::{Cause, Generation};

/// Whose fault a failure is: decides who is told and whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The module: its author must act. The same input fails again.
    Guest,
    /// The host: its operator must act.
    Host,
    /// The cluster, or who writes to it.
    Cluster,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guest => "guest",
            Self::Host => "host",
            Self::Cluster => "cluster",
        })
    }
}

/// One failed call: the module, the place, and what happened. Its text ends with what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("module {module}, {function}: {kind}")]
pub struct Failure {
    /// Which module, in which generation.
    pub module: Generation,
    /// Which function of the contract, such as `reconcile`.
    pub function: &'static str,
    /// What happened.
    pub kind: FailureKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FailureKind {
    /// The module stopped: a panic, an out-of-bounds access, an explicit trap.
    #[error("it trapped ({what}){}; fix the module, or roll back to the previous version", within(.frames))]
    Trap {
        /// The kind of trap. Never a text that the module made: a panic message may hold a secret.
        what: String,
        /// Functions on the stack, innermost first, demangled.
        frames: Vec<String>,
    },
    /// It ran longer than its budget.
    #[error("it ran longer than {limit_ms} ms; look for an endless loop, or raise budgets.timeMs")]
    Deadline {
        /// The budget.
        limit_ms: u64,
    },
    /// It used more instructions than its budget.
    #[error("it used more than {limit} instructions; look for an endless loop, or raise budgets.instructions")]
    Instructions {
        /// The budget.
        limit: u64,
    },
    /// It wanted more memory than its budget.
    #[error("it wanted more than {limit_kib} KiB of memory; process less at once, or raise budgets.memoryKib")]
    Memory {
        /// The budget.
        limit_kib: u64,
    },
    /// It wanted larger tables than its budget.
    #[error("it wanted a table of more than {limit} elements; no ordinary module needs that")]
    Table {
        /// The budget.
        limit: usize,
    },
    /// It recursed too deeply.
    #[error("its stack overflowed{}; replace the recursion by a loop", within(.frames))]
    Stack {
        /// Functions on the stack, innermost first.
        frames: Vec<String>,
    },
    /// Its answer is larger than its budget.
    #[error("its answer has {size} {what}, the budget is {limit}; answer with less, or raise {raise}")]
    Output {
        /// What there is too much of: `bytes`, `children`.
        what: &'static str,
        /// How much there is.
        size: u64,
        /// How much there may be.
        limit: u64,
        /// Which budget to raise.
        raise: &'static str,
    },
    /// Its answer is not what the contract says.
    #[error("its answer is invalid at {place}: {why}")]
    InvalidAnswer {
        /// Where in the answer, such as `children[3].document`.
        place: String,
        /// What is wrong and what was expected.
        why: String,
    },
    /// The module itself said that it has no answer.
    #[error("{0}")]
    Refused(Refusal),
    /// The module does not export this function.
    #[error("it does not export this function; its manifest must not ask for it")]
    NotExported,
    /// The module is refused, or was removed: another one stands in for it and says why.
    #[error("{0}")]
    NotServing(String),
    /// All slots were taken until the caller's deadline.
    #[error("no free slot within {waited_ms} ms; the host is overloaded, raise its concurrency or add replicas")]
    Busy {
        /// How long the caller waited.
        waited_ms: u64,
    },
    /// The host failed.
    #[error("the host failed: {0}; this is a bug of the host, please report it")]
    Host(String),
}

fn within(frames: &[String]) -> String {
    if frames.is_empty() { String::new() } else { format!(" in {}", frames.join(" <- ")) }
}

/// The module's own reason for having no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The object must be edited first.
    #[error("the object is invalid: {}", joined(.0))]
    InvalidObject(Vec<Cause>),
    /// The settings must be changed first.
    #[error("its settings are invalid: {}", joined(.0))]
    InvalidSettings(Vec<Cause>),
    /// Try again later.
    #[error("not now: {0}")]
    Retry(String),
    /// It does not do this.
    #[error("unsupported: {0}")]
    Unsupported(String),
}

fn joined(causes: &[Cause]) -> String {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>().join("; ")
}

impl FailureKind {
    /// The reason as one word of a closed set: condition reason, metric label, JSON output.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "ModuleTrapped",
            Self::Deadline { .. } => "ModuleTimedOut",
            Self::Instructions { .. } => "ModuleInstructionsExceeded",
            Self::Memory { .. } => "ModuleMemoryExceeded",
            Self::Table { .. } => "ModuleTableExceeded",
            Self::Stack { .. } => "ModuleStackOverflow",
            Self::Output { .. } => "ModuleOutputExceeded",
            Self::InvalidAnswer { .. } => "ModuleAnswerInvalid",
            Self::Refused(Refusal::InvalidObject(_)) => "InvalidObject",
            Self::Refused(Refusal::InvalidSettings(_)) => "InvalidSettings",
            Self::Refused(Refusal::Retry(_)) => "ModuleRetry",
            Self::Refused(Refusal::Unsupported(_)) => "ModuleUnsupported",
            Self::NotExported => "ModuleFunctionMissing",
            Self::NotServing(_) => "ModuleNotServing",
            Self::Busy { .. } => "HostBusy",
            Self::Host(_) => "HostFailed",
        }
    }

    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused(Refusal::InvalidObject(_) | Refusal::InvalidSettings(_)) => Blame::Cluster,
            Self::NotServing(_) | Self::Busy { .. } | Self::Host(_) => Blame::Host,
            _ => Blame::Guest,
        }
    }
}
