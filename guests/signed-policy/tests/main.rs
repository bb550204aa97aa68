//! The tests of this module, in one program: each one more would be linked anew after every change.

mod admission;
mod support;
mod trust;
mod upload;
