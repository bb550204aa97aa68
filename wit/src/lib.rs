//! The half of the contract that WIT cannot say: the manifest, one JSON document per module.
//!
//! Host and SDK both depend on this crate, so the manifest has one definition. It knows neither of them, no engine and no
//! client. The other half, the functions and their types, is the WIT package in `v1/` beside this crate.

pub mod extension;
mod manifest;

pub use manifest::{
    Budgets, Codec, Grants, HttpRule, KindRule, Manifest, NamespaceRule, ObjectRule, Operation, ParentKind,
    PartialRule, Phase, PodRule, RoleRule, Scope, SecretRule, WebhookRule,
};

/// The version of the contract that this crate describes; equal to the version of the WIT package.
pub const CONTRACT_VERSION: &str = "1.0.0";

/// Name of the custom section of a component that holds its manifest as JSON.
pub const MANIFEST_SECTION: &str = "scone:operator/manifest";

/// Largest manifest that a host reads, in bytes: a CRD with its schema fits many times.
pub const MANIFEST_LIMIT: usize = 1024 * 1024;
