//! A stand-in for CAS in tests: its public endpoints over TLS, and a mode for each fault. **Not a CAS**: it keeps policies in memory,
//! attests nothing and decrypts nothing. Every answer says so in the header `x-stand-in`.
//!
//! What is public of CAS it does alike: names, predecessors, who may read and update. What is not public it chooses, and
//! `README.md` beside this crate lists the choices.

mod fault;
mod names;
mod policy;
mod routes;
mod server;
mod store;
mod tls;

pub use fault::Mode;
pub use server::{Options, StandIn};
pub use store::{SIGNED_SESSIONS, encrypt};

/// Why a stand-in cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another port")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate for {names}: {why}")]
    Certificate {
        /// For whom.
        names: String,
        /// Why.
        why: String,
    },
}
