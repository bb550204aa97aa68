//! The contract as wasmtime generates it, one module per major version. Nothing outside this folder names those types.

mod v1;

pub(crate) use v1::{ADMISSION, Exports, LIFECYCLE, LOGGER, RECONCILIATION, Reply, add_logger};
