//! The tests of this module, in one program: each one more would be linked anew after every change.

mod admission;
mod auto_update;
mod reconcile;
mod support;
mod waiting;
