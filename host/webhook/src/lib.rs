//! Admission and conversion over HTTPS: modules judge, the host does everything else.
//!
//! [`Bindings`] says which module is asked on which path, [`Judge`] answers one request, [`Server`] speaks TLS,
//! [`Certificates`] come from a mounted folder or are made and rotated here, and [`Registrar`] tells the API server about it all.
//! Modules are seen through `operator_core::Module` (invariant I4); what becomes of a request is decided by
//! `operator_core::judge`. Writes to the API server are in `registration`, `certificates::secret` and `probe` (invariant I3).

mod bindings;
mod budget;
mod certificates;
mod connections;
mod convert;
mod error;
mod intake;
mod judge;
mod members;
mod patience;
mod probe;
mod registration;
mod requests;
mod review;
mod scope;
mod server;
#[cfg(test)]
mod stub;
mod target;

pub use bindings::Bindings;
pub use certificates::{Certificates, Lifetimes, Resolver, Source};
pub use connections::{Arriving, Connections, Manners, Room, Seat};
pub use error::Error;
pub use judge::{Judge, Limits};
pub use probe::Probe;
pub use registration::{Registrar, uninstall};
pub use review::{Answer, Malformed, Review};
pub use server::{Server, Timings};
pub use target::Target;

/// Hears what becomes of requests and certificates.
pub trait Witness: Send + Sync {
    /// One request was answered. `path` is one that a module is bound to, `/convert`, `/probe`, or `other`; `outcome` one of
    /// `allowed`, `patched`, `denied`, `failed`, `converted`, `unconverted`, `probed`, `malformed`, `too_large`,
    /// `busy`, `late`, `unknown`.
    fn answered(&self, path: &str, outcome: &'static str, took: std::time::Duration);

    /// Whether the API server reaches the webhooks, as far as the last probe shows.
    fn reachable(&self, reachable: bool);

    /// What people have to hear of: a reason of `host/REASONS.md`, and a text with the fix.
    fn announce(&self, reason: &'static str, text: String);

    /// The certificate that is served from now on ends then, in Unix seconds.
    fn certificate(&self, ends: i64);
}

/// Now, in Unix seconds.
pub type Clock = std::sync::Arc<dyn Fn() -> i64 + Send + Sync>;
