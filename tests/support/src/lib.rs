//! What test programs of several crates share.

mod artefacts;
pub mod canary;
mod checkout;
#[cfg(feature = "waiting")]
mod load;
#[cfg(feature = "waiting")]
mod waiting;

pub use artefacts::{artefact, module, module_file};
pub use checkout::{checkout, find};
#[cfg(feature = "waiting")]
pub use load::Load;
#[cfg(feature = "waiting")]
pub use waiting::{Patience, saw};
