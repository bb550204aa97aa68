//! The state that all SCONE services share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Overall state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Nothing wrong was found.
    Healthy,
    /// Not healthy yet, and expected to become so without a human.
    #[default]
    Pending,
    /// A problem that does not clear by itself.
    Unhealthy,
}

impl State {
    /// As the published metrics code it: 1, 0, -1.
    pub fn code(self) -> f64 {
        match self {
            Self::Healthy => 1.0,
            Self::Pending => 0.0,
            Self::Unhealthy => -1.0,
        }
    }
}
