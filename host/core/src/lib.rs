//! Decide: what a snapshot and an answer mean, and what may be done about it.
//!
//! Everything here is a pure function over values. This crate knows no async runtime, no engine and no client, and it reads
//! no clock, environment or randomness (invariant I1), so whatever it decides can be replayed bit for bit.
//!
//! Data flows one way: [`Snapshot`] → a [`Module`] → [`Desired`] → `plan` → `Plan`. Nothing that a module
//! answers reaches a cluster without a `Plan`, and only this crate makes one (invariant I5).

mod absent;
mod admission;
pub mod adoption;
pub mod allowance;
mod desired;
pub mod diff;
mod failure;
pub mod grants;
mod handed;
pub mod inventory;
mod module;
mod object;
pub mod patch;
pub mod plan;
mod project;
mod query;
pub mod readiness;
mod rejection;
pub mod rights;
pub mod roles;
pub mod schema;
mod serving;
mod snapshot;
pub mod status;

pub use absent::Absent;
pub use admission::{Denial, Judgement, Request, User, Verdict, judge};
pub use desired::{
    Action, Cause, Child, Condition, ConditionStatus, Deed, Desired, Event, EventType, Partial, Readiness, Sample,
    Strategy,
};
pub use failure::{Blame, Failure, FailureKind, Refusal};
pub use module::{BoxFuture, Generation, Module};
pub use object::{Document, DocumentError, Identity, Metadata, ObjectRef, Owner};
pub use operator_contract as contract;
pub use plan::Plan;
pub use project::project;
pub use query::{
    Answer, CommandQuery, CommandResult, Extension, Finding, HeaderValue, HttpRequest, HttpResponse, ObjectQuery,
    PodLogQuery, Query, QueryFailure, Question, SecretKey, Server, Trust,
};
pub use rejection::Rejection;
pub use serving::Serving;
pub use snapshot::{Observed, Snapshot};
