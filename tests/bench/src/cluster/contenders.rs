//! Who serves parents: the operator, one with controller-runtime, and a bare loop that only sends the requests.

pub(crate) mod bare;
pub(crate) mod operator;
pub(crate) mod process;
pub(crate) mod trio_operator;

/// Parents that each of them serves at a time.
pub(crate) const AT_ONCE: usize = 16;
