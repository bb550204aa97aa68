//! A cluster in memory, actors that play its controllers, and scenarios.

pub mod cluster;

pub use cluster::FakeCluster;
