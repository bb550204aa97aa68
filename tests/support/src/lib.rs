//! What test programs of several crates share.

pub mod canary;
mod checkout;

pub use checkout::{checkout, find};
