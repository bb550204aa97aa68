//! One reconcile against a cluster: observe, compute, plan, apply, report.
//!
//! [`reconcile`](reconcile::reconcile) is the only file that knows the order of the stages. It reads from a [`Cache`], asks
//! the outside world through [`Outside`], runs a module through `operator_core::Module`, and writes through a
//! [`kube::Client`]; all writes are in `apply` and `report` (invariant I3). Cache and client may belong to a real cluster or
//! to the simulator: this crate cannot tell.

mod api;
mod apply;
mod awaited;
mod background;
mod concern;
mod contention;
mod error;
mod fence;
mod lease;
mod live;
mod memory;
mod observe;
mod operate;
mod outside;
mod ports;
mod queue;
mod raw;
mod reconcile;
mod report;
mod rights;
mod settled;
mod store;
mod unit;
mod watch;

pub use apply::Written;
pub use background::background;
pub use error::Error;
pub use fence::Fence;
pub use lease::Lease;
pub use operate::{Operator, Surroundings, TaskEnded, Tasks, Witness};
pub use outside::{Beyond, Reach};
pub use ports::{Asker, Cache, Clock, Found, Outside};
pub use queue::{Class, Queue};
pub use reconcile::{Context, Outcome, reconcile};
pub use store::{Change, Kind, Seen, Store, Trouble};
pub use watch::versions;
