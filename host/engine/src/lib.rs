//! Run modules: the only crate that names wasmtime (invariant I2), and nothing generated from WIT leaves it.
//!
//! An [`Engine`] turns a component into a [`Loaded`] module. Every call gets a fresh store and a fresh instance from a
//! pre-linked component, so nothing that one call leaves behind can be seen by the next, and a budget for time, memory,
//! tables, output and log lines. Whatever goes wrong is an [`operator_core::Failure`] that says who is to blame.
//!
//! This crate is built without Cranelift. Components are compiled by the program `operator-compiler` (feature `compiler`)
//! in a process of its own with hard limits, because a hostile component may make a compiler run for hours or fill the
//! memory; see [`Compiler`].
//!
//! ```no_run
//! use operator_engine::{Compiler, Engine, EngineConfig};
//! # fn run(manifest: operator_contract::Manifest, digest: &str, component: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(EngineConfig::new(Compiler::locate()?))?;
//! let module = engine.load(manifest, digest, component)?;
//! # Ok(()) }
//! ```

mod answer;
mod bindings;
mod cache;
mod call;
mod code;
mod compile;
#[cfg(feature = "compiler")]
pub mod compiler;
mod config;
mod engine;
mod failure;
mod limits;
mod link;
mod loaded;
mod logger;
mod pool;
mod refusal;
mod ticker;

pub use cache::CacheError;
pub use compile::{CompileError, CompileLimits, Compiler};
pub use config::{Budget, EngineConfig, Metering, Observer, Usage, threads};
pub use engine::{Engine, EngineError};
pub use loaded::Loaded;
pub use refusal::LoadError;
