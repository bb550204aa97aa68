//! The kind `EncryptedPolicy` as published (`encryptedpolicies.cas.scone.cloud`, version v1beta1).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::policy::{PolicyState, PolicyStatus};
use crate::schema;

/// Registers a policy in CAS that only CAS can read: what `scone session encrypt` prints, and where it goes.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "cas.scone.cloud",
    version = "v1beta1",
    kind = "EncryptedPolicy",
    plural = "encryptedpolicies",
    singular = "encryptedpolicy",
    shortname = "epol",
    namespaced,
    status = "PolicyStatus",
    printcolumn = r#"{"name": "STATE", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EncryptedPolicySpec {
    /// URL of CAS, such as `https://cas.default:8081`.
    #[schemars(extend("x-kubernetes-validations" = schema::https()))]
    pub cas_address: String,
    /// The encrypted policy in base64.
    #[schemars(length(min = 1))]
    pub policy: String,
    /// The public key of CAS that it is encrypted for, in hexadecimal digits.
    #[schemars(length(min = 1))]
    pub encryption_key: String,
}
