//! The tests of the kinds, in one program: each one more would be linked anew after every change.

mod cas;
mod crds;
mod imagepullsecret;
mod reasons;
mod support;
mod told;
mod vault;
