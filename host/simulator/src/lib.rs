//! A cluster in memory, actors that play its controllers, and scenarios.

pub mod actors;
pub mod cluster;
pub mod manifest;
pub mod misfit;
pub mod outside;
pub mod scenario;
pub mod view;
mod world;

pub use actors::Actors;
pub use cluster::FakeCluster;
pub use operator_controller::Outcome;
pub use world::{World, WorldError};
