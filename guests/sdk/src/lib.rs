//! Write a module for the operator host.
//!
//! A module is a pure function: it gets a [`Snapshot`] and answers with a [`Desired`], or it gets a [`Request`] and answers
//! with a [`Verdict`]. Implement [`Module`] for a type, name it in [`export!`], and build for `wasm32-unknown-unknown`:
//!
//! ```text
//! struct Greeting;
//! impl Module for Greeting {
//!     type Parent = GreetingResource;
//!     fn manifest() -> Manifest { module::<Self::Parent>("greeting", "1.0.0").build() }
//! }
//! operator_guest::export!(Greeting);
//! ```
//!
//! The same crate is an ordinary Rust crate: [`testing`] calls the trait with a YAML snapshot, no WebAssembly involved. A
//! module writes no `unsafe` and no WIT; the allocator, the panic hook and the exports are here.

mod admission;
mod bindings;
// WASI targets bring a C library with an allocator of its own, which would claim the same memory.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod bump;
mod decode;
mod desired;
#[cfg(target_arch = "wasm32")]
mod edge;
pub mod log;
mod manifest;
pub mod native;
mod query;
mod report;
mod snapshot;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use admission::{Request, Verdict};
pub use bindings::{
    exports::scone::operator::{
        admission::{Operation, Phase, User},
        reconciliation::{Action, Deed, Deletion, Partial, Readiness, Strategy},
    },
    scone::operator::{
        queries::{
            Answer, CommandQuery, CommandResult, Finding, HeaderValue, HttpRequest, HttpResponse, ObjectQuery,
            PodLogQuery, Query, QueryFailure, Question, SecretKey, Trust,
        },
        types::{Cause, Condition, ConditionStatus, Document, Event, EventType, Failure, ObjectRef, Observed, Sample},
    },
};
pub use desired::{Child, Desired};
pub use manifest::{ManifestBuilder, module, module_with_crd};
pub use operator_contract as contract;
pub use operator_contract::{Budgets, HttpRule, Manifest, NamespaceRule, PodRule, SecretRule};
pub use snapshot::{Settings, Snapshot};
pub use {k8s_openapi, kube, schemars, serde, serde_json};

use serde::{Serialize, de::DeserializeOwned};

/// The records that cross the border between host and module, exactly as the contract says.
pub mod wire {
    pub use crate::bindings::exports::scone::operator::{
        admission::{Denial, Request, Verdict},
        reconciliation::{Child, Desired, Snapshot},
    };
}

/// What [`export!`] needs of this crate. Not for modules.
#[doc(hidden)]
pub mod export_support {
    pub use crate::bindings::*;
    #[cfg(target_arch = "wasm32")]
    pub use crate::edge::Edge;
}

/// A custom resource made by kube's `CustomResource` derive.
pub trait Parent:
    kube::Resource<DynamicType = ()> + kube::CustomResourceExt + Serialize + DeserializeOwned + Clone + 'static
{
}

impl<P> Parent for P where
    P: kube::Resource<DynamicType = ()> + kube::CustomResourceExt + Serialize + DeserializeOwned + Clone + 'static
{
}

/// The logic of one kind. Every function is pure: the same input gives the same output, and nothing is kept between calls.
///
/// Only [`Module::manifest`] is mandatory; the manifest says which of the others the host calls.
pub trait Module: 'static {
    /// The kind that this module serves.
    type Parent: Parent;

    /// What the module says about itself; start with [`module`].
    fn manifest() -> Manifest;

    /// Computes what should exist for one parent.
    fn reconcile(snapshot: &Snapshot<Self::Parent>) -> Result<Desired, Failure> {
        let _ = snapshot;
        Err(Failure::Unsupported("this module does not reconcile".to_owned()))
    }

    /// Writes defaults into `object`. Called for mutating webhooks; `request.object` is none here, since `object` is it.
    fn default(object: &mut Self::Parent, request: &Request<Self::Parent>) {
        let _ = (object, request);
    }

    /// Judges an object. Called for validating webhooks; accepts everything unless written.
    fn validate(request: &Request<Self::Parent>) -> Verdict {
        let _ = request;
        Verdict::accept()
    }

    /// Converts every object to `api_version`, same number and order.
    fn convert(api_version: &str, objects: Vec<Document>) -> Result<Vec<Document>, Failure> {
        let _ = objects;
        Err(Failure::Unsupported(format!("this module does not convert to {api_version}")))
    }

    /// Judges the module's settings before they are used. Unless written, the module has none: only `{}` is accepted. A
    /// module with settings writes `settings.decode::<MySettings>().map(drop)`.
    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.expect_none()
    }
}

/// Makes a type that implements [`Module`] the module of this crate: its exports, panic hook and allocator. Outside
/// WebAssembly it does nothing, so that the crate stays an ordinary one.
#[macro_export]
macro_rules! export {
    ($module:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::export_support::Edge<$module>;
    $crate::export_support::export_operator!(Exported with_types_in $crate::export_support);
        };
    };
}
