//! The kind `SignedPolicy` as published (`signedpolicies.cas.scone.cloud`, version v1beta1).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::policy::{PolicyState, PolicyStatus};
use crate::schema;

/// Registers a policy in CAS that its owners have signed: what `scone session sign` prints, and where it goes.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "cas.scone.cloud",
    version = "v1beta1",
    kind = "SignedPolicy",
    plural = "signedpolicies",
    singular = "signedpolicy",
    shortname = "spol",
    namespaced,
    status = "PolicyStatus",
    printcolumn = r#"{"name": "STATE", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "HASH", "type": "string", "jsonPath": ".status.hash"}"#,
    printcolumn = r#"{"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SignedPolicySpec {
    /// URL of CAS, such as `https://cas.default:8081`.
    #[schemars(extend("x-kubernetes-validations" = schema::https()))]
    pub cas_address: String,
    /// The policy, to the letter as it was signed.
    #[schemars(length(min = 1))]
    pub policy: String,
    /// Who signed it, and the signatures.
    // Each one is verified, also on admission.
    #[schemars(length(min = 1, max = 32))]
    pub signatures: Vec<PolicySignature>,
}

/// One signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicySignature {
    /// Public key of the signer: `Base58Check` as the CLI prints it, or a `SubjectPublicKeyInfo` in PEM or base64.
    #[schemars(length(min = 1))]
    pub signer: String,
    /// Signature in hexadecimal digits.
    #[schemars(length(min = 1))]
    pub signature: String,
}
