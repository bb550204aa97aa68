//! One reconcile against a cluster: observe, compute, plan, apply, report.
//!
//! [`reconcile`](reconcile::reconcile) is the only file that knows the order of the stages. It reads from a [`Cache`], asks
//! the outside world through [`Outside`], runs a module through `operator_core::Module`, and writes through a
//! [`kube::Client`]; all writes are in `apply` and `report` (invariant I3). Cache and client may belong to a real cluster or
//! to the simulator: this crate cannot tell.

mod api;
mod apply;
mod error;
mod observe;
mod ports;
mod reconcile;
mod report;

pub use apply::Written;
pub use error::Error;
pub use ports::{Cache, Clock, Outside};
pub use reconcile::{Context, Outcome, reconcile};
