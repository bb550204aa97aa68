//! The one way in which the rest of the host sees modules (invariant I4).

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use operator_contract::Manifest;

use crate::{Cause, Desired, Document, Failure, Request, Snapshot, Verdict};

/// A boxed future, so that this crate needs no runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One loaded version of a module. Implemented by the engine, and by recordings.
///
/// Every call is independent of all others: nothing that one call leaves behind can be seen by the next. Every method
/// fails with a [`Failure`] that names the module, the function and who is to blame.
pub trait Module: Send + Sync {
    /// Which version this is.
    fn generation(&self) -> &Generation;

    /// What the module says about itself.
    fn manifest(&self) -> &Manifest;

    /// Computes what should exist for one parent.
    fn reconcile(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>>;

    /// Judges one admission request.
    fn admit(&self, request: Request) -> BoxFuture<'_, Result<Verdict, Failure>>;

    /// Converts objects to another version of their kind.
    fn convert(&self, api_version: String, objects: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>>;

    /// Judges settings; the inner `Err` lists what is wrong with them.
    fn validate_settings(&self, settings: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>>;
}

/// Identifies one loaded version of a module. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The module's name.
    pub name: Arc<str>,
    /// The module's own version.
    pub version: Arc<str>,
    /// SHA-256 of the package, in lower-case hex.
    pub digest: Arc<str>,
}

/// `name version (sha256:0123456789ab)`, as far as they are known: of a module that is not there they are not.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.version.is_empty() {
            write!(f, " {}", self.version)?;
        }
        match self.digest.get(..12).unwrap_or(&self.digest) {
            "" => Ok(()),
            digest => write!(f, " (sha256:{digest})"),
        }
    }
}
