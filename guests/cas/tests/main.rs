//! The tests of this module, in one program: each one more would be linked anew after every change.

mod admission;
mod backup;
mod reconcile;
mod service;
mod settled;
mod stuck;
mod support;
mod table;
mod volume;
