//! What test programs of several crates share.

pub mod canary;
