//! Scenarios: one line, one step. A script sets up a world, changes it, lets it settle, and says what to expect.
//!
//! The language is in `tests/scenarios/README.md`. What a scenario prints is its transcript: the same script with the same
//! modules prints the same lines.

mod expect;
mod parse;
mod scene;
mod servers;
mod settle;
mod show;
mod steps;
mod traffic;
mod users;

use std::{io, sync::Arc};

use operator_core::Module;

pub use parse::{Scenario, ScriptError};

/// Where modules come from.
pub trait ModuleSource {
    /// Loads a module by the name that the script uses. The error is a sentence with the fix.
    fn load(&self, name: &str) -> Result<Arc<dyn Module>, String>;
}

/// Where the files come from that a script names.
pub trait Files {
    /// The text of a file. The error is a sentence with the fix.
    fn read(&self, name: &str) -> Result<String, String>;
}

/// How a transcript is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object for each step, for programs.
    Json,
}

/// Why a scenario ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A step cannot be done: a file, module or object that is not there, or a line that says nothing sensible.
    #[error("{file}:{line}: {message}")]
    Step {
        /// The script.
        file: String,
        /// The line.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
    /// Something is not as the script expects.
    #[error("{file}:{line}: not as expected: {message}")]
    Unexpected {
        /// The script.
        file: String,
        /// The line.
        line: usize,
        /// What there is instead.
        message: String,
    },
    /// The world could not be made.
    #[error(transparent)]
    World(#[from] crate::WorldError),
    /// The transcript could not be written.
    #[error("the transcript could not be written")]
    Output(#[from] io::Error),
}

impl ScenarioError {
    /// Whether the checked thing is bad, and not the script.
    pub fn is_unexpected(&self) -> bool {
        matches!(self, Self::Unexpected { .. })
    }
}

/// What a whole run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps that were done.
    pub steps: usize,
    /// Expectations that held.
    pub expectations: usize,
    /// Writes of the controller to the cluster.
    pub writes: usize,
}
