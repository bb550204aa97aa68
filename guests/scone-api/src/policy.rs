//! What the two kinds of policies share: their status and its closed set of states.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a policy stands to CAS. The published CRDs have no list of values; this one is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PolicyState {
    /// Not known yet, or on its way.
    #[default]
    Pending,
    /// It waits for the session that is its namespace.
    Waiting,
    /// CAS holds it.
    Registered,
    /// CAS holds another version under its name.
    Conflict,
    /// CAS does not take it.
    Refused,
    /// It cannot be sent as it is.
    Invalid,
    /// The server is not the one to believe.
    Untrusted,
    /// CAS does not answer.
    Unreachable,
}

impl PolicyState {
    /// Whether nobody has to do anything.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Pending | Self::Waiting | Self::Registered)
    }
}

/// What became of a policy. Never holds any of its text.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// How it stands to CAS.
    #[schemars(with = "String")]
    pub state: PolicyState,
    /// Hash of the session, as CAS told it; empty until it has.
    #[serde(default)]
    pub hash: String,
    /// Hash of the version that this one replaced, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// Revision of the session, if CAS tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Name of the session, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Fingerprint of the upload that CAS took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_upload: Option<String>,
    /// Fingerprint of the upload that CAS did not take, and when, in Unix seconds: `<fingerprint>@<time>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_upload: Option<String>,
    /// Conditions, written by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about, written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
