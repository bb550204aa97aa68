//! What the stand-in reads of a policy.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::store::Refusal;

/// A policy, as far as it matters here.
#[derive(Deserialize)]
pub(crate) struct Policy {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) predecessor: Option<String>,
    #[serde(default, rename = "access_policy")]
    rights: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    secrets: Vec<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    name: String,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    export_public: bool,
}

impl Policy {
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        serde_saphyr::from_str(text).map_err(|error| Refusal::Malformed(format!("the policy cannot be read: {error}")))
    }

    /// Whether everybody has this right. Without an access policy only the creator has any.
    pub(crate) fn allows_any(&self, right: &str) -> bool {
        self.rights.get(right).into_iter().flatten().any(|who| who == "ANY")
    }

    /// The secrets that everybody may read.
    pub(crate) fn public_values(&self) -> Value {
        let public = self.secrets.iter().filter(|secret| secret.export_public);
        public.map(|secret| (secret.name.clone(), json!({ "value": secret.value }))).collect()
    }
}
